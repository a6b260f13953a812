// Changed while down: the daemon is killed, its configuration and a pool are edited, and it starts again. It must write
// what changed and nothing else, and leave alone what it cannot read and what it does not own.

import { expect } from 'chai';
import { section, destinationsOf, weightsOf } from './topology/config.ts';
import { servers, vips } from './topology/network.ts';
import { everyServer } from './topology/pool.ts';
import { sleep, until } from './topology/process.ts';
import { theLab, type Lab } from './topology/lab.ts';
import type { RunningDownload } from './topology/client.ts';

const [vip1, vip2] = [vips.dr, vips.second];
const handMade = '10.9.0.200';

describe('lab: changed while down', () => {
  let lab: Lab;
  let tableBefore: readonly string[] = [];
  let connectionsBefore: readonly string[] = [];
  let connectionsAfter: readonly string[] = [];
  let addresses = 0;
  let writes = 0;
  const downloads = new Map<string, RunningDownload>();

  const sections = (scheduler: string, withSecond: boolean): string => {
    const first = section('one', { vip: vip1, pool: lab.pools.url('one') });
    const second = section('two', { vip: vip1, port: 8080, pool: lab.pools.url('two') });
    const third = section('three', { vip: vip2, scheduler, pool: lab.pools.url('three') });
    return [first, ...(withSecond ? [second] : []), third].join('\n');
  };

  before(async () => {
    lab = await theLab();
    await lab.fresh();
    const d1 = lab.director('d1');
    for (const pool of ['one', 'two', 'three']) lab.pools.write(pool, everyServer);
    d1.start(sections('wrr', true));
    await until('three services', 40_000, async () => {
      const table = await d1.table();
      const each = [destinationsOf(table, vip1), destinationsOf(table, vip1, 8080), destinationsOf(table, vip2)];
      return each.every((found) => found !== null && Object.keys(found).length === 4);
    });
    for (const vip of [vip1, vip2]) await lab.router.pin(vip, 'd1');
    await d1.run('ip', ['address', 'add', `${handMade}/32`, 'dev', 'lo']);
    await d1.run(
      'ipvsadm',
      ['-R'],
      [`-A -t ${vips.foreign}:80 -s lc`, `-a -t ${vips.foreign}:80 -r ${servers.r1.ipv4}:80 -g -w 3`, ''].join('\n'),
    );
    downloads.set('one', lab.client.download(vip1, '/slow'));
    downloads.set('two', lab.client.download(vip1, '/slow', 8080));
    downloads.set('three', lab.client.download(vip2, '/slow'));
    for (const download of downloads.values()) expect(await download.server).to.match(/^r\d$/);

    await d1.kill('SIGKILL');
    tableBefore = await d1.table();
    connectionsBefore = kept(await d1.connections());
    [writes, addresses] = [(await d1.writes()).length, d1.addressEvents.length];
    lab.pools.write('one', { ...everyServer, r1: { weight: 4 } });
    d1.start(sections('wwr', false));
    await until('the difference', 40_000, async () => (await d1.writes()).length >= writes + 2, 200);
    connectionsAfter = kept(await d1.connections());
    // Time for the next reading of the kernel, which must find nothing to do.
    await sleep(7000);
  });

  it('deletes the service that went, changes the weight that changed, and writes nothing else', async () => {
    const seen = (await lab.director('d1').writes()).slice(writes).map((write) => write.text);
    expect([...seen].sort()).to.deep.equal([
      `DEL_SERVICE tcp ${vip1}:8080`,
      `SET_DEST tcp ${vip1}:80 ${servers.r1.ipv4}:80 dr weight 4`,
    ]);
  });

  it('keeps the broken section forwarding, frozen, and names its line', async () => {
    const d1 = lab.director('d1');
    expect(destinationsOf(await d1.table(), vip2)).to.deep.equal(weightsOf(everyServer));
    const attempts = await lab.client.ask(vip2, 8);
    expect(attempts.filter((each) => each.error !== null)).to.deep.equal([]);
    const log = d1.log().map((line) => line.text);
    expect(log.filter((text) => /pybal\.conf:\d+: \[three\].*wwr/.test(text))).not.to.deep.equal([]);
  });

  it('leaves the shared VIP on lo and touches no address', async () => {
    const d1 = lab.director('d1');
    expect(await d1.vips()).to.include.members([vip1, vip2, handMade]);
    expect(d1.addressEvents.slice(addresses)).to.deep.equal([]);
  });

  it('leaves the foreign service as it was', async () => {
    const foreign = (table: readonly string[]): readonly string[] =>
      table.filter((line) => line.includes(vips.foreign));
    expect(foreign(tableBefore)).to.have.length(2);
    expect(foreign(await lab.director('d1').table())).to.deep.equal(foreign(tableBefore));
  });

  it('keeps every connection of what stayed', async () => {
    expect(connectionsBefore).to.have.length(2);
    expect(connectionsAfter).to.deep.equal(connectionsBefore);
  });

  it('lets the downloads through what stayed end with the right digest', async () => {
    for (const name of ['one', 'three']) {
      const result = await downloads.get(name)?.done;
      expect(result?.error, name).to.equal(null);
      expect(result?.bytes, name).to.equal(20 << 20);
    }
  });
});

/** Established connections of the two services that stay, out of `ipvsadm -Lnc`: client, VIP and real server. */
function kept(connections: string): readonly string[] {
  const lines = [...connections.matchAll(/ ESTABLISHED +(\S+) +(\S+) +(\S+)/g)];
  return lines
    .filter(([, , vip]) => vip === `${vip1}:80` || vip === `${vip2}:80`)
    .map((line) => line.slice(1).join(' '))
    .sort();
}
