// Half-wedged: the session to the router is up, and the director can no longer do what it announces. It repairs what it
// can, and withdraws what it cannot vouch for.

import { expect } from 'chai';
import { destinationsOf, section, weightsOf } from './topology/config.ts';
import { servers, vips } from './topology/network.ts';
import { everyServer } from './topology/pool.ts';
import { sleep, stopwatch, until } from './topology/process.ts';
import { theLab, type Lab } from './topology/lab.ts';
import type { Director } from './topology/director.ts';

const vip = vips.dr;
const foreign = [`-A -t ${vips.foreign}:80 -s lc`, `-a -t ${vips.foreign}:80 -r ${servers.r1.ipv4}:80 -g -w 3`];

describe('lab: half-wedged', () => {
  let lab: Lab;
  let d1: Director;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    d1 = lab.director('d1');
    lab.pools.write('web', everyServer);
    d1.start(section('web', { vip, pool: lab.pools.url('web') }));
    await lab.router.waitSelected(vip, 'd1', 40_000);
    await until('four servers', 10_000, complete);
    await d1.run('ipvsadm', ['-R'], `${foreign.join('\n')}\n`);
  });

  const complete = async (): Promise<boolean> =>
    JSON.stringify(destinationsOf(await d1.table(), vip)) === JSON.stringify(weightsOf(everyServer));

  /** Announced again, and only when the kernel had what it needs. */
  const recovers = async (): Promise<void> => {
    await lab.router.waitSelected(vip, 'd1', 20_000);
    expect(await complete(), 'the table when the route came back').to.equal(true);
    const attempts = await lab.client.ask(vip, 8);
    expect(attempts.filter((each) => each.error !== null)).to.deep.equal([]);
  };

  it('repairs a table that somebody cleared within 5 s and invents nothing', async () => {
    await d1.run('ipvsadm', ['-C']);
    const sinceCleared = stopwatch();
    await until('the repair', 10_000, complete, 20);
    const [last] = (await d1.writes()).slice(-1);
    expect(sinceCleared(last?.at ?? Infinity)).to.be.below(5000);
    expect((await d1.table()).filter((line) => line.includes(vips.foreign))).to.deep.equal([]);
    await recovers();
  });

  it('withdraws within 10 s when it may not write and a service is gone, and keeps its session', async () => {
    d1.fault({ ipvs: 'EPERM' });
    await sleep(1000);
    await d1.run('ipvsadm', ['-D', '-t', `${vip}:80`]);
    const sinceDeleted = stopwatch();
    await lab.router.waitSelected(vip, null, 15_000);
    expect(sinceDeleted()).to.be.below(10_000);
    expect(await lab.router.sessionUp('d1')).to.equal(true);
    await sleep(2000);
    expect(lab.router.selected(vip)).to.equal(null);
    d1.fault({});
    await recovers();
  });

  it('withdraws within 10 s when its reconciler hangs, and keeps its session', async () => {
    d1.fault({ reconcile: 'hang' });
    const sinceHung = stopwatch();
    await lab.router.waitSelected(vip, null, 20_000);
    // The hook is polled, and the limit counts from the last reading that succeeded.
    expect(sinceHung()).to.be.below(11_500);
    expect(await lab.router.sessionUp('d1')).to.equal(true);
    await sleep(11_000);
    expect(await lab.router.sessionUp('d1'), 'a hold time later').to.equal(true);
    expect(lab.router.selected(vip)).to.equal(null);
    d1.fault({});
    await recovers();
  });

  it('is gone from the router within 9.5 s of a SIGSTOP with a hold time of 9 s', async () => {
    d1.signal('SIGSTOP');
    const sinceStopped = stopwatch();
    await lab.router.waitSelected(vip, null, 15_000);
    expect(sinceStopped()).to.be.below(9500);
    expect(await complete(), 'the kernel goes on forwarding').to.equal(true);
    d1.signal('SIGCONT');
    await recovers();
  });
});
