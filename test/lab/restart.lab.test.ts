// The preferred director goes and comes back under a stream of new connections. Nobody may notice: the route moves to
// the other one, the kernel forwards what is still on its way, and not one table entry is written.

import { appendFileSync } from 'node:fs';
import { expect } from 'chai';
import { destinationsOf, movable, section, weightsOf } from './topology/config.ts';
import { vips } from './topology/network.ts';
import { everyServer } from './topology/pool.ts';
import { patience, sleep, until } from './topology/process.ts';
import { full, theLab, type Lab } from './topology/lab.ts';

const repetitions = full ? 20 : 2;

describe('lab: the preferred director goes and comes back', () => {
  let lab: Lab;
  let services = '';
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    lab.pools.write('web', everyServer);
    services = section('web', { vip: vips.dr, pool: lab.pools.url('web'), ...movable });
    for (const name of ['d1', 'd2'] as const) lab.director(name).start(services);
    await lab.router.waitSelected(vips.dr, 'd1', 40_000);
    await until('both announcing', 40_000, async () => (await lab.router.announcers(vips.dr)).length === 2, 200);
    for (const name of ['d1', 'd2'] as const) {
      const table = destinationsOf(await lab.director(name).table(), vips.dr);
      expect(table).to.deep.equal(weightsOf(everyServer));
    }
  });

  afterEach(() => lab.client.quiet());

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`loses no connection in ${repetitions} × ${signal} and start`, async function () {
      this.timeout(repetitions * 100_000 * patience);
      const d1 = lab.director('d1');
      const [writes, addresses] = [(await d1.writes()).length, d1.addressEvents.length];
      const counted = await scheduled(lab);
      const flood = lab.client.flood(vips.dr);
      await sleep(500);
      for (let i = 1; i <= repetitions; i += 1) {
        const first = flood.attempts.length;
        const exit = await d1.kill(signal);
        if (signal === 'SIGTERM') expect(exit, 'an orderly end').to.deep.equal({ code: 0, signal: null });
        await lab.router.waitSelected(vips.dr, 'd2', 5000);
        await sleep(500);
        d1.start(services);
        await lab.router.waitSelected(vips.dr, 'd1', 90_000);
        await sleep(500);
        const attempts = flood.attempts.slice(first);
        const failed = attempts.filter((each) => each.error !== null);
        lab.note(`${signal} ${i}: ${attempts.length} attempts, ${failed.length} failed ${JSON.stringify(failed)}`);
      }
      const attempts = await flood.stop();
      expect(attempts.length, 'enough attempts to see an outage').to.be.above(repetitions * 20);
      expect(flood.failed()).to.deep.equal([]);
      expect((await d1.writes()).slice(writes), 'IPVS writes').to.deep.equal([]);
      expect(d1.addressEvents.slice(addresses), 'address changes').to.deep.equal([]);
      // The kernel adds its counters up every two seconds. A connection that was taken over counts on both.
      await sleep(2500);
      const [first, second] = (await scheduled(lab)).map((count, i) => count - (counted[i] ?? 0));
      expect((first ?? 0) + (second ?? 0), 'connections that the kernels scheduled').to.be.at.least(attempts.length);
      expect(Math.min(first ?? 0, second ?? 0), 'connections on each director').to.be.above(0);
      appendFileSync(`${process.env['VM_OUT'] ?? '/tmp'}/${signal}.connections`, await d1.connections());
    });
  }
});

/** Connections that d1 and d2 scheduled so far, by the kernel's counters. */
async function scheduled(lab: Lab): Promise<readonly number[]> {
  const each = (['d1', 'd2'] as const).map((name) => lab.director(name).scheduled(`${vips.dr}:80`));
  return (await Promise.all(each)).map((counts) => [...counts.values()].reduce((sum, count) => sum + count, 0));
}
