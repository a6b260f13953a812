import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { Pools } from '../../../src/pools/pools.ts';
import type { World } from '../../../src/world/world.ts';
import { FakeWorld, response, settle } from '../../support/fake-world.ts';
import { serviceConfig } from '../../support/service-config.ts';

const SETTINGS = { stateDirectory: '/state', resolveIntervalSeconds: 60 };
const line = (host: string, weight = 10, enabled = true) =>
  `{'host': '${host}', 'weight': ${weight}, 'enabled': ${enabled ? 'True' : 'False'}}\n`;

/** A daemon's view of its pools. */
class Daemon {
  readonly facts: (Fact & { is: 'pool' })[] = [];
  readonly candidates: string[] = [];
  readonly pools: Pools;
  constructor(world: World) {
    this.pools = new Pools(
      world,
      (fact) => {
        if (fact.is === 'pool') this.facts.push(fact);
      },
      (service, host, address) => this.candidates.push(`${service} ${host} ${address}`),
    );
  }
  get list() {
    return this.facts.at(-1)?.list;
  }
  get hosts() {
    return this.list?.hosts.map((host) => host.host);
  }
}

describe('pools', () => {
  let fake: FakeWorld;
  let daemon: Daemon;
  beforeEach(() => {
    fake = new FakeWorld();
    daemon = new Daemon(fake.world);
  });
  afterEach(async () => {
    await daemon.pools.stop();
    expect(fake.clock.pending, 'timers left after stop').to.equal(0);
  });

  it('A pool file becomes a fact, then its hosts become candidates with their addresses.', async () => {
    fake.write('/pools/text', line('10.0.0.2') + line('cp2', 5, false));
    fake.dns.set('4 cp2', ['10.0.0.3']);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(100);
    expect(daemon.facts).to.have.length(1);
    expect(daemon.list).to.deep.equal({
      hosts: [
        { host: '10.0.0.2', weight: 10, enabled: true },
        { host: 'cp2', weight: 5, enabled: false },
      ],
      note: null,
    });
    expect(daemon.candidates).to.deep.equal(['text 10.0.0.2 10.0.0.2', 'text cp2 10.0.0.3']);
    expect(fake.lines).to.deep.equal([
      '[text] DEBUG: New enabled server 10.0.0.2, weight 10',
      '[text] DEBUG: New disabled server cp2, weight 5',
      '[text] INFO: Added 2 server(s): 1 enabled server(s) and 1 disabled server(s)',
      '[pybal] INFO: [text] Initialization complete',
    ]);
  });

  it('An edit says what changed in the words of PyBal, and an unchanged file is not read again.', async () => {
    fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3'));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(5000);
    fake.logged.length = fake.reads.length = 0;
    await fake.clock.advance(60_000);
    expect(fake.reads).to.deep.equal([]);
    fake.write('/pools/text', line('10.0.0.2', 20) + line('10.0.0.4'));
    await fake.clock.advance(1000);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2', '10.0.0.4']);
    expect(fake.lines).to.deep.equal([
      '[text] INFO: New enabled server 10.0.0.4, weight 10',
      '[text] INFO: Added 1 server(s): 1 enabled server(s) and 0 disabled server(s)',
      '[text] INFO: Merged enabled server 10.0.0.2, weight 20',
      '[text] INFO: [text] Removing server 10.0.0.3 (no longer found in new configuration)',
    ]);
  });

  it('An empty file changes nothing until it was served long enough, and is named in the note meanwhile.', async () => {
    fake.write('/pools/text', line('10.0.0.2'));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(1000);
    fake.write('/pools/text', '');
    await fake.clock.advance(58_000);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
    expect(daemon.list?.note).to.equal('suspect: the list is empty, 1 servers in the last one');
    await fake.clock.advance(4000);
    expect(daemon.hosts).to.deep.equal([]);
    expect(daemon.list?.note).to.equal(null);
  });

  it('A file that ends in the middle of a line is never put in force, and is named for as long as it is served.', async () => {
    const whole = ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'].map((host) => line(host)).join('');
    fake.write('/pools/text', whole);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(1000);
    fake.write('/pools/text', whole.slice(0, whole.indexOf('10.0.0.5') - 4));
    await fake.clock.advance(600_000);
    expect(daemon.hosts).to.have.length(4);
    expect(daemon.list?.note).to.equal('unparsable: the list ends in the middle of a line');
    expect(daemon.pools.status().get('text')?.state).to.equal('unparsable');
    fake.write('/pools/text', whole);
    await fake.clock.advance(4000);
    expect(daemon.list?.note).to.equal(null);
  });

  it('A start without the source uses the list and the addresses kept on disk, and says how old they are.', async () => {
    fake.write('/pools/text', line('cp1') + line('cp2'));
    fake.dns.set('4 cp1', ['10.0.0.2']);
    fake.dns.set('4 cp2', ['10.0.0.3']);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(5000);
    await daemon.pools.stop();
    fake.disk.delete('/pools/text');
    fake.dns.clear();
    await fake.clock.advance(60_000);
    daemon = new Daemon(fake.world);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(2000);
    expect(daemon.hosts).to.deep.equal(['cp1', 'cp2']);
    expect(daemon.list?.note).to.equal('stale: stat /pools/text: ENOENT');
    expect(daemon.candidates).to.deep.equal(['text cp1 10.0.0.2', 'text cp2 10.0.0.3']);
    expect(daemon.pools.status().get('text')?.ageSeconds).to.be.within(60, 65);
  });

  it('HTTP is asked each second, conditionally, never twice at once, and a hanging server is given up after 5 s.', async () => {
    fake.reply = (request) =>
      request.headers?.['if-none-match'] === '"1"' ? response(304) : response(200, line('10.0.0.2'), { etag: '"1"' });
    daemon.pools.configure([serviceConfig({ source: 'http://pools/text' })], SETTINGS);
    await fake.clock.advance(3500);
    expect(fake.requests).to.have.length(4);
    expect(daemon.facts).to.have.length(1);
    fake.reply = () => 'hang';
    await fake.clock.advance(20_000);
    expect(fake.mostUnderWay).to.equal(1);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
    expect(daemon.list?.note).to.match(/^stale: .*ETIMEDOUT/);
    fake.reply = () => new SystemError('ECONNREFUSED', 'get');
    await settle();
  });

  describe('reconfigured', () => {
    it('with the same sections, touches nothing.', async () => {
      fake.write('/pools/text', line('10.0.0.2') + line('cp2'));
      fake.dns.set('4 cp2', ['10.0.0.3']);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(10_000);
      const { facts, candidates } = daemon;
      const before = [facts.length, candidates.length, fake.lookups.length, fake.reads.length, fake.logged.length];
      daemon.pools.configure([serviceConfig({ scheduler: 'sh', monitors: [] })], SETTINGS);
      await fake.clock.advance(10_000);
      expect([
        facts.length,
        candidates.length,
        fake.lookups.length,
        fake.reads.length,
        fake.logged.length,
      ]).to.deep.equal(before);
    });

    it('with another URL, keeps the list until the new source gives an acceptable one.', async () => {
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3') + line('10.0.0.4'));
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(5000);
      daemon.pools.configure([serviceConfig({ source: 'file:///pools/new' })], SETTINGS);
      await fake.clock.advance(5000);
      expect(daemon.hosts).to.have.length(3);
      expect(daemon.list?.note).to.equal('stale: stat /pools/new: ENOENT');
      // Nobody expects the servers of one source in another one.
      fake.write('/pools/new', line('10.0.0.8') + line('10.0.0.9'));
      await fake.clock.advance(1000);
      expect(daemon.hosts).to.deep.equal(['10.0.0.8', '10.0.0.9']);
      expect(daemon.list?.note).to.equal(null);
      fake.reads.length = 0;
      fake.write('/pools/text', line('10.0.0.5'));
      await fake.clock.advance(10_000);
      expect(fake.reads).not.to.include('/pools/text');
    });

    it('with a URL that is no source, says so, and the pool stays as it was.', async () => {
      fake.write('/pools/text', line('10.0.0.2'));
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(1000);
      daemon.pools.configure([serviceConfig({ source: 'ftp://api' })], SETTINGS);
      await fake.clock.advance(60_000);
      expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
      expect(daemon.list?.note).to.equal('stale: not a pool source: ftp://api');
      expect(daemon.pools.status().get('text')).to.include({ state: 'stale', servers: 1 });
    });

    it('without a service, asks its source no more; the others do not notice.', async () => {
      fake.write('/pools/text', line('10.0.0.2'));
      fake.write('/pools/upload', line('10.0.0.3'));
      const upload = serviceConfig({ name: 'upload', vip: '10.0.0.200', source: 'file:///pools/upload' });
      daemon.pools.configure([serviceConfig(), upload], SETTINGS);
      await fake.clock.advance(5000);
      daemon.pools.configure([upload], SETTINGS);
      fake.write('/pools/text', line('10.0.0.9'));
      fake.write('/pools/upload', line('10.0.0.3') + line('10.0.0.4'));
      await fake.clock.advance(5000);
      expect(daemon.facts.filter((fact) => fact.service === 'text')).to.have.length(1);
      expect(daemon.hosts).to.deep.equal(['10.0.0.3', '10.0.0.4']);
      expect([...daemon.pools.status().keys()]).to.deep.equal(['upload']);
    });

    it('with a VIP of the other family, resolves its hosts for that family.', async () => {
      fake.write('/pools/text', line('cp1'));
      fake.dns.set('4 cp1', ['10.0.0.2']);
      fake.dns.set('6 cp1', ['2001:db8::2']);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(1000);
      daemon.pools.configure([serviceConfig({ vip: '2001:db8::1', family: 6 })], SETTINGS);
      await fake.clock.advance(1000);
      expect(daemon.candidates).to.deep.equal(['text cp1 10.0.0.2', 'text cp1 2001:db8::2']);
    });
  });

  describe('contain', () => {
    it('a dead, a hanging and a babbling source: the others go on.', async () => {
      fake.write('/pools/text', line('10.0.0.2'));
      fake.write('/pools/junk', 'upstream connect error');
      fake.reply = () => 'hang';
      daemon.pools.configure(
        [
          serviceConfig({ name: 'dead', source: 'file:///nowhere' }),
          serviceConfig({ name: 'hang', source: 'http://pools/hang' }),
          serviceConfig({ name: 'junk', source: 'file:///pools/junk' }),
          serviceConfig(),
        ],
        SETTINGS,
      );
      await fake.clock.advance(20_000);
      fake.write('/pools/text', line('10.0.0.2', 5));
      await fake.clock.advance(1000);
      expect(daemon.facts.map((fact) => fact.service)).to.deep.equal(['text', 'text']);
      const states = [...daemon.pools.status()].map(([name, { state, servers }]) => `${name} ${state} ${servers}`);
      expect(states).to.deep.equal(['dead stale null', 'hang stale null', 'junk unparsable null', 'text current 1']);
    });

    it('an exception that nobody expected: it is logged, and the source is asked again.', async () => {
      fake.write('/pools/text', line('10.0.0.2'));
      let draws = 0;
      const random = () => {
        if (draws++ === 0) throw new Error('a bug');
        return 0.5;
      };
      const facts: Fact[] = [];
      const pools = new Pools(
        { ...fake.world, random },
        (fact) => facts.push(fact),
        () => {},
      );
      pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(500);
      fake.write('/pools/text', line('10.0.0.3'));
      await fake.clock.advance(3000);
      await pools.stop();
      expect(fake.lines.filter((text) => text.includes('a bug'))).to.deep.equal([
        '[text] ERROR: pool source failed: unexpected: a bug',
      ]);
      expect(facts).to.have.length(2);
    });

    it('an exception while a list is read: the source is failing until it serves another one.', async () => {
      const log = (record: LogRecord) => {
        if (record.text.includes('is no integer')) throw new Error('a bug');
        fake.world.log(record);
      };
      daemon = new Daemon({ ...fake.world, log });
      const status = () => daemon.pools.status().get('text');
      fake.write('/pools/text', line('10.0.0.2'));
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(5000);
      fake.write('/pools/text', "{'host': '10.0.0.3', 'weight': '7', 'enabled': True}\n");
      await fake.clock.advance(15_000);
      expect(status()).to.include({ state: 'stale', servers: 1, lastError: 'unexpected: a bug' });
      expect(status()?.ageSeconds).to.be.within(14, 16);
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3'));
      await fake.clock.advance(5000);
      expect(status()).to.include({ state: 'current', servers: 2, lastError: null });
    });

    it('two hosts on one address: the second is unresolved and named, until the first leaves.', async () => {
      fake.write('/pools/text', line('cp1') + line('cp2') + line('10.0.0.9'));
      fake.dns.set('4 cp1', ['10.0.0.2']);
      fake.dns.set('4 cp2', ['10.0.0.2']);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(1000);
      expect(daemon.candidates).to.have.members(['text cp1 10.0.0.2', 'text cp2 null', 'text 10.0.0.9 10.0.0.9']);
      expect(fake.lines).to.include('[text] ERROR: Server cp2 resolves to the address of cp1: treated as unresolved');
      expect(daemon.pools.status().get('text')?.unresolved).to.deep.equal(['cp2']);
      fake.write('/pools/text', line('cp2') + line('10.0.0.9'));
      await fake.clock.advance(1000);
      expect(daemon.candidates.at(-1)).to.equal('text cp2 10.0.0.2');
    });

    /** cp1 at 10.0.0.2, cp2 at 10.0.0.3. */
    async function two(): Promise<void> {
      fake.write('/pools/text', line('cp1') + line('cp2'));
      fake.dns.set('4 cp1', ['10.0.0.2']);
      fake.dns.set('4 cp2', ['10.0.0.3']);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(1000);
    }

    it('a host that moves to the address of another one: it keeps its own until that is somebody else’s.', async () => {
      const unresolved = () => daemon.pools.status().get('text')?.unresolved;
      const told = () => {
        const status = daemon.pools.status().get('text');
        expect(status?.complaints).to.deep.equal(status?.unreadable);
        return status?.unreadable;
      };
      await two();
      expect(told()).to.deep.equal([]);
      fake.dns.set('4 cp2', ['10.0.0.2']);
      await fake.clock.advance(70_000);
      expect(told()).to.deep.equal(['Server cp2 resolves to the address of cp1: keeping 10.0.0.3']);
      expect(fake.lines).to.include('[text] ERROR: Server cp2 resolves to the address of cp1: keeping 10.0.0.3');
      expect(unresolved()).to.deep.equal([]);
      fake.dns.set('4 cp2', ['10.0.0.1']);
      await fake.clock.advance(70_000);
      expect(fake.lines).to.include('[text] ERROR: Server cp2 resolves to the VIP 10.0.0.1: keeping 10.0.0.3');
      expect(told()).to.deep.equal(['Server cp2 resolves to the VIP 10.0.0.1: keeping 10.0.0.3']);
      expect(unresolved()).to.deep.equal([]);
      fake.dns.set('4 cp3', ['10.0.0.3']);
      fake.write('/pools/text', line('cp1') + line('cp2') + line('cp3'));
      await fake.clock.advance(5000);
      expect(daemon.candidates.slice(2)).to.deep.equal(['text cp2 null', 'text cp3 10.0.0.3']);
      expect(unresolved()).to.deep.equal(['cp2']);
      expect(told()).to.deep.equal(['Server cp2 resolves to the VIP 10.0.0.1: treated as unresolved']);
      fake.dns.set('4 cp2', ['10.0.0.4']);
      await fake.clock.advance(70_000);
      expect(told()).to.deep.equal([]);
    });

    it('two hosts that change places: each gets the other’s address, of which it is told one at a time.', async () => {
      await two();
      fake.dns.set('4 cp1', ['10.0.0.3']);
      await fake.clock.advance(70_000);
      fake.dns.set('4 cp2', ['10.0.0.2']);
      await fake.clock.advance(70_000);
      const told = ['text cp1 null', 'text cp2 10.0.0.2', 'text cp1 10.0.0.3'];
      expect(daemon.candidates.slice(2)).to.deep.equal(told);
      expect(daemon.pools.status().get('text')?.unresolved).to.deep.equal([]);
    });

    it('another VIP, while two hosts resolve to one address: it stays whose it was.', async () => {
      await two();
      fake.dns.set('4 cp1', ['10.0.0.3']);
      await fake.clock.advance(70_000);
      daemon.pools.configure([serviceConfig({ vip: '10.0.0.201' })], SETTINGS);
      expect(daemon.candidates.slice(2)).to.deep.equal(['text cp1 null']);
    });

    it('a host whose address becomes the VIP.', async () => {
      await two();
      daemon.pools.configure([serviceConfig({ vip: '10.0.0.3' })], SETTINGS);
      expect(daemon.candidates.slice(2)).to.deep.equal(['text cp2 null']);
      expect(fake.lines).to.include('[text] ERROR: Server cp2 resolves to the VIP 10.0.0.3: treated as unresolved');
      expect(daemon.pools.status().get('text')?.unresolved).to.deep.equal(['cp2']);
    });

    it('a host that resolves to the VIP itself.', async () => {
      fake.write('/pools/text', line('cp1') + line('10.0.0.2'));
      fake.dns.set('4 cp1', ['10.0.0.1']);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(1000);
      expect(daemon.candidates).to.have.members(['text cp1 null', 'text 10.0.0.2 10.0.0.2']);
      expect(fake.lines.join()).to.include('Server cp1 resolves to the VIP 10.0.0.1');
    });

    it('bad lines: they are named with their place, once, and the rest is used.', async () => {
      fake.write('/pools/text', `${line('10.0.0.2')}{'host': 'cp2'}\n`);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(10_000);
      expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
      const complaint = "file:///pools/text:2: Bad configuration line: {'host': 'cp2'}: no weight, no enabled";
      expect(fake.lines.filter((text) => text.includes('WARN'))).to.deep.equal([`[text] WARN: ${complaint}`]);
      expect(daemon.pools.status().get('text')?.complaints).to.deep.equal([complaint]);
      expect(daemon.pools.status().get('text')?.unreadable).to.deep.equal([complaint]);
    });

    it('values that can not be used: their servers stay as they were, and that is said until they are mended.', async () => {
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3'));
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(5000);
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3').replace('True', "'False'"));
      await fake.clock.advance(5000);
      expect(daemon.pools.status().get('text')?.unreadable).to.deep.equal([
        "file:///pools/text:2: 10.0.0.3: enabled 'False' is no boolean; using true",
      ]);
      // What is merely odd is told, and no more.
      fake.write('/pools/text', line('10.0.0.2').replace('}', ", 'rack': 1}") + line('10.0.0.3') + line('10.0.0.3'));
      await fake.clock.advance(5000);
      expect(daemon.pools.status().get('text')?.complaints).to.have.length(1);
      expect(daemon.pools.status().get('text')?.unreadable).to.deep.equal([]);
    });

    it('a line that can no longer be read: its server stays as it was, and that is said until the line is mended.', async () => {
      fake.write('/pools/text', line('10.0.0.2') + line('cp2', 5, false));
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(5000);
      fake.write('/pools/text', `${line('10.0.0.2')}{'host': 'cp2', 'weight': 5, 'enabled': false}\n`);
      await fake.clock.advance(5000);
      expect(daemon.list?.hosts).to.have.length(2);
      expect(fake.lines).to.include('[text] WARN: file:///pools/text:2: warning: cp2 stays as it was');
      expect(daemon.pools.status().get('text')?.unreadable).to.have.length(1);
      fake.write('/pools/text', line('10.0.0.2') + line('cp2', 5, true));
      await fake.clock.advance(5000);
      expect(daemon.pools.status().get('text')?.unreadable).to.deep.equal([]);
    });
  });

  describe('on disk', () => {
    const path = '/state/pools/text.json';
    const start = async (over = {}) => {
      daemon = new Daemon(fake.world);
      daemon.pools.configure([serviceConfig(over)], SETTINGS);
      await fake.clock.advance(2000);
    };
    const oneLife = async () => {
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3') + line('10.0.0.4'));
      await start();
      await daemon.pools.stop();
      fake.logged.length = 0;
    };

    it('A shrunken list is as suspect after a restart as before it, and the kept one is used meanwhile.', async () => {
      await oneLife();
      fake.write('/pools/text', line('10.0.0.2'));
      await start();
      expect(daemon.hosts).to.have.length(3);
      expect(daemon.list?.note).to.equal('suspect: the list shrank from 3 to 1 servers');
    });

    it('A sound list of the source is used instead of the kept one, which is never handed on.', async () => {
      await oneLife();
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3'));
      await start();
      expect(daemon.facts.map(({ list }) => list.hosts.length)).to.deep.equal([2]);
    });

    it('A source that hangs at the start is waited for no longer than a second.', async () => {
      fake.reply = () => response(200, line('10.0.0.2'));
      await start({ source: 'http://pools/text' });
      await daemon.pools.stop();
      fake.reply = () => 'hang';
      await start({ source: 'http://pools/text' });
      expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
      expect(daemon.list?.note).to.equal('stale: no answer within 1000 ms');
    });

    it('A start that finds everything as it was writes nothing; while nothing changes, the date is renewed each hour.', async () => {
      fake.write('/pools/text', line('cp1'));
      fake.dns.set('4 cp1', ['10.0.0.2']);
      await start();
      await daemon.pools.stop();
      const written = fake.disk.get(path);
      await start();
      await fake.clock.advance(60_000);
      expect(fake.disk.get(path)).to.equal(written);
      await fake.clock.advance(3_600_000);
      expect(fake.disk.get(path)).not.to.equal(written);
    });

    it('An address from disk is for the start: a host that comes back later is looked up.', async () => {
      fake.write('/pools/text', line('cp1') + line('10.0.0.9'));
      fake.dns.set('4 cp1', ['10.0.0.2']);
      await start();
      await daemon.pools.stop();
      await start();
      fake.write('/pools/text', line('10.0.0.9'));
      await fake.clock.advance(1000);
      fake.dns.set('4 cp1', ['10.0.0.3']);
      fake.write('/pools/text', line('cp1') + line('10.0.0.9'));
      await fake.clock.advance(1000);
      expect(daemon.candidates.filter((each) => each.includes('cp1'))).to.deep.equal([
        'text cp1 10.0.0.2',
        'text cp1 10.0.0.3',
      ]);
    });

    const useless: readonly (readonly [string, (text: string) => string, RegExp])[] = [
      ['cut short', (text) => text.slice(0, -20), /damaged: not JSON/],
      ['empty', () => '', /damaged: not JSON/],
      ['some other JSON', () => '[]', /damaged: not a pool list/],
      ['of a later version', (text) => text.replace('"version": 1', '"version": 2'), /damaged: not a pool list/],
      ['with a host without weight', (text) => text.replace('"weight": 10', '"weight": -1'), /damaged: a host/],
      ['without date', (text) => text.replace(/"goodAtUnixMs": \d+/, '"goodAtUnixMs": null'), /damaged: no date/],
      [
        'of another service',
        (text) => text.replace('"service": "text"', '"service": "t\u00ebxt"'),
        /of another service, "t\u00ebxt"/,
      ],
      [
        'of another source',
        (text) => text.replace('/pools/text', '/pools/old'),
        /of another source, "file:\/\/\/pools\/old"/,
      ],
    ];
    for (const [what, damage, complaint] of useless) {
      it(`A list that is ${what} is not used, with a warning.`, async () => {
        await oneLife();
        const damaged = damage(fake.text(path));
        expect(damaged).not.to.equal(fake.text(path));
        fake.write(path, damaged);
        fake.disk.delete('/pools/text');
        await start();
        expect(daemon.facts).to.deep.equal([]);
        const warnings = fake.lines.filter((text) =>
          text.startsWith('[text] WARN: last good list /state/pools/text.json is not used: '),
        );
        expect(warnings).to.have.length(1);
        expect(warnings[0]).to.match(complaint);
      });
    }

    it('A list that cannot be written is said and tried again, and costs nothing else.', async () => {
      const full = { ...fake.files, replace: () => Promise.reject(new SystemError('ENOSPC', 'write')) };
      fake.write('/pools/text', line('10.0.0.2'));
      const pools = new Pools(
        { ...fake.world, files: full },
        () => {},
        () => {},
      );
      pools.configure([serviceConfig()], SETTINGS);
      await fake.clock.advance(130_000);
      expect(fake.lines.filter((text) => text.includes('last good list is not kept: write: ENOSPC'))).to.have.length(3);
      await pools.stop();
    });

    /** The process is killed: nothing more is written. */
    const killed = async () => {
      const before = new Map(fake.disk);
      await daemon.pools.stop();
      fake.disk.clear();
      for (const [each, file] of before) fake.disk.set(each, file);
    };

    it('A source that has moved and serves the same list is the one that the list on disk is of.', async () => {
      const moved = { source: 'file:///pools/new' };
      fake.write('/pools/text', line('10.0.0.2'));
      fake.write('/pools/new', line('10.0.0.2'));
      await start();
      daemon.pools.configure([serviceConfig(moved)], SETTINGS);
      await fake.clock.advance(6000);
      await killed();
      fake.disk.delete('/pools/new');
      await start(moved);
      expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
    });

    it('Another state directory gets the list at once.', async () => {
      fake.write('/pools/text', line('10.0.0.2'));
      await start();
      daemon.pools.configure([serviceConfig()], { ...SETTINGS, stateDirectory: '/elsewhere' });
      await fake.clock.advance(2000);
      expect(fake.text('/elsewhere/pools/text.json')).to.contain('10.0.0.2');
    });

    it('What could not be written is tried again at a reload, and when there is something else to write.', async () => {
      const { replace } = fake.files;
      let tries = 0;
      fake.files.replace = () => {
        tries++;
        return Promise.reject(new SystemError('ENOTDIR', 'write'));
      };
      fake.write('/pools/text', line('10.0.0.2'));
      await start();
      expect(tries).to.equal(1);
      daemon.pools.configure([serviceConfig()], SETTINGS);
      await settle();
      expect(tries, 'at the reload').to.equal(2);
      await fake.clock.advance(10_000);
      expect(tries, 'while nothing changes').to.equal(2);
      fake.files.replace = replace;
      fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3'));
      await fake.clock.advance(5000);
      expect(fake.text(path)).to.contain('10.0.0.3');
    });

    /** cp1 at .2, cp2 at .3; then DNS says of cp1 that it is where cp2 is. */
    const mistaken = async () => {
      fake.write('/pools/text', line('cp1') + line('cp2'));
      fake.dns.set('4 cp1', ['10.0.0.2']);
      fake.dns.set('4 cp2', ['10.0.0.3']);
      await start();
      fake.dns.set('4 cp1', ['10.0.0.3']);
      await fake.clock.advance(70_000);
    };

    it('A host that was kept at its old address is there after a restart, and takes nobody else’s.', async () => {
      await mistaken();
      fake.write('/pools/text', line('cp1') + line('cp2') + line('10.0.0.9'));
      await fake.clock.advance(5000);
      await killed();
      fake.logged.length = 0;
      await start();
      expect(daemon.candidates).to.have.members(['text cp1 10.0.0.2', 'text cp2 10.0.0.3', 'text 10.0.0.9 10.0.0.9']);
      expect(fake.lines).to.include('[text] ERROR: Server cp1 resolves to the address of cp2: keeping 10.0.0.2');
      expect(fake.text(path)).to.contain('10.0.0.2');
      // The mistake is mended; until then another host may have come there.
      fake.dns.set('4 cp3', ['10.0.0.2']);
      fake.write('/pools/text', line('cp1') + line('cp2') + line('cp3'));
      await fake.clock.advance(5000);
      expect(daemon.candidates.at(-1)).to.equal('text cp3 10.0.0.2');
      expect(daemon.pools.status().get('text')?.unresolved).to.deep.equal(['cp1']);
      fake.dns.set('4 cp1', ['10.0.0.4']);
      await fake.clock.advance(70_000);
      expect(daemon.candidates.at(-1)).to.equal('text cp1 10.0.0.4');
    });

    it('Hosts that changed places between two lives have each other’s address at the start.', async () => {
      await mistaken();
      await killed();
      fake.dns.set('4 cp2', ['10.0.0.2']);
      fake.logged.length = 0;
      await start();
      expect(daemon.candidates).to.have.members(['text cp1 10.0.0.3', 'text cp2 10.0.0.2']);
      expect(fake.lines.filter((text) => text.includes('resolves to the address'))).to.deep.equal([]);
    });

    it('An address is that of the host that had it, however late its name is resolved.', async () => {
      await mistaken();
      await killed();
      fake.dns.set('4 cp2', 'hang');
      await start();
      expect(daemon.candidates).to.have.members(['text cp1 10.0.0.2', 'text cp2 10.0.0.3']);
    });

    it('Names of services cannot leave the folder.', async () => {
      fake.write('/pools/text', line('10.0.0.2'));
      daemon.pools.configure([serviceConfig({ name: '../../etc/passwd' }), serviceConfig({ name: '..' })], SETTINGS);
      await fake.clock.advance(5000);
      const written = [...fake.disk.keys()].filter((each) => each !== '/pools/text');
      expect(written).to.deep.equal(['/state/pools/..%2F..%2Fetc%2Fpasswd.json', '/state/pools/...json']);
    });
  });

  it('A suspect answer is doubted: the source is asked for all of it, not whether it changed.', async () => {
    const etag = { etag: '"cut"' };
    fake.reply = () => response(200, line('10.0.0.2') + line('10.0.0.3') + line('10.0.0.4'));
    daemon.pools.configure([serviceConfig({ source: 'http://pools/text' })], SETTINGS);
    await fake.clock.advance(5000);
    // A cache on the way has half of it, and confirms that for ever.
    fake.reply = ({ headers }) => (headers?.['if-none-match'] ? response(304) : response(200, line('10.0.0.2'), etag));
    await fake.clock.advance(10_000);
    expect(daemon.pools.status().get('text')?.state).to.equal('suspect');
    expect(fake.requests.at(-1)?.headers).not.to.have.any.keys('if-none-match');
  });

  it('SIGHUP asks every source at once, also one that is backing off.', async () => {
    daemon.pools.configure([serviceConfig({ source: 'http://pools/text' })], SETTINGS);
    await fake.clock.advance(60_000);
    fake.reply = () => response(200, line('10.0.0.2'));
    fake.requests.length = 0;
    daemon.pools.reread();
    await fake.clock.advance(0);
    expect(fake.requests).to.have.length(1);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
  });

  it('SIGHUP asks for all that a source has, until it is answered.', async () => {
    let content = line('10.0.0.2');
    const asking = ({ headers }: { readonly headers?: Readonly<Record<string, string>> }) =>
      headers?.['if-none-match'] ? response(304) : response(200, content, { etag: '"lies"' });
    fake.reply = asking;
    daemon.pools.configure([serviceConfig({ source: 'http://pools/text' })], SETTINGS);
    await fake.clock.advance(10_000);
    content += line('10.0.0.3');
    fake.reply = () => response(503);
    daemon.pools.reread();
    await fake.clock.advance(0);
    fake.reply = asking;
    await fake.clock.advance(2000);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2', '10.0.0.3']);
    await fake.clock.advance(5000);
    expect(fake.requests.at(-1)?.headers).to.include({ 'if-none-match': '"lies"' });
  });

  it('A suspect list is accepted by hand, of one service and no other.', async () => {
    fake.write('/pools/text', line('10.0.0.2'));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(1000);
    expect(daemon.pools.accept('text')).to.equal(false);
    fake.write('/pools/text', '# nobody\n');
    await fake.clock.advance(1000);
    expect(daemon.pools.status().get('text')).to.deep.include({ state: 'suspect', servers: 1 });
    expect(daemon.pools.status().get('text')?.pending).to.include({ servers: 0 });
    expect(daemon.pools.accept('upload')).to.equal(false);
    expect(daemon.pools.accept('text')).to.equal(true);
    expect(daemon.hosts).to.deep.equal([]);
    expect(daemon.pools.status().get('text')).to.deep.include({
      state: 'current',
      servers: 0,
      pending: null,
      note: null,
    });
  });

  it('Stopping in the middle of a question ends at once.', async () => {
    fake.reply = () => 'hang';
    fake.dns.set('4 cp1', 'hang');
    fake.write('/pools/text', line('cp1'));
    daemon.pools.configure([serviceConfig(), serviceConfig({ name: 'hang', source: 'http://pools/hang' })], SETTINGS);
    await fake.clock.advance(500);
    await daemon.pools.stop();
    expect(fake.underWay).to.equal(0);
    expect(fake.clock.pending).to.equal(0);
  });

  it('Stopping waits 3 s for a disk that does not answer, and no longer.', async () => {
    fake.files.replace = () => new Promise(() => {});
    fake.write('/pools/text', line('10.0.0.2'));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(2000);
    let stopped = false;
    const stopping = daemon.pools.stop().then(() => (stopped = true));
    await fake.clock.advance(2999);
    expect(stopped).to.equal(false);
    await fake.clock.advance(1);
    await stopping;
    expect(fake.lines.filter((each) => each.includes('Not waiting for a disk'))).to.have.length(1);
  });

  it('Weight 0 is weight 0, and that is said loudly.', async () => {
    fake.write('/pools/text', line('10.0.0.2', 0));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(1000);
    expect(daemon.list?.hosts[0]?.weight).to.equal(0);
    expect(fake.lines).to.include(
      '[text] WARN: Server 10.0.0.2 has weight 0: it gets no traffic (PyBal made this weight 1)',
    );
  });
});
