// The daemon as a whole in a small world: one director, one router that answers, a kernel in memory, virtual time. What a
// reload touches, what a bad file does not, how it ends and with which code.

import { expect } from 'chai';
import type { BfdChange, BfdConfig, BfdStatus } from '../../src/bfd/types.ts';
import { encodeMessage } from '../../src/bgp/message.ts';
import { localOpen } from '../../src/bgp/open.ts';
import { Splitter } from '../../src/bgp/splitter.ts';
import { Daemon, type DaemonOptions } from '../../src/daemon.ts';
import { decide } from '../../src/decision/decide.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { Bfd, ServedRequest, ServedResponse, Stream, StreamHandlers, World } from '../../src/world/world.ts';
import { onLo } from '../support/decision-scene.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { FakeKernel } from '../support/fake-kernel.ts';
import { settle } from '../support/fake-world.ts';
import { scriptedPoll } from '../support/scripted-monitor.ts';

const CONF = '/etc/pybal/pybal.conf';

interface Sections {
  readonly global?: string;
  readonly text?: string;
  readonly more?: string;
}

function configuration({ global = '', text = '', more = '' }: Sections = {}): string {
  return `
[global]
bgp = yes
bgp-local-asn = 64600
bgp-peer-address = 192.0.2.1
bgp-nexthop-ipv4 = 192.0.2.10
withdraw-wait = 3
${global}

[text]
protocol = tcp
ip = 10.0.0.1
port = 80
scheduler = wrr
config = file:///pools/text
depool-threshold = .5
monitors = [ 'Scripted' ]
${text}
${more}`;
}

const TLS = `
[tls]
protocol = tcp
ip = 10.0.0.2
port = 443
scheduler = wrr
config = file:///pools/tls
monitors = [ 'Scripted' ]
`;

const pool = (...numbers: readonly number[]): string =>
  numbers.map((number) => `{'host': '10.9.0.${number}', 'weight': 10, 'enabled': True}\n`).join('');

/** A router at the other end of a stream: says OPEN and KEEPALIVE, and counts what it hears. */
class FakeRouter {
  readonly heard: string[] = [];
  /** How much of it was heard before the first End-of-RIB (RFC 4724 §2). */
  heardBeforeEnd: number | null = null;
  #handlers: StreamHandlers | null = null;
  readonly stream: Stream = {
    local: { address: '192.0.2.10', port: 40_000 },
    remote: { address: '192.0.2.1', port: 179 },
    on: (handlers) => {
      this.#handlers = handlers;
    },
    write: (bytes) => {
      for (const { type, body } of this.#splitter.push(bytes)) this.#hear(type, body.slice());
      return true;
    },
    end: () => {},
    pause: () => {},
    resume: () => {},
    close: () => void Promise.resolve().then(() => this.#handlers?.onClose(null)),
  };
  readonly #splitter = new Splitter();

  #hear(type: number, body: Uint8Array): void {
    if (type === 1) {
      const local = { as: 64500, routerId: '192.0.2.1', holdTimeSeconds: 90, families: [4] as const, peerAs: null };
      this.#say(encodeMessage({ is: 'open', open: localOpen(local) }));
      this.#say(encodeMessage({ is: 'keepalive' }));
    } else if (type === 2) {
      const withdrawn = ((body[0] ?? 0) << 8) | (body[1] ?? 0);
      if (withdrawn > 0) this.heard.push('withdraw');
      else if (body.length > 4) this.heard.push('announce');
      else this.heardBeforeEnd ??= this.heard.length;
    } else if (type === 4) this.#say(encodeMessage({ is: 'keepalive' }));
    else if (type === 3) this.heard.push(`notification ${body[0]}/${body[1]}`);
  }

  #say(bytes: Uint8Array): void {
    void Promise.resolve().then(() => this.#handlers?.onData(bytes));
  }
}

/** Sessions that do what the test says. */
class FakeBfd implements Bfd {
  readonly configured: BfdConfig[] = [];
  beats = 0;
  stopped = false;
  say = (_: BfdChange): void => {};
  configure(config: BfdConfig, onChange: (change: BfdChange) => void): void {
    this.configured.push(config);
    this.say = onChange;
  }
  alive(): void {
    this.beats++;
  }
  status(): readonly BfdStatus[] {
    return [];
  }
  async stop(): Promise<void> {
    this.stopped = true;
  }
}

class Site {
  readonly bfd = new FakeBfd();
  readonly kernel = new FakeKernel();
  readonly poll = scriptedPoll('Scripted', { interval: 5, timeout: 1 });
  readonly routers: FakeRouter[] = [];
  readonly exits: number[] = [];
  readonly served = new Map<string, (request: ServedRequest) => ServedResponse | Promise<ServedResponse>>();
  readonly closed: string[] = [];
  readonly daemon: Daemon;
  /** Before this no monitor is there. */
  loaded = Promise.resolve();

  constructor(is: Sections | string = {}, options: Partial<DaemonOptions> = {}) {
    const { fake } = this.kernel;
    fake.write(CONF, typeof is === 'string' ? is : configuration(is));
    fake.write('/pools/text', pool(1, 2));
    fake.write('/pools/tls', pool(3));
    const serveAt = (at: { readonly path: string } | { readonly address: string; readonly port: number }) =>
      'path' in at ? at.path : `${at.address}:${at.port}`;
    const world: World = {
      ...this.kernel.world,
      http: {
        ...fake.http,
        serve: async (at, handle) => {
          this.served.set(serveAt(at), handle);
          return {
            close: async () => {
              this.closed.push(serveAt(at));
              this.served.delete(serveAt(at));
            },
          };
        },
      },
      streams: {
        connect: async () => {
          const router = new FakeRouter();
          this.routers.push(router);
          return router.stream;
        },
        secure: () => Promise.reject(new SystemError('ENOSYS', 'secure')),
        listen: async (at) => ({ local: at, close: async () => {} }),
      },
      bfd: this.bfd,
      monitor: (name) => this.loaded.then(() => (name.toLowerCase() === 'scripted' ? this.poll.module : null)),
    };
    this.daemon = new Daemon(world, {
      configPath: CONF,
      version: '0',
      backend: 'netlink',
      exit: (code) => this.exits.push(code),
      ...options,
    });
  }

  async pass(seconds: number): Promise<void> {
    await this.kernel.fake.clock.advance(seconds * 1000);
    for (let i = 0; i < 5; i++) await settle();
  }

  async running(): Promise<this> {
    const started = this.daemon.start();
    await this.pass(2);
    await started;
    await this.pass(5);
    return this;
  }

  /** Put a file in place and say SIGHUP. */
  async reload(is: Sections | string): Promise<void> {
    this.kernel.calls.length = 0;
    this.kernel.fake.logged.length = 0;
    this.kernel.fake.write(CONF, typeof is === 'string' ? is : configuration(is));
    this.daemon.hangUp();
    await this.pass(4);
  }

  get heard(): readonly string[] {
    return this.routers.flatMap(({ heard }) => heard);
  }

  /** What was written to the kernel, claims on disk aside. */
  get kernelWrites(): readonly string[] {
    return this.kernel.writes.filter((call) => call !== 'claim');
  }

  lines(level: string): readonly string[] {
    return this.kernel.fake.logged.filter((record) => record.level === level).map(({ text }) => text);
  }

  destinations(key: string): readonly string[] {
    return [...(this.kernel.table.get(key)?.destinations.keys() ?? [])];
  }
}

describe('daemon', () => {
  it('raises an alarm while its state can not be written, and ends it when it is', async () => {
    const site = await new Site().running();
    const { files } = site.kernel.fake;
    const { replace } = files;
    const codes = () => site.daemon.view().alarms.map(({ code }) => code);
    expect(codes()).not.to.include('state');
    Object.assign(files, { replace: (path: string) => Promise.reject(new SystemError('ENOSPC', `write ${path}`)) });
    site.kernel.fake.write('/pools/text', pool(1, 2, 3));
    await site.pass(5);
    expect(codes()).to.include('state');
    expect(site.daemon.view().stateError).to.equal('write /var/lib/anybal/pools/text.json: ENOSPC');
    Object.assign(files, { replace });
    await site.pass(65);
    expect(codes()).not.to.include('state');
  });

  it('rests as long as it decided, so that half of the time is for checks and routers', async () => {
    const decisions: { readonly begun: number; readonly ended: number }[] = [];
    const site: Site = new Site(
      {},
      {
        decide: (facts, previous) => {
          const { clock } = site.kernel.fake;
          const begun = clock.now();
          clock.spend(100);
          decisions.push({ begun, ended: clock.now() });
          return decide(facts, previous);
        },
      },
    );
    await site.running();
    for (const servers of [[1], [1, 2, 3], [1, 2, 3, 4]]) {
      site.kernel.fake.write('/pools/text', pool(...servers));
      await site.pass(3);
    }
    expect(decisions.length).to.be.above(8);
    const rests = decisions.slice(1).map(({ begun }, i) => begun - (decisions[i]?.ended ?? 0));
    expect(Math.min(...rests)).to.be.at.least(100);
    expect(site.destinations('tcp 10.0.0.1:80')).to.include('10.9.0.4:80');
  });

  it('says that this is all only after what the kernel had to be changed for', async () => {
    const site = new Site({ global: 'bgp-graceful-restart = restart' });
    await site.running();
    const [router] = site.routers;
    expect(router?.heard).to.deep.equal(['announce']);
    expect(router?.heardBeforeEnd).to.equal(1);
  });

  it('puts nobody behind the VIP of another section when two of them change names', async () => {
    const site = new Site({ more: TLS });
    site.kernel.fake.write('/pools/text', pool(1, 2, 4, 5, 6));
    await site.running();
    const servers = () => ['tcp 10.0.0.1:80', 'tcp 10.0.0.2:443'].map((key) => [...site.destinations(key)].sort());
    const before = [['10.9.0.1:80', '10.9.0.2:80', '10.9.0.4:80', '10.9.0.5:80', '10.9.0.6:80'], ['10.9.0.3:443']];
    expect(servers()).to.deep.equal(before);
    const names: Readonly<Record<string, string>> = { '[text]': '[tls]', '[tls]': '[text]' };
    const swapped = configuration({ more: TLS }).replace(/^\[t\w+\]$/gm, (name) => names[name] ?? name);
    site.kernel.fake.write(CONF, swapped);
    site.daemon.hangUp();
    const heard = [...site.heard];
    for (let seconds = 0; seconds < 60; seconds += 0.5) {
      await site.pass(0.5);
      expect(servers(), `after ${seconds} s`).to.deep.equal(before);
      expect(site.heard, `after ${seconds} s`).to.deep.equal(heard);
    }
    expect(site.daemon.view().services.map(({ name, source }) => [name, source?.state])).to.deep.equal([
      ['tls', 'current'],
      ['text', 'current'],
    ]);
  });

  it('keeps route and servers of a section that gets another name, and for as long as verdicts stand if its list does not come', async () => {
    for (const stays of [true, false]) {
      const site = await new Site({ text: 'freeze-limit = 100' }).running();
      expect(site.heard).to.deep.equal(['announce']);
      const before = site.destinations('tcp 10.0.0.1:80');
      if (!stays) site.kernel.fake.write('/pools/text', '<html>');
      await site.reload(configuration({ text: 'freeze-limit = 100' }).replace('[text]', '[web]'));
      await site.pass(80);
      expect(site.heard).to.deep.equal(['announce']);
      await site.pass(80);
      expect(site.heard).to.deep.equal(stays ? ['announce'] : ['announce', 'withdraw']);
      expect(site.destinations('tcp 10.0.0.1:80')).to.deep.equal(before);
      const [service] = site.daemon.view().services;
      expect([service?.name, service?.up]).to.deep.equal(['web', stays ? 2 : 0]);
    }
  });

  it('keeps what the kernel has for a section of another name and another source until its own servers are up', async () => {
    const site = await new Site().running();
    const before = site.destinations('tcp 10.0.0.1:80');
    site.poll.script.auto = null;
    site.kernel.fake.write(CONF, configuration().replace('[text]', '[web]').replace('/pools/text', '/pools/tls'));
    site.daemon.hangUp();
    await site.pass(0.5);
    expect(site.daemon.view().services[0]?.servers.map(({ host }) => host)).to.deep.equal(['10.9.0.3']);
    expect(site.destinations('tcp 10.0.0.1:80')).to.deep.equal(before);
    site.poll.script.auto = () => ({ is: 'up' });
    await site.pass(20);
    expect(site.destinations('tcp 10.0.0.1:80')).to.deep.equal(['10.9.0.3:80']);
    expect(site.heard.at(-1)).to.equal('announce');
  });

  it('takes a host that was gone and is back between two decisions for a new one, with an address and checks', async () => {
    const etcd = new FakeEtcd();
    const put = (number: number) => etcd.put(`/p/10.9.0.${number}`, '{"weight":10,"pooled":"yes"}');
    for (const number of [1, 2, 3]) put(number);
    const source = 'config = etcd://192.0.2.9:2379/p/\nconfig-tls = off\nconfig-etcd-api = v3\n';
    const site: Site = new Site(configuration().replace('config = file:///pools/text\n', source), {
      decide: (facts, previous) => {
        site.kernel.fake.clock.spend(200);
        return decide(facts, previous);
      },
    });
    site.kernel.fake.reply = ({ url, body }) => {
      if (url.endsWith('/watch')) return { open: (push) => etcd.watch(body ?? '', push) };
      const { status, body: text } = etcd.range(body ?? '');
      return { status, headers: {}, body: new TextEncoder().encode(text) };
    };
    await site.running();
    await site.pass(10);
    const all = ['10.9.0.1:80', '10.9.0.2:80', '10.9.0.3:80'];
    // Somewhere in a rest, and between rests.
    for (let ms = 0; ms < 1000; ms += 70) {
      await site.pass(20 + ms / 1000);
      expect(site.destinations('tcp 10.0.0.1:80'), `${ms} ms`).to.have.members(all);
      etcd.remove(['/p/10.9.0.2']);
      await site.pass(0.2);
      put(2);
    }
  });

  it('keeps the sections of a reload when the disk has room again, without another one', async () => {
    const site = await new Site().running();
    const { files } = site.kernel.fake;
    const { replace } = files;
    const full = (path: string) => Promise.reject(new SystemError('ENOSPC', `write ${path}`));
    const sections = '/var/lib/anybal/sections.json';
    const kept = async () => new TextDecoder().decode(await files.read(sections, 1 << 20));
    Object.assign(files, { replace: full });
    site.kernel.fake.write('/pools/tls', pool(3));
    await site.reload({ more: TLS });
    await site.pass(130);
    expect(site.daemon.view().stateError).to.contain('ENOSPC');
    expect(site.lines('warn').filter((text) => text.includes('sections could not be kept'))).to.have.length(3);
    expect(await kept()).not.to.contain('[tls]');
    Object.assign(files, { replace });
    await site.pass(65);
    expect(site.daemon.view().stateError).to.equal(null);
    expect(await kept()).to.contain('[tls]');
  });

  it('keeps what the last of two reloads said, whichever it is tried for again', async () => {
    const site = await new Site().running();
    const { files } = site.kernel.fake;
    const { replace } = files;
    const kept = async () => new TextDecoder().decode(await files.read('/var/lib/anybal/sections.json', 1 << 20));
    Object.assign(files, { replace: () => Promise.reject(new SystemError('ENOSPC', 'write')) });
    await site.reload({ text: 'pool-shrink-limit = .4' });
    Object.assign(files, { replace });
    await site.reload({ text: 'pool-shrink-limit = .3' });
    const last = await kept();
    expect(last).to.contain('pool-shrink-limit=.3');
    await site.pass(130);
    expect(await kept()).to.equal(last);
  });

  it('goes the whole way: pool, checks, kernel, read back, route', async () => {
    const site = await new Site().running();
    expect(site.destinations('tcp 10.0.0.1:80')).to.deep.equal(['10.9.0.1:80', '10.9.0.2:80']);
    expect(site.heard).to.deep.equal(['announce']);
    expect(site.daemon.view().vips.map(({ vip, announced }) => [vip, announced])).to.deep.equal([['10.0.0.1', true]]);
    expect([...site.served.keys()]).to.deep.equal(['/run/anybal/control.sock']);
    expect(site.exits).to.deep.equal([]);
  });

  it('adopts what it finds in the kernel, and writes nothing to it', async () => {
    const first = await new Site().running();
    const second = new Site();
    for (const [key, entry] of first.kernel.table) second.kernel.table.set(key, entry);
    second.kernel.addresses.set('10.0.0.1', onLo('10.0.0.1'));
    await second.running();
    expect(second.kernelWrites).to.deep.equal([]);
    expect(second.heard).to.deep.equal(['announce']);
  });

  it('depools who fails, and puts back who recovers', async () => {
    const site = await new Site().running();
    site.poll.script.auto = ({ address }) => (address === '10.9.0.1' ? { is: 'down', reason: '503' } : { is: 'up' });
    await site.pass(6);
    expect(site.destinations('tcp 10.0.0.1:80')).to.deep.equal(['10.9.0.2:80']);
    site.poll.script.auto = () => ({ is: 'up' });
    await site.pass(6);
    expect(site.destinations('tcp 10.0.0.1:80')).to.have.members(['10.9.0.1:80', '10.9.0.2:80']);
    expect(site.heard).to.deep.equal(['announce']);
  });

  describe('at a reload', () => {
    const refusals = (site: Site) =>
      site.daemon
        .view()
        .alarms.filter(({ code }) => code === 'config-refused')
        .map(({ text }) => text)
        .join();

    it('of the same file touches nothing: no write, no message, no session, no check', async () => {
      const site = await new Site().running();
      const { created } = site.poll.script;
      await site.reload({});
      expect(site.kernelWrites).to.deep.equal([]);
      expect(site.heard).to.deep.equal(['announce']);
      expect(site.routers).to.have.length(1);
      expect(site.poll.script.created).to.equal(created);
      expect(site.closed).to.deep.equal([]);
      expect(site.lines('info')).to.include(`Reloaded ${CONF}`);
    });

    it('applies only the difference', async () => {
      const site = await new Site().running();
      await site.reload({ text: 'depool-threshold = .9\nscheduler = sh' });
      expect(site.kernelWrites).to.deep.equal(['set-service tcp 10.0.0.1:80']);
      expect(site.heard).to.deep.equal(['announce']);
      await site.reload({ text: 'depool-threshold = .9\nscheduler = sh', more: TLS });
      expect(site.kernelWrites).to.have.members([
        'add-address 10.0.0.2',
        'add-service tcp 10.0.0.2:443',
        'add-destination 10.9.0.3:443 10',
      ]);
      expect(site.heard).to.deep.equal(['announce', 'announce']);
      expect(site.routers).to.have.length(1);
    });

    it('that takes a section away withdraws first, waits, and then removes what was its own', async () => {
      const site = await new Site({ more: TLS }).running();
      await site.reload({ global: '' });
      expect(site.heard.at(-1)).to.equal('withdraw');
      // withdraw-wait is 3 s, of which the reload has let 4 pass.
      expect(site.kernelWrites).to.deep.equal(['delete-service tcp 10.0.0.2:443', 'delete-address 10.0.0.2']);
      expect(site.destinations('tcp 10.0.0.1:80')).to.have.length(2);
    });

    it('of a torn file takes nothing away: with errors in it, or no end of its last line, what it no longer names stays', async () => {
      const site = await new Site({ more: TLS }).running();
      for (const torn of [
        configuration({ more: TLS.replace('[tls]', '[tls') }),
        `${configuration()}[tl`,
        configuration().trimEnd(),
      ]) {
        await site.reload(torn);
        expect(site.kernelWrites).to.deep.equal([]);
        expect(site.heard).not.to.contain('withdraw');
        expect(site.lines('error').join('\n')).to.contain('no longer names tls');
      }
    });

    it('reads the pools again', async () => {
      const site = await new Site().running();
      site.kernel.fake.write('/pools/text', pool(1, 2, 4));
      await site.reload({});
      expect(site.kernelWrites).to.deep.equal(['add-destination 10.9.0.4:80 10']);
    });

    for (const [what, text] of [
      ['missing', null],
      ['empty', ''],
      ['without a section', 'nonsense\n'],
      ['full of zeros', '\0\0\0\0'],
    ] as const) {
      it(`of a file that is ${what} changes nothing`, async () => {
        const site = await new Site().running();
        site.kernel.calls.length = 0;
        if (text === null) {
          site.kernel.fake.disk.delete(CONF);
          site.daemon.hangUp();
          await site.pass(4);
        } else await site.reload(text);
        expect(site.kernelWrites).to.deep.equal([]);
        expect(site.heard).to.deep.equal(['announce']);
        expect(site.lines('error').join('\n')).to.contain(`${CONF} cannot be used: all stays as it was`);
        expect(refusals(site)).to.match(/^The configuration on disk is refused for 4 s, a restart may fail: .+/);
        expect(site.daemon.view().config?.refused?.why).to.include(CONF);
        site.daemon.hangUp();
        await site.pass(4);
        expect(refusals(site)).to.include('refused for 8 s');
        await site.reload({});
        expect(refusals(site)).to.equal('');
        expect(site.exits).to.deep.equal([]);
      });
    }

    it('that hangs is given up, and changes nothing any more once another has read a later file', async () => {
      const site = await new Site().running();
      let letGo = (): void => {};
      site.loaded = new Promise((resolve) => {
        letGo = resolve;
      });
      site.daemon.hangUp();
      await site.pass(61);
      expect(refusals(site)).to.include('Reload did not come to its end');
      site.loaded = Promise.resolve();
      await site.reload({ more: TLS });
      expect(site.destinations('tcp 10.0.0.2:443')).to.deep.equal(['10.9.0.3:443']);
      letGo();
      await site.pass(20);
      expect(site.destinations('tcp 10.0.0.2:443')).to.deep.equal(['10.9.0.3:443']);
      expect(site.lines('info').filter((line) => line.startsWith('Reloaded'))).to.have.length(1);
    });

    it('says, as long as it is so, which options of the file are not in force since the start', async () => {
      const startedWith = { backend: 'auto', logFile: null, logFormat: 'text' } as const;
      const site = await new Site({}, { startedWith }).running();
      const waiting = () => site.lines('warn').filter((text) => text.includes('next start'));
      const moved = '[global] log-file: /tmp/x.log takes effect at the next start; until then it is standard error';
      for (let times = 0; times < 2; times++) {
        await site.reload({ global: 'log-file = /tmp/x.log' });
        expect(waiting()).to.deep.equal([moved]);
      }
      await site.reload({});
      expect(waiting()).to.deep.equal([]);
    });

    it('of a torn file is refused, and that is an alarm until a reload succeeds', async () => {
      const site = await new Site({ more: TLS }).running();
      await site.reload(configuration().trimEnd().slice(0, -5));
      expect(refusals(site)).to.include('ends in the middle of a line and no longer names tls');
      await site.reload({ more: TLS });
      expect(refusals(site)).to.equal('');
    });

    it('runs a section with a mistake on its last good text, names the place, and applies the rest', async () => {
      const site = await new Site().running();
      await site.reload({ text: 'depool-threshold = 1.5\nscheduler = sh', more: TLS });
      expect(site.kernelWrites.filter((write) => write.includes('10.0.0.1:80'))).to.deep.equal([]);
      expect(site.destinations('tcp 10.0.0.2:443')).to.deep.equal(['10.9.0.3:443']);
      expect(site.lines('error').join('\n')).to.match(/pybal\.conf:\d+: \[text\] depool-threshold: 1\.5/);
    });

    it('closes and opens only what changed of what it serves', async () => {
      const site = await new Site().running();
      await site.reload({ global: 'instrumentation = yes\ninstrumentation_ips = 127.0.0.1' });
      expect(site.closed).to.deep.equal([]);
      expect([...site.served.keys()]).to.deep.equal(['/run/anybal/control.sock', '127.0.0.1:9090']);
      await site.reload({});
      expect(site.closed).to.deep.equal(['127.0.0.1:9090']);
    });
  });

  describe('ends', () => {
    it('with 2 when there is no configuration that can be used, and touches nothing', async () => {
      for (const text of ['', '[global]\nbgp = perhaps\n[']) {
        const site = new Site(text);
        await site.daemon.start();
        await site.pass(10);
        expect(site.exits).to.deep.equal([2]);
        expect(site.kernel.calls).to.deep.equal([]);
        expect(site.lines('critical')).to.deep.equal([`${CONF} cannot be used: exiting`]);
      }
    });

    it('with 0 when it is told to: withdraws, waits, closes with Cease, leaves the kernel', async () => {
      const site = await new Site().running();
      site.kernel.calls.length = 0;
      site.daemon.terminate();
      await site.pass(0);
      expect(site.heard).to.deep.equal(['announce', 'withdraw']);
      expect(site.exits).to.deep.equal([]);
      await site.pass(2.9);
      expect(site.exits).to.deep.equal([]);
      await site.pass(5);
      expect(site.exits).to.deep.equal([0]);
      expect(site.heard[2]).to.match(/^notification 6\//);
      expect(site.kernelWrites).to.deep.equal([]);
      expect(site.destinations('tcp 10.0.0.1:80')).to.have.length(2);
      expect(site.kernel.addresses.has('10.0.0.1')).to.equal(true);
      expect([...site.served.keys()]).to.deep.equal([]);
    });

    it('and looks after its servers until no router sends it anything more', async () => {
      const site = await new Site({ global: 'bgp-graceful-shutdown-wait = 30\nwithdraw-wait = 20' }).running();
      site.daemon.terminate();
      site.poll.script.auto = ({ host }) => (host === '10.9.0.1' ? { is: 'down', reason: 'gone' } : { is: 'up' });
      await site.pass(12);
      expect(site.destinations('tcp 10.0.0.1:80')).to.deep.equal(['10.9.0.2:80']);
      expect(site.heard).not.to.include('withdraw');
      await site.pass(20);
      expect(site.heard.at(-1)).to.equal('withdraw');
      site.poll.script.auto = () => ({ is: 'up' });
      await site.pass(10);
      expect(site.destinations('tcp 10.0.0.1:80')).to.have.length(2);
      expect(site.heard.at(-1)).to.equal('withdraw');
      expect(site.exits).to.deep.equal([]);
      await site.pass(20);
      expect(site.exits).to.deep.equal([0]);
    });

    it('and has no route any more while it waits, nor says so', async () => {
      const site = await new Site().running();
      expect(site.daemon.view().vips[0]).to.include({ announced: true });
      site.daemon.terminate();
      await site.pass(1);
      const { vips, alarms } = site.daemon.view();
      expect(vips[0]).to.include({ announced: false, cause: 'exiting' });
      expect(alarms).to.deep.include({
        level: 'warning',
        code: 'not-announced',
        text: '10.0.0.1 is not announced (exiting)',
      });
      expect(site.lines('warn')).to.include('Withdrawing 10.0.0.1: exiting');
    });

    it('with its routes withdrawn at once when no server is left meanwhile', async () => {
      const site = await new Site({
        global: 'bgp-graceful-shutdown-wait = 30',
        text: 'announce = healthy',
      }).running();
      site.daemon.terminate();
      await site.pass(1);
      expect(site.heard).not.to.include('withdraw');
      site.poll.script.auto = () => ({ is: 'down', reason: 'gone' });
      await site.pass(12);
      expect(site.heard.at(-1)).to.equal('withdraw');
    });

    it('at once when it is told twice', async () => {
      const site = await new Site().running();
      site.daemon.terminate();
      await site.pass(0);
      expect(site.exits).to.deep.equal([]);
      site.daemon.terminate();
      expect(site.exits).to.deep.equal([0]);
      await site.pass(20);
      expect(site.exits).to.deep.equal([0]);
    });

    it('at once when it announces nothing', async () => {
      const site = new Site();
      site.kernel.fake.write('/pools/text', pool());
      await site.running();
      site.daemon.terminate();
      await site.pass(1);
      expect(site.exits).to.deep.equal([0]);
    });

    it('with 70 when a decision cannot be made, so that its routes go with it', async () => {
      let broken = false;
      const site = await new Site(
        {},
        {
          decide: (facts, previous) => {
            if (broken) throw new RangeError('not thought of');
            return decide(facts, previous);
          },
        },
      ).running();
      expect(site.exits).to.deep.equal([]);
      broken = true;
      await site.pass(6);
      expect(site.exits).to.deep.equal([70]);
      expect(site.lines('critical').join()).to.contain('A bug in anybal: RangeError: not thought of');
      site.daemon.terminate();
      await site.pass(60);
      expect(site.exits).to.deep.equal([70]);
    });

    it('also while a kernel call hangs', async () => {
      const site = await new Site().running();
      site.kernel.reading = () => 'hang';
      await site.pass(6);
      site.daemon.terminate();
      await site.pass(30);
      expect(site.exits).to.deep.equal([0]);
    });

    it('a reload that comes while it stops does nothing', async () => {
      const site = await new Site().running();
      site.daemon.terminate();
      await site.reload({ more: TLS });
      expect(site.kernel.table.has('tcp 10.0.0.2:443')).to.equal(false);
      await site.pass(20);
      expect(site.exits).to.deep.equal([0]);
    });
  });

  describe('with BFD', () => {
    const bfd = { global: 'bfd = yes\nbfd-interval = 50\nbfd-wedged-after = 1.5' };
    const down = (changes: Partial<BfdChange> = {}): BfdChange => ({
      name: '192.0.2.1',
      state: 'Down',
      was: 'Up',
      diagnostic: 'Control Detection Time Expired',
      remoteDiagnostic: 'No Diagnostic',
      remoteAdminDown: false,
      ...changes,
    });

    it('asks for a session with each peer, and gives a sign of life ten times a second', async () => {
      const site = await new Site(bfd).running();
      const session = { name: '192.0.2.1', address: '192.0.2.1', localAddress: null, multihop: false };
      expect(site.bfd.configured).to.deep.equal([
        { wedgedMs: 1_500, sessions: [{ ...session, intervalMs: 50, multiplier: 3, auth: null }] },
      ]);
      const { beats } = site.bfd;
      await site.pass(10);
      expect(site.bfd.beats - beats).to.be.within(95, 101);
    });
    it('closes the session with Cease 6/10 when the path is gone, and comes back with its routes', async () => {
      const site = await new Site(bfd).running();
      site.bfd.say(down());
      expect(site.heard).to.deep.equal(['announce', 'notification 6/10']);
      expect(site.daemon.view().peers[0]).to.include({ established: false });
      expect(site.lines('warn').join('\n')).to.match(/BFD session with peer 192\.0\.2\.1 is down: Control Detection/);
      await site.pass(5);
      expect(site.heard).to.deep.equal(['announce', 'notification 6/10', 'announce']);
    });
    it('leaves the session alone when the router took BFD down by hand, or BFD never was up', async () => {
      const site = await new Site(bfd).running();
      site.bfd.say(down({ remoteAdminDown: true }));
      site.bfd.say(down({ was: 'Init' }));
      site.bfd.say(down({ was: 'Down', state: 'Init' }));
      site.bfd.say(down({ name: 'nobody' }));
      await site.pass(5);
      expect(site.heard).to.deep.equal(['announce']);
    });
    it('goes on watching through a withdrawal: BFD ends only after BGP has said goodbye', async () => {
      const site = await new Site(bfd).running();
      site.daemon.terminate();
      await site.pass(2);
      expect(site.heard).to.deep.equal(['announce', 'withdraw']);
      expect(site.bfd.stopped).to.equal(false);
      const { beats } = site.bfd;
      await site.pass(3);
      expect(site.bfd.beats).to.be.greaterThan(beats);
      expect(site.heard.at(-1)).to.equal('notification 6/2');
      expect(site.bfd.stopped).to.equal(true);
      await site.pass(5);
      expect(site.exits).to.deep.equal([0]);
    });
    it('takes a session away with its option, and says so to nobody else', async () => {
      const site = await new Site(bfd).running();
      await site.reload({});
      expect(site.bfd.configured.at(-1)?.sessions).to.deep.equal([]);
      expect(site.heard).to.deep.equal(['announce']);
    });
  });

  it('withdraws when the kernel refuses it, keeps the session, and announces once it is let in again', async () => {
    const site = await new Site().running();
    site.kernel.fate = () => new SystemError('EPERM', 'write');
    site.kernel.table.delete('tcp 10.0.0.1:80');
    await site.pass(30);
    expect(site.heard).to.deep.equal(['announce', 'withdraw']);
    site.kernel.fate = () => 'done';
    await site.pass(10);
    expect(site.heard).to.deep.equal(['announce', 'withdraw', 'announce']);
    expect(site.routers).to.have.length(1);
  });

  it('withdraws within reconcile-limit when the kernel does not answer any more', async () => {
    const site = await new Site().running();
    site.kernel.reading = () => 'hang';
    await site.pass(10.1);
    expect(site.heard).to.deep.equal(['announce', 'withdraw']);
    site.kernel.reading = () => 'done';
    await site.pass(30);
    expect(site.heard).to.deep.equal(['announce', 'withdraw', 'announce']);
    expect(site.routers).to.have.length(1);
  });

  it('goes on when it cannot serve, or cannot write its last good sections', async () => {
    const site = new Site();
    site.kernel.fake.files.replace = () => Promise.reject(new SystemError('EROFS', 'replace'));
    await site.running();
    expect(site.lines('warn').join()).to.contain('Last good sections could not be kept on disk');
    expect(site.exits).to.deep.equal([]);
  });

  it('dumps its state into the log', async () => {
    const site = await new Site().running();
    site.kernel.fake.logged.length = 0;
    site.daemon.dump();
    expect(site.lines('info').join('\n')).to.contain('10.9.0.1').and.to.contain('10.0.0.1');
  });
});
