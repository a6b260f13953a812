// Path MTU through the director: a client whose own link takes 1500 octets, behind a hop that takes 1400. Large bodies pass both
// ways, by DR and by tunnel, while ICMP does its work; where the client's is dropped, the MSS clamp of docs/path-mtu.md helps.

import { expect } from 'chai';
import { section } from './topology/config.ts';
import { stoodStillMs } from '../support/steady.ts';
import { theLab, type Lab } from './topology/lab.ts';
import type { Transfer } from './topology/mtu-client.ts';
import { router, vips } from './topology/network.ts';
import { type Follower, follow, run, runIn, until } from './topology/process.ts';

const port = 8088;
const bytes = 4 << 20;
const ways = [vips.dr, vips.tunnel, vips.dr6, vips.tunnel6] as const;

/** As in docs/path-mtu.md: on the real servers, which answer the client themselves. */
const clamp = `
table inet mss {
  chain out {
    type filter hook output priority mangle;
    ip saddr { ${vips.dr}, ${vips.tunnel} } tcp flags syn tcp option maxseg size set 1360
    ip6 saddr { ${vips.dr6}, ${vips.tunnel6} } tcp flags syn tcp option maxseg size set 1340
  }
}
`;

describe('lab: path MTU', () => {
  let lab: Lab;
  let server: Follower;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    await buildFarClient();
    server = follow('r1', process.execPath, [lab.programs.mtuServer, String(port)]);
    await server.waitFor('ready', 20_000, (text) => text === 'ready');
    lab.pools.write('one', { r1: {} });
    const d1 = lab.director('d1');
    const pool = lab.pools.url('one');
    d1.start(
      ways
        .map((vip) => {
          const forward = vip === vips.tunnel || vip === vips.tunnel6 ? 'tunnel' : 'dr';
          const more = ['vip-presence = route', `forward = ${forward}`, 'via = both'];
          const monitors = [
            "monitors = [ 'TCP', 'HTTP' ]",
            ...['tcp', 'http'].flatMap((name) => [`${name}.interval = 5`, `${name}.timeout = 2.5`]),
            "http.url = [ 'http://lab/' ]",
            'http.method = POST',
            'http.request-bytes = 20000',
          ];
          return section(`mtu_${vip}`, { vip, port, pool, monitors, more });
        })
        .join('\n'),
      { global: 'vip-uplinks = eth0' },
    );
    for (const vip of ways) await lab.router.waitSelected(vip, 'd1', 60_000);
  });
  after(async () => {
    await server.stop();
    for (const name of ['far', 'hop']) await run('ip', ['netns', 'del', name], { mayFail: true });
  });

  /** Each of them takes well under a second on a machine that does nothing else. */
  async function transfers(patienceMs: number): Promise<readonly Transfer[]> {
    const before = stoodStillMs();
    const args = [lab.programs.mtuClient, String(port), String(bytes), String(patienceMs), ...ways];
    const text = await runIn('far', process.execPath, args);
    const all = text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Transfer]));
    expect(all).to.have.length(2 * ways.length);
    const stoodMs = stoodStillMs() - before;
    return all.map((each) => ({ ...each, longestGapMs: each.longestGapMs - stoodMs }));
  }
  const whole = ({ error, equal, longestGapMs }: Transfer): boolean => error === null && equal && longestGapMs < 2000;

  it('carries 4 MB each way, by DR and by tunnel, over IPv4 and IPv6', async () => {
    const all = await transfers(30_000);
    expect(all.filter((each) => !whole(each))).to.deep.equal([]);
    const cache = await runIn('far', 'ip', ['route', 'get', vips.dr]);
    expect(cache, 'the client was told of the narrow hop').to.include('mtu 1400');
  });

  describe('with ICMP dropped at the client', () => {
    before(async () => {
      await runIn('far', 'nft', ['-f', '-'], {
        input: `
table inet noicmp {
  chain in {
    type filter hook input priority 0;
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
  }
}
`,
      });
      await forget();
    });

    it('does not carry what the client sends, as nobody can tell it how large its packets may be', async () => {
      const all = await transfers(10_000);
      for (const each of all) expect(whole(each), JSON.stringify(each)).to.equal(each.method === 'GET');
    });

    it('carries both ways with the MSS clamp on the real servers', async () => {
      await runIn('r1', 'nft', ['-f', '-'], { input: clamp });
      await forget();
      try {
        expect((await transfers(30_000)).filter((each) => !whole(each))).to.deep.equal([]);
      } finally {
        await runIn('r1', 'nft', ['delete', 'table', 'inet', 'mss']);
      }
    });
  });

  it('is found by a check with a large body where a tunnel loses large packets, and a small one sees nothing', async () => {
    await runIn('r1', 'nft', ['-f', '-'], {
      input: `
table ip narrow {
  chain in {
    type filter hook prerouting priority -300;
    ip protocol 4 meta length > 1400 drop
  }
}
`,
    });
    try {
      await until('the large check to fail', 40_000, async () => {
        const view = await lab.director('d1').status();
        const server = view.services.find(({ vip }) => vip === vips.tunnel)?.servers[0];
        const is = (name: string) => server?.monitors.find(({ monitor }) => monitor === name)?.is;
        const rest = ['TCP', 'TCP via path', 'HTTP'].every((name) => is(name) === 'up');
        return (
          rest &&
          is('HTTP via path') === 'down' &&
          server?.why.includes('HTTP: application answers on its own address, VIP path does not') === true
        );
      });
    } finally {
      await runIn('r1', 'nft', ['delete', 'table', 'ip', 'narrow']);
    }
  });

  /** What client and server have learned of the path stands with their routes. */
  async function forget(): Promise<void> {
    const gateways = [
      ['far', '-4', '10.3.0.1'],
      ['far', '-6', 'fd00:3::1'],
      ['r1', '-4', router.ipv4],
      ['r1', '-6', router.ipv6],
    ] as const;
    for (const [name, family, gateway] of gateways) {
      await runIn(name, 'ip', [family, 'route', 'del', 'default']);
      await runIn(name, 'ip', [family, 'route', 'add', 'default', 'via', gateway]);
    }
  }
});

/** far –1500– hop –1400– rt */
async function buildFarClient(): Promise<void> {
  const ip = async (namespace: string | null, lines: readonly string[]): Promise<void> => {
    await run('ip', [...(namespace === null ? [] : ['-n', namespace]), '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
    });
  };
  await ip(null, [
    'netns add far',
    'netns add hop',
    'link add eth0 netns far type veth peer name far0 netns hop',
    `link add up1 netns ${router.name} mtu 1400 type veth peer name rt0 netns hop mtu 1400`,
  ]);
  for (const namespace of ['far', 'hop', router.name])
    await runIn(namespace, 'sysctl', ['-qw', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0']);
  await runIn('hop', 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  await ip('far', [
    'link set lo up',
    'address add 10.3.0.2/24 dev eth0',
    'address add fd00:3::2/64 dev eth0 nodad',
    'link set eth0 up',
    'route add default via 10.3.0.1',
    'route add default via fd00:3::1',
  ]);
  await ip('hop', [
    'address add 10.3.0.1/24 dev far0',
    'address add fd00:3::1/64 dev far0 nodad',
    'link set far0 up',
    'address add 10.4.0.2/24 dev rt0',
    'address add fd00:4::2/64 dev rt0 nodad',
    'link set rt0 up',
    'route add default via 10.4.0.1',
    'route add default via fd00:4::1',
  ]);
  await ip(router.name, [
    'address add 10.4.0.1/24 dev up1',
    'address add fd00:4::1/64 dev up1 nodad',
    'link set up1 up',
    'route add 10.3.0.0/24 via 10.4.0.2',
    'route add fd00:3::/64 via fd00:4::2',
  ]);
}
