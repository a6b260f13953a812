// Checks through the path: what breaks between director and application for the VIP only is found and named for every way
// of forwarding, protocol and family, while checks at the servers' own addresses see nothing.

import { expect } from 'chai';
import type { ServerView, View } from '../../src/control/types.ts';
import type { Director } from './topology/director.ts';
import { full, theLab, type Lab } from './topology/lab.ts';
import { natRealPort, onServers, type ServerName, servers, vips } from './topology/network.ts';
import { type Follower, follow, patience, runIn, sleep, until } from './topology/process.ts';

const intervalSeconds = 5;
const timeoutSeconds = 2.5;
const udpPort = 5300;

const ways = [
  { forward: 'dr', vip: vips.dr },
  { forward: 'tunnel', vip: vips.tunnel },
  { forward: 'nat', vip: vips.nat },
  { forward: 'dr', vip: vips.dr6 },
  { forward: 'tunnel', vip: vips.tunnel6 },
  { forward: 'nat', vip: vips.nat6 },
] as const;
type Way = (typeof ways)[number];

/** Monitor by service. ProxyFetch over TLS is what makes the second one. */
const kinds = [
  {
    kind: 'web',
    protocol: 'tcp',
    port: 80,
    realPort: natRealPort,
    monitors: ['TCP', 'ProxyFetch'],
    url: 'http://lab/check',
  },
  { kind: 'tls', protocol: 'tcp', port: 443, realPort: 443, monitors: ['ProxyFetch'], url: 'https://lab/check' },
  { kind: 'udp', protocol: 'udp', port: udpPort, realPort: udpPort, monitors: ['UDP'], url: 'http://lab/check' },
] as const;

const familyOf = (vip: string): string => (vip.includes(':') ? '6' : '');
const serviceName = ({ forward, vip }: Way, kind: string): string => `${kind}_${forward}${familyOf(vip)}`;

function sections(pool: string): string {
  return ways
    .flatMap((way) =>
      kinds.map(({ kind, protocol, port, realPort, monitors, url }) =>
        [
          `[${serviceName(way, kind)}]`,
          `protocol = ${protocol}`,
          `ip = ${way.vip}`,
          `port = ${port}`,
          'scheduler = wrr',
          `config = ${pool}`,
          'depool-threshold = .5',
          'vip-presence = route',
          `forward = ${way.forward}`,
          ...(way.forward === 'nat' ? [`realserver-port = ${realPort}`] : []),
          'via = both',
          `monitors = [ ${monitors.map((name) => `'${name}'`).join(', ')} ]`,
          ...monitors.flatMap((name) => [
            `${name.toLowerCase()}.interval = ${intervalSeconds}`,
            `${name.toLowerCase()}.timeout = ${timeoutSeconds}`,
          ]),
          ...(monitors.some((name) => name === 'ProxyFetch') ? [`proxyfetch.url = [ '${url}' ]`] : []),
          ...(protocol === 'udp' ? ["udp.send = [ 'ping' ]", "udp.expect = [ 'ping' ]", 'udp.tries = 1'] : []),
          '',
        ].join('\n'),
      ),
    )
    .join('\n');
}

/** What is said of a path. */
const blame = (monitor: string): string => `${monitor}: application answers on its own address, VIP path does not`;

function serverOf(view: View, service: string, server: ServerName): ServerView {
  const found = view.services
    .find(({ name }) => name === service)
    ?.servers.find(({ host }) => host === `${server}.lab`);
  if (found === undefined) throw new Error(`the status has no ${server} in ${service}`);
  return found;
}

describe('lab: the fault matrix of checks through the path', () => {
  let lab: Lab;
  let d1: Director;
  const echoes: Follower[] = [];
  const pair = ['r1', 'r2'] as const;

  before(async () => {
    lab = await theLab();
    await lab.fresh();
    d1 = lab.director('d1');
    for (const name of pair) {
      const own = [servers[name].ipv4, servers[name].ipv6];
      const echo = follow(name, process.execPath, [lab.programs.udpEcho, String(udpPort), ...own, ...onServers]);
      echoes.push(echo);
      await echo.waitFor('ready', 20_000, (text) => text === 'ready');
    }
    lab.pools.write('pair', { r1: {}, r2: {} });
    d1.start(sections(lab.pools.url('pair')), { global: 'vip-uplinks = eth0' });
    await answering(d1);
    await allUp(60_000);
  });
  after(() => Promise.all(echoes.map((echo) => echo.stop())));

  const eachService = ways.flatMap((way) => kinds.map((kind) => ({ way, ...kind, name: serviceName(way, kind.kind) })));

  async function allUp(withinMs: number): Promise<void> {
    let missing: readonly string[] = [];
    await until(
      'every server up in every service',
      withinMs,
      async () => {
        const view = await d1.status();
        missing = eachService.flatMap(({ name }) =>
          pair.flatMap((server) => {
            const { up, why } = serverOf(view, name, server);
            return up ? [] : [`${server} in ${name}: ${why}`];
          }),
        );
        return missing.length === 0;
      },
      300,
    ).catch((error: unknown) => {
      throw new Error(`still not up: ${missing.join('\n')}`, { cause: error });
    });
  }

  const lost = onServers.map((vip) => `address del ${vip}/${vip.includes(':') ? 128 : 32} dev lo`);
  const filter = onServers.map((vip) => `add rule inet path in ${vip.includes(':') ? 'ip6' : 'ip'} daddr ${vip} drop`);
  const faults: readonly {
    readonly what: string;
    readonly hits: (way: Way) => boolean;
    inject(): Promise<unknown>;
    heal(): Promise<unknown>;
  }[] = [
    {
      what: 'the VIP is missing on lo',
      hits: ({ forward }) => forward !== 'nat',
      inject: () => batch('r1', lost),
      heal: () =>
        batch(
          'r1',
          lost.map((line) => `${line.replace(' del ', ' add ')}${line.includes('/128') ? ' nodad' : ''}`),
        ),
    },
    {
      what: 'a filter drops packets for the VIP',
      hits: ({ forward }) => forward !== 'nat',
      inject: () =>
        nft('r1', ['add table inet path', 'add chain inet path in { type filter hook input priority 0; }', ...filter]),
      heal: () => nft('r1', ['delete table inet path']),
    },
    {
      what: 'the tunnel is down',
      hits: ({ forward }) => forward === 'tunnel',
      inject: () => batch('r1', ['link set tunl0 down', 'link set ip6tnl0 down']),
      heal: () => batch('r1', ['link set tunl0 up', 'link set ip6tnl0 up']),
    },
    {
      // Of NAT the director's own half is all that a server's own address does not show.
      what: 'the director drops what comes back for the VIP',
      hits: ({ forward }) => forward === 'nat',
      inject: () => natFilter(true),
      heal: () => natFilter(false),
    },
  ];

  /** Packets of path checks are known by their ports: path-ports, of which plain checks have none. */
  async function natFilter(on: boolean): Promise<void> {
    const { ipv4, ipv6 } = servers.r1;
    const ports = `{ ${natRealPort}, 443, ${udpPort} } meta l4proto { tcp, udp }`;
    const rules = [`ip saddr ${ipv4}`, `ip6 saddr ${ipv6}`].map(
      (from) => `add rule inet path in ${from} th sport ${ports} th dport 10240-32767 drop`,
    );
    await nft(
      'd1',
      on
        ? ['add table inet path', 'add chain inet path in { type filter hook prerouting priority -300; }', ...rules]
        : ['delete table inet path'],
    );
  }

  for (const { what, hits, inject, heal } of faults) {
    describe(`when ${what}`, () => {
      let view: View;
      const affected = eachService.filter(({ way }) => hits(way));
      /**
       * The server in each of them, as it was when all was told, and which monitors blamed the path by then. On a busy machine a result
       * is unknown now and then, which tells nothing.
       */
      const told = new Map<string, ServerView>();
      const blamed = new Map(affected.map(({ name }) => [name, new Set<string>()]));
      before(async () => {
        await inject();
        await until(
          'the server out of all services that the fault is about',
          (2 * intervalSeconds + timeoutSeconds + 10) * 1000,
          async () => {
            view = await d1.status();
            for (const { name, monitors } of affected) {
              const server = serverOf(view, name, 'r1');
              const through = server.monitors.filter(({ monitor }) => monitor.endsWith(' via path'));
              const own = server.monitors.filter(({ monitor }) => !monitor.endsWith(' via path'));
              for (const monitor of monitors) if (server.why.includes(blame(monitor))) blamed.get(name)?.add(monitor);
              const all = blamed.get(name)?.size === monitors.length && through.length === monitors.length;
              const right = through.every(({ is }) => is === 'down') && own.every(({ is }) => is === 'up');
              if (all && right && !told.has(name)) told.set(name, server);
            }
            return told.size === affected.length;
          },
          300,
        ).catch(() => undefined);
        await heal();
      });
      after(() => allUp(40_000));

      for (const { name, monitors, way } of eachService) {
        if (!hits(way)) continue;
        it(`${name}: finds it, and says that it is the path`, () => {
          const server = told.get(name) ?? serverOf(view, name, 'r1');
          expect(server.up).to.equal(false);
          expect([...(blamed.get(name) ?? [])], server.why).to.have.members(monitors);
          for (const { monitor, is } of server.monitors)
            expect(is, monitor).to.equal(monitor.endsWith(' via path') ? 'down' : 'up');
        });
      }

      it('blames nobody else', () => {
        for (const { name, way } of eachService) {
          if (!hits(way)) expect(serverOf(view, name, 'r1').up, `r1 in ${name}`).to.equal(true);
          expect(serverOf(view, name, 'r2').up, `r2 in ${name}`).to.equal(true);
        }
      });
    });
  }

  // Mocha runs what stands directly in a suite before the suites in it.
  describe('and otherwise', () => {
    it('does not blame the path for an application that is dead', async () => {
      await lab.server('r1').stopNginx();
      const web = eachService.filter(({ protocol }) => protocol === 'tcp');
      let whys: readonly string[] = [];
      await until(
        'r1 out of all of its web services',
        15_000,
        async () => {
          const view = await d1.status();
          const seen = web.map(({ name }) => serverOf(view, name, 'r1'));
          whys = seen.map(({ why }) => why);
          return seen.every(({ monitors }) => monitors.every(({ is }) => is === 'down'));
        },
        300,
      );
      // A check that was under way saw its connection end; the next ones are refused, and the first words stay.
      for (const why of whys)
        expect(why)
          .to.match(/refused|closed|lost/i)
          .and.to.not.include('VIP path');
      await lab.server('r1').startNginx();
      await allUp(40_000);
    });

    it('counts its own marks neither as drift nor as foreign, and repairs them', async () => {
      const before = await d1.status();
      expect(before.kernel.foreign).to.deep.equal([]);
      expect(d1.log().filter(({ text }) => text.includes('Drift:'))).to.deep.equal([]);
      const marked = (await d1.table()).filter((line) => line.startsWith('-A -f '));
      // Two servers, three ways, two families; NAT has a real server's port for each of its services.
      expect(marked).to.have.length(2 * 2 * (1 + 1 + 3));
      const [, mark = ''] = /^-A -f (\d+)/.exec(marked[0] ?? '') ?? [];
      await d1.run('ipvsadm', ['-D', '-f', mark, ...(marked[0]?.includes(' -6') === true ? ['-6'] : [])]);
      await until('the mark to be back', 15_000, async () => (await d1.table()).includes(marked[0] ?? ''), 300);
      await d1.waitLog(/Drift: service fwmark/, 1000);
    });

    it('takes rules, routes and marks away with the service, and nothing of somebody else', async () => {
      await d1.run('ip', ['rule', 'add', 'pref', '90', 'to', '10.9.0.77', 'lookup', '100']);
      await d1.run('ip', ['route', 'add', 'local', '10.9.0.77', 'dev', 'lo', 'table', '167']);
      await d1.run('ip', ['rule', 'del', 'to', vips.dr]);
      await d1.waitLog(new RegExp(`Drift: the rule for ${vips.dr} from eth0 is gone`), 30_000);
      const [kept] = ways;
      const only = sections(lab.pools.url('pair'))
        .split('\n[')
        .find((text) => text.includes(serviceName(kept, 'web')));
      d1.configure(only ?? '', { global: 'vip-uplinks = eth0\npath-hold = 1' });
      d1.signal('SIGHUP');
      await until(
        'only what is left',
        60_000,
        async () => {
          const rules = await d1.run('ip', ['rule']);
          const routes = await d1.run('ip', ['route', 'show', 'table', '167']);
          const marks = (await d1.table()).filter((line) => line.startsWith('-A -f '));
          const gone = !(await d1.run('ip', ['-6', 'rule'])).includes('167:');
          const ours =
            [...rules.matchAll(/^167:.*$/gm)].length === 1 && [...routes.matchAll(/proto 167/g)].length === 1;
          return gone && ours && rules.includes('10.9.0.77') && routes.includes('10.9.0.77') && marks.length === 2;
        },
        500,
      );
      await d1.run('ip', ['rule', 'del', 'pref', '90']);
      await d1.run('ip', ['route', 'flush', 'table', '167']);
    });
  });
});

describe('lab: path checks that alternate between failing and healthy servers', () => {
  const wanted = full ? 20_000 : 400;
  /** Each server fails in every second one. */
  const rounds = full ? 80 : 2;
  let lab: Lab;
  let d1: Director;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    d1 = lab.director('d1');
    lab.pools.write('web', { r1: {}, r2: {}, r3: {}, r4: {} });
  });

  it(`has no false failure in ${wanted}`, async function () {
    this.timeout((wanted * 200 + 60_000) * patience);
    d1.start(
      [
        '[web]',
        'protocol = tcp',
        `ip = ${vips.dr}`,
        'port = 80',
        'scheduler = wrr',
        `config = ${lab.pools.url('web')}`,
        'depool-threshold = 0',
        'vip-presence = route',
        'via = path',
        "monitors = [ 'TCP' ]",
        'tcp.interval = 0.1',
        'tcp.timeout = 1',
      ].join('\n'),
      { global: 'vip-uplinks = eth0' },
    );
    await answering(d1);
    const names = ['r1', 'r2', 'r3', 'r4'] as const;
    const checks = async () => {
      const view = await d1.status();
      return new Map(
        names.map((name) => {
          const [check] = serverOf(view, 'web', name).monitors;
          if (check === undefined) throw new Error(`no check of ${name}`);
          return [name, check] as const;
        }),
      );
    };
    await until('all up', 30_000, async () => [...(await checks()).values()].every(({ is }) => is === 'up'), 300);
    type Checks = Awaited<ReturnType<typeof checks>>;
    const told = (all: Checks): number =>
      [...all.values()].reduce((sum, { results }) => sum + results.up + results.down, 0);
    let total = 0;
    let failed = 0;
    // The emulator's loop is late now and then, which says nothing of a server.
    let unknown = 0;
    for (let round = 0; total < wanted; round++) {
      const bad = names.filter((_, i) => i % 2 === round % 2);
      const good = names.filter((name) => !bad.includes(name));
      await Promise.all(bad.map((name) => batch(name, [`address del ${vips.dr}/32 dev lo`])));
      await until(
        'the bad ones down',
        15_000,
        async () => {
          const now = await checks();
          return bad.every((name) => now.get(name)?.is === 'down') && good.every((name) => now.get(name)?.is === 'up');
        },
        200,
      );
      const before = await checks();
      const enough = told(before) + wanted / rounds;
      await until('the checks of a round', 60_000, async () => told(await checks()) >= enough, 1000);
      const after = await checks();
      for (const name of names) {
        const [was, is] = [before.get(name)?.results, after.get(name)?.results];
        if (was === undefined || is === undefined) throw new Error('a check has gone');
        unknown += is.unknown - was.unknown;
        if (good.includes(name)) expect(is.down - was.down, `false failures of ${name}`).to.equal(0);
        else expect(is.up - was.up, `false successes of ${name}`).to.equal(0);
        total += is.up - was.up + is.down - was.down;
        failed += is.down - was.down;
      }
      await Promise.all(bad.map((name) => batch(name, [`address add ${vips.dr}/32 dev lo`])));
      await until('all up', 30_000, async () => [...(await checks()).values()].every(({ is }) => is === 'up'), 200);
    }
    lab.note(`${total} path checks, ${failed} of them of failing servers, none false; ${unknown} more told nothing`);
    expect(failed).to.be.above(wanted / 100);
    expect(unknown).to.be.below(wanted / 10);
  });
});

async function answering(director: Director): Promise<void> {
  await until('the daemon to answer', 60_000, () => director.status().catch(() => null), 300);
}

async function batch(name: string, lines: readonly string[]): Promise<void> {
  for (const family of ['-4', '-6']) {
    const own = lines.filter((line) => line.includes(':') === (family === '-6'));
    if (own.length > 0) await runIn(name, 'ip', [family, '-batch', '-'], { input: `${own.join('\n')}\n` });
  }
}

async function nft(name: string, lines: readonly string[]): Promise<void> {
  await runIn(name, 'nft', ['-f', '-'], { input: `${lines.join('\n')}\n` });
}
