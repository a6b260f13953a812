// BFD against BIRD and FRR's bfdd over a veth pair, on real sockets, at 50 ms × 3, from the worker that production uses: what
// the router says of the session, compared with what was meant.

import { expect } from 'chai';
import type { AuthType, BfdChange, BfdSessionConfig, BfdStatus } from '../../src/bfd/types.ts';
import { HEARTBEAT_MS } from '../../src/bfd/types.ts';
import type { LogRecord } from '../../src/log/record.ts';
import { createBfd } from '../../src/world/real/bfd.ts';
import { createClock } from '../../src/world/real/clock.ts';
import type { Bfd } from '../../src/world/world.ts';
import { Bfdd } from '../support/bfdd.ts';
import { Bird, SAME_SESSION_MS, sinceMovedMs } from '../support/bird.ts';
import { eventually, Namespace, output, requireTools } from '../support/namespace.ts';

const US = '198.19.88.2';
const US6 = 'fd00:bfd:88::2';
const ROUTER = '198.19.88.1';
const ROUTER6 = 'fd00:bfd:88::1';
/** Behind the router: two hops for what is not forwarded. */
const FAR = '198.19.89.1';
const FAR6 = 'fd00:bfd:89::1';

const WEDGED_MS = 1_000;

/** Our side, on the operating system's sockets. */
class Ours {
  readonly changes: (BfdChange & { readonly at: number })[] = [];
  readonly log: LogRecord[] = [];
  readonly #bfd: Bfd = createBfd(createClock(), (record) => this.log.push(record));
  readonly #beat = setInterval(() => this.#bfd.alive(), HEARTBEAT_MS);

  configure(...sessions: readonly BfdSessionConfig[]): void {
    this.#bfd.configure({ sessions, wedgedMs: WEDGED_MS }, (change) =>
      this.changes.push({ ...change, at: performance.now() }),
    );
  }

  status(): readonly BfdStatus[] {
    return this.#bfd.status();
  }

  get story(): string {
    return [...this.log.map(({ text }) => text), JSON.stringify(this.changes), JSON.stringify(this.status())].join(
      '\n',
    );
  }

  /** Up, and the polls done: both sides at the speed that was configured. */
  async up(detectionMs = 150): Promise<void> {
    const isUp = (each: BfdStatus) => each.state === 'Up' && each.detectionMs === detectionMs && each.transmitMs === 50;
    const all = () => this.status().length > 0 && this.status().every(isUp);
    await eventually(
      'up at full speed',
      () => (all() ? true : null),
      () => this.story,
    );
  }

  async stop(): Promise<void> {
    await this.#bfd.stop();
    clearInterval(this.#beat);
  }
}

const sessionTo = (address: string, changes: Partial<BfdSessionConfig> = {}): BfdSessionConfig => ({
  name: address,
  address,
  localAddress: address.includes(':') ? US6 : US,
  multihop: false,
  intervalMs: 50,
  multiplier: 3,
  auth: null,
  ...changes,
});

/** Address to state, as BIRD prints them. */
async function birdSessions(
  bird: Bird,
): Promise<ReadonlyMap<string, { readonly state: string; readonly since: string }>> {
  const text = await bird.ask('show bfd sessions').catch(() => '');
  return new Map(
    Array.from(
      text.matchAll(/^(\S+)\s+\S+\s+(Up|Init|Down|AdminDown)\s+(\S+)/gm),
      ([, address = '', state = '', since = '']) => [address, { state, since }],
    ),
  );
}

async function stayedUp(router: Bird, since: string | undefined): Promise<void> {
  const now = (await birdSessions(router)).get(US);
  expect(now?.state).to.equal('Up');
  expect(sinceMovedMs(since, now?.since)).to.be.lessThan(SAME_SESSION_MS);
}

describe('interop: BFD', function () {
  this.timeout(120_000);
  let namespace: Namespace;
  let ours: Ours;
  const stops: (() => Promise<void>)[] = [];

  before(async () => {
    requireTools({
      '/usr/sbin/bird': 'bird2',
      '/usr/sbin/birdc': 'bird2',
      '/usr/lib/frr/bfdd': 'frr',
      '/usr/bin/vtysh': 'frr',
      '/usr/sbin/ip': 'iproute2',
      '/usr/bin/chrt': 'util-linux',
    });
    namespace = await Namespace.create('anybal-bfd', [`${US}/24`, `${US6}/64`], [`${ROUTER}/24`, `${ROUTER6}/64`]);
    await output('ip', '-n', 'anybal-bfd', 'address', 'add', `${FAR}/32`, 'dev', 'lo');
    await output('ip', '-n', 'anybal-bfd', 'address', 'add', `${FAR6}/128`, 'dev', 'lo', 'nodad');
    await output('ip', 'route', 'replace', `${FAR}/32`, 'via', ROUTER);
    await output('ip', 'route', 'replace', `${FAR6}/128`, 'via', ROUTER6);
  });
  beforeEach(() => {
    ours = new Ours();
  });
  afterEach(async () => {
    await ours.stop();
    for (const stop of stops.splice(0)) await stop();
  });
  after(async () => {
    await namespace?.destroy();
  });

  describe('BIRD', () => {
    async function bird(neighbors: string, options = ''): Promise<Bird> {
      const started = new Bird(
        namespace,
        `log stderr { error, fatal, bug };
router id ${ROUTER};
protocol device {}
protocol bfd {
  interface "wire" { interval 50 ms; multiplier 3; ${options} };
  multihop { interval 50 ms; multiplier 3; ${options} };
  ${neighbors}
}
`,
      );
      stops.push(() => started.stop());
      await eventually('BIRD', async () => ((await birdSessions(started)).size === 0 ? null : true));
      await namespace.haste();
      return started;
    }
    const near = `neighbor ${US} dev "wire" local ${ROUTER};`;
    const sees = (router: Bird, state: string, address = US, limitMs = 10_000) =>
      eventually(
        `BIRD sees ${address} ${state}`,
        async () => ((await birdSessions(router)).get(address)?.state === state ? true : null),
        async () => `${await router.ask('show bfd sessions')}\n${ours.story}`,
        limitMs,
      );

    it('is up over IPv4, IPv6 and link-local addresses at once', async () => {
      const links = async (...args: readonly string[]) =>
        /inet6 (fe80:[0-9a-f:]+)\/64/.exec(
          await output('ip', ...args, '-6', 'address', 'show', 'scope', 'link'),
        )?.[1] ?? '';
      const device = 'anybal-bfd-o';
      const mine = await eventually('a link-local address', async () => {
        const text = await output('ip', '-6', 'address', 'show', 'dev', device, 'scope', 'link');
        return text.includes('tentative') ? null : (/inet6 (fe80:[0-9a-f:]+)\/64/.exec(text)?.[1] ?? null);
      });
      const theirs = await links('-n', 'anybal-bfd');
      const router = await bird(`${near}
        neighbor ${US6} dev "wire" local ${ROUTER6};
        neighbor ${mine} dev "wire" local ${theirs};`);
      ours.configure(
        sessionTo(ROUTER),
        sessionTo(ROUTER6),
        sessionTo(`${theirs}%${device}`, { localAddress: `${mine}%${device}` }),
      );
      await ours.up();
      for (const address of [US, US6, mine]) await sees(router, 'Up', address);
      expect(ours.status()).to.have.length(3);
      expect(await router.ask('show bfd sessions')).to.match(/0\.050\s+0\.150/);
    });

    it('is up over several hops, IPv4 and IPv6', async () => {
      const router = await bird(`neighbor ${US} local ${FAR} multihop on; neighbor ${US6} local ${FAR6} multihop on;`);
      ours.configure(sessionTo(FAR, { multihop: true }), sessionTo(FAR6, { multihop: true }));
      await ours.up();
      await sees(router, 'Up', US);
      await sees(router, 'Up', US6);
    });

    it('is not up over one hop when the peer speaks of several (TTL, port)', async () => {
      await bird(`neighbor ${US} local ${FAR} multihop on;`);
      ours.configure(sessionTo(FAR));
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      expect(ours.status()[0]).to.include({ state: 'Down' });
    });

    const AUTH: readonly (readonly [type: AuthType, bird: string])[] = [
      ['simple', 'simple'],
      ['md5', 'keyed md5'],
      ['meticulous-md5', 'meticulous keyed md5'],
      ['sha1', 'keyed sha1'],
      ['meticulous-sha1', 'meticulous keyed sha1'],
    ];
    for (const [type, name] of AUTH) {
      it(`is up with ${name} authentication, and not with another key`, async () => {
        const router = await bird(near, `authentication ${name}; password "hunter2" { id 7; };`);
        const auth = { type, keyId: 7, key: 'hunter2' };
        ours.configure(sessionTo(ROUTER, { auth }));
        await ours.up();
        const since = (await birdSessions(router)).get(US)?.since;
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        await stayedUp(router, since);
        expect(ours.status()[0]?.counters).to.include({ discarded: 0, downs: 0 });
        ours.configure(sessionTo(ROUTER, { auth: { ...auth, key: 'hunter3' } }));
        await sees(router, 'Down');
        await eventually(
          'wrong packets are counted',
          () => ((ours.status()[0]?.counters.discarded ?? 0) > 0 ? true : null),
          () => ours.story,
        );
        expect(ours.status()[0]?.state).to.equal('Down');
      });
    }

    it('another interval takes a poll, not the session', async () => {
      const router = await bird(near);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      await sees(router, 'Up');
      const before = (await birdSessions(router)).get(US)?.since;
      ours.configure(sessionTo(ROUTER, { intervalMs: 200 }));
      await eventually(
        '200 ms on both sides',
        async () =>
          ours.status()[0]?.transmitMs === 200 && /0\.200\s+0\.600/.test(await router.ask('show bfd sessions'))
            ? true
            : null,
        () => ours.story,
      );
      await stayedUp(router, before);
    });

    it('a session that is no longer wanted ends as AdminDown', async () => {
      const router = await bird(near);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      ours.configure();
      await sees(router, 'Down');
      expect(await router.ask('show bfd sessions all').catch(() => '')).to.be.a('string');
    });

    it('a silent path is found out by both sides within 150 ms and a little', async () => {
      const router = await bird(near);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      await sees(router, 'Up');
      const at = performance.now();
      await output('ip', '-n', 'anybal-bfd', 'link', 'set', 'wire', 'arp', 'off');
      await output('ip', '-n', 'anybal-bfd', 'address', 'del', `${ROUTER}/24`, 'dev', 'wire');
      try {
        await eventually(
          'down',
          () => (ours.changes.some(({ was }) => was === 'Up') ? true : null),
          () => ours.story,
        );
        const down = ours.changes.find(({ was }) => was === 'Up');
        expect((down?.at ?? Infinity) - at).to.be.below(500);
      } finally {
        await output('ip', '-n', 'anybal-bfd', 'link', 'set', 'wire', 'arp', 'on');
        await output('ip', '-n', 'anybal-bfd', 'address', 'add', `${ROUTER}/24`, 'dev', 'wire');
      }
    });

    it('sees a daemon that stands still for 200 ms as well as ever, and one that stands still for good as down', async () => {
      const router = await bird(near);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      await sees(router, 'Up');
      const { since } = (await birdSessions(router)).get(US) ?? { since: '' };
      for (let i = 0; i < 5; i++) {
        standStill(200);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await stayedUp(router, since);
      standStill(WEDGED_MS + 400);
      // Asked at once: our sessions have been held down since before this line. Init would be lost on BIRD's BGP.
      expect((await birdSessions(router)).get(US)?.state).to.equal('Down');
      await eventually('told', () => (ours.changes.some(({ was }) => was === 'Up') ? true : null));
      expect(ours.changes.find(({ was }) => was === 'Up')?.diagnostic).to.equal('Forwarding Plane Reset');
      await sees(router, 'Up');
    });

    it('hears Down when we stop, at once', async () => {
      const router = await bird(near);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      await sees(router, 'Up');
      await ours.stop();
      await sees(router, 'Down', US, 100);
    });
  });

  describe('FRR', () => {
    const timers = `
  receive-interval 50
  transmit-interval 50
  detect-multiplier 3
  no shutdown
 !`;
    async function frr(peers: string): Promise<Bfdd> {
      const started = await Bfdd.start(namespace, `bfd\n${peers}`);
      stops.push(() => started.stop());
      await namespace.haste();
      return started;
    }
    const sees = (router: Bfdd, status: string, address = US) =>
      eventually(
        `FRR sees ${address} ${status}`,
        async () => ((await router.peers()).get(address)?.status === status ? true : null),
        async () => `${JSON.stringify([...(await router.peers())])}\n${ours.story}`,
      );

    it('is up over IPv4 and IPv6 at once', async () => {
      const router = await frr(
        ` peer ${US} local-address ${ROUTER}${timers}\n peer ${US6} local-address ${ROUTER6}${timers}\n`,
      );
      ours.configure(sessionTo(ROUTER), sessionTo(ROUTER6));
      await ours.up();
      await sees(router, 'up', US);
      await sees(router, 'up', US6);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect([...(await router.downs()).values()]).to.deep.equal([0, 0]);
      expect((await router.peers()).get(US)).to.include({ 'remote-transmit-interval': 50, 'transmit-interval': 50 });
    });

    it('is up over several hops, IPv4 and IPv6', async () => {
      const router = await frr(
        ` peer ${US} multihop local-address ${FAR}${timers}\n peer ${US6} multihop local-address ${FAR6}${timers}\n`,
      );
      ours.configure(sessionTo(FAR, { multihop: true }), sessionTo(FAR6, { multihop: true }));
      await ours.up();
      await sees(router, 'up', US);
      await sees(router, 'up', US6);
    });

    it('sees a daemon that stands still as down, with the reason', async () => {
      const router = await frr(` peer ${US} local-address ${ROUTER}${timers}\n`);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      await sees(router, 'up');
      standStill(WEDGED_MS + 400);
      const peer = (await router.peers()).get(US);
      expect(peer?.status).to.equal('down');
      expect(peer?.['remote-diagnostic']).to.match(/forwarding plane reset/i);
      await sees(router, 'up');
    });

    it('hears that a session is no longer wanted, and does not take that for a failure', async () => {
      const router = await frr(` peer ${US} local-address ${ROUTER}${timers}\n`);
      ours.configure(sessionTo(ROUTER));
      await ours.up();
      ours.configure();
      await sees(router, 'down');
      expect((await router.peers()).get(US)?.['remote-diagnostic']).to.match(/administratively down/i);
    });
  });
});

/** The thread that the daemon runs in does nothing for so long. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
