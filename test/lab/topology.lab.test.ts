// The lab itself, proved with ipvsadm and static routes, before anything is said about the daemon with its help.

import { expect } from 'chai';
import { natRealPort, serverNames, servers, vips } from './topology/network.ts';
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
});
