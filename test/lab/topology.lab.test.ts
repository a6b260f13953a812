// The lab itself, proved with ipvsadm and static routes, before anything is said about the daemon with its help.

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { directorNames, directors, natRealPort, router, serverNames, servers, vips } from './topology/network.ts';
import type { DirectorName } from './topology/network.ts';
import { follow, patience, sleep, stopwatch, until, type Follower } from './topology/process.ts';
import { directorAs, routerAs } from './topology/router.ts';
import { theLab } from './topology/lab.ts';
import type { Lab } from './topology/lab.ts';

const methods = [
  { name: 'DR', vip: vips.dr, flag: '-g', port: 80 },
  { name: 'tunnel', vip: vips.tunnel, flag: '-i', port: 80 },
  { name: 'NAT', vip: vips.nat, flag: '-m', port: natRealPort },
  { name: 'DR over IPv6', vip: vips.dr6, flag: '-g', port: 80 },
  { name: 'tunnel over IPv6', vip: vips.tunnel6, flag: '-i', port: 80 },
  { name: 'NAT over IPv6', vip: vips.nat6, flag: '-m', port: natRealPort },
] as const;

describe('lab: the topology', () => {
  let lab: Lab;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
  });

  for (const { name, vip, flag, port } of methods) {
    it(`carries ${name} to four real servers`, async () => {
      const d1 = lab.director('d1');
      const isV6 = vip.includes(':');
      const endpoint = isV6 ? `[${vip}]:80` : `${vip}:80`;
      const real = serverNames.map((each) =>
        isV6 ? `[${servers[each].ipv6}]:${port}` : `${servers[each].ipv4}:${port}`,
      );
      const before = (await d1.writes()).length;
      await d1.run('ip', ['address', 'add', isV6 ? `${vip}/128` : `${vip}/32`, 'dev', 'lo']);
      const table = [`-A -t ${endpoint} -s rr`, ...real.map((each) => `-a -t ${endpoint} -r ${each} ${flag} -w 1`)];
      await d1.run('ipvsadm', ['-R'], `${table.join('\n')}\n`);
      await lab.router.pin(vip, 'd1');

      const attempts = await lab.client.ask(vip, 12);

      expect(attempts.filter((each) => each.error !== null)).to.deep.equal([]);
      const answers = serverNames.map((each) => attempts.filter((attempt) => attempt.server === each).length);
      expect(answers, 'round robin').to.deep.equal([3, 3, 3, 3]);
      const method = { '-g': 'dr', '-i': 'tunnel', '-m': 'nat' }[flag];
      expect((await d1.writes()).slice(before).map((write) => write.text)).to.deep.equal([
        `NEW_SERVICE tcp ${endpoint} rr`,
        ...real.map((each) => `NEW_DEST tcp ${endpoint} ${each} ${method} weight 1`),
      ]);
    });
  }

  it('drops packets of a black-holed server and heals it', async () => {
    await lab.server('r2').blackhole();
    const attempts = await lab.client.ask(vips.dr, 8);
    await lab.server('r2').heal();
    expect(attempts.map((each) => each.error).filter((error) => error !== null)).to.deep.equal(
      Array(2).fill('connect timeout'),
    );
    expect((await lab.client.ask(vips.dr, 4)).every((each) => each.error === null)).to.equal(true);
  });

  it('refuses connections to a stopped nginx', async () => {
    await lab.server('r3').stopNginx();
    const attempts = await lab.client.ask(vips.dr, 4);
    await lab.server('r3').startNginx();
    expect(attempts.filter((each) => each.error !== null).map((each) => each.error)).to.deep.equal(['ECONNREFUSED']);
  });

  it('lets a download end with the digest it began with', async () => {
    const download = await lab.client.download(vips.dr, '/big').done;
    expect(download.error).to.equal(null);
    expect(download.bytes).to.equal(20 << 20);
  });

  it('sees what the kernel refuses', async () => {
    const d1 = lab.director('d1');
    const before = (await d1.writes()).length;
    await d1.run('sh', ['-c', 'ipvsadm -D -t 10.9.0.77:80 || true']);
    const [write] = (await d1.writes()).slice(before);
    expect(write?.text).to.equal('DEL_SERVICE tcp 10.9.0.77:80');
    expect(write?.errno, 'ESRCH').to.equal(3);
  });

  it('moves a stream of connections between two announcing directors, and sees each move', async function () {
    this.timeout(90_000 * patience);
    const d1 = lab.director('d1');
    await lab.router.unpinAll();
    await d1.run('ipvsadm', ['-E', '-t', `${vips.dr}:80`, '-s', 'mh', '-b', 'mh-port']);
    const table = (await d1.table()).filter((line) => line.includes(vips.dr));
    await lab.director('d2').run('ip', ['address', 'add', `${vips.dr}/32`, 'dev', 'lo']);
    await lab.director('d2').run('ipvsadm', ['-R'], table.map((line) => `${line}\n`).join(''));
    const announcers = new Map(directorNames.map((name) => [name, announceByBird(name)]));
    const start = (name: DirectorName): Follower => announcers.get(name)?.() ?? expect.fail();
    const [first, second] = [start('d1'), start('d2')];
    for (const vip of [vips.dr, vips.dr6]) await lab.router.waitSelected(vip, 'd1', 20_000);
    await until('two routes', 20_000, async () => (await lab.router.announcers(vips.dr)).join() === 'd1,d2', 200);

    // From here on: the cases before have moved the route as well.
    const earlier = lab.router.events.length;
    const flood = lab.client.flood(vips.dr);
    await sleep(1000);
    first.signal('SIGKILL');
    const sinceKilled = stopwatch();
    await lab.router.waitSelected(vips.dr, 'd2', 5000);
    expect(sinceKilled(), 'ms until the route moved').to.be.below(1000);
    await first.exited;
    await sleep(1000);
    const again = start('d1');
    await lab.router.waitSelected(vips.dr, 'd1', 20_000);
    await sleep(1000);
    const attempts = await flood.stop();
    await Promise.all([again.stop(), second.stop()]);
    await lab.router.waitSelected(vips.dr, null, 5000);
    await lab.router.waitSelected(vips.dr6, null, 5000);

    expect(attempts.length).to.be.above(50);
    expect(flood.failed()).to.deep.equal([]);
    const events = lab.router.events.slice(earlier).filter((event) => event.prefix === vips.dr && !event.deleted);
    expect(events.map(({ via }) => via).slice(0, 2)).to.deep.equal([directors.d2.ipv4, directors.d1.ipv4]);
  });

  it('sees an outage in a stream of connections', async () => {
    await lab.router.pin(vips.dr, 'd1');
    const flood = lab.client.flood(vips.dr);
    await sleep(1000);
    await lab.director('d1').run('ip', ['link', 'set', 'eth0', 'down']);
    await sleep(200);
    await lab.director('d1').run('ip', ['link', 'set', 'eth0', 'up']);
    await flood.stop();
    expect(flood.failed()).to.not.deep.equal([]);
  });
});

/** What stands for the daemon here: a BIRD that announces two VIPs as the daemon would, d1 with the better MED. */
function announceByBird(name: DirectorName): () => Follower {
  const host = directors[name];
  const folder = `/run/lab/bird-${name}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    `${folder}/bird.conf`,
    `router id ${host.ipv4};
protocol device {}
protocol static { ipv4; route ${vips.dr}/32 blackhole; }
protocol static { ipv6; route ${vips.dr6}/128 blackhole; }
filter announced { bgp_med = ${name === 'd1' ? 0 : 100}; accept; }
protocol bgp uplink {
  local ${host.ipv4} as ${directorAs};
  neighbor ${router.ipv4} as ${routerAs};
  hold time 9;
  connect delay time 1;
  ipv4 { import none; export filter announced; next hop address ${host.ipv4}; };
  ipv6 { import none; export filter announced; next hop address ${host.ipv6}; };
}
`,
  );
  return () => follow(name, 'bird', ['-f', '-c', `${folder}/bird.conf`, '-s', `${folder}/bird.ctl`]);
}
