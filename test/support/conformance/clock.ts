// What every world's clock must do.

import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import type { Case } from './bench.ts';

export const clockCases: readonly Case[] = [
  {
    title: 'a timer fires once, not early, and in order of its time',
    async run({ world: { clock } }) {
      const start = clock.now();
      const seen: [string, number][] = [];
      clock.at(30, () => seen.push(['late', clock.now() - start]));
      clock.at(10, () => seen.push(['early', clock.now() - start]));
      await clock.sleep(80);
      expect(seen.map(([name]) => name)).to.deep.equal(['early', 'late']);
      expect(seen[0]?.[1]).to.be.at.least(10);
      expect(seen[1]?.[1]).to.be.at.least(30);
    },
  },
  {
    title: 'a cancelled timer never fires, and cancelling again is harmless',
    async run({ world: { clock } }) {
      let fired = 0;
      const cancel = clock.at(10, () => fired++);
      cancel();
      cancel();
      await clock.sleep(30);
      expect(fired).to.equal(0);
    },
  },
  {
    title: 'a timer never fires inside the call that sets it',
    async run({ world: { clock } }) {
      let fired = false;
      clock.at(0, () => {
        fired = true;
      });
      expect(fired).to.equal(false);
      await clock.sleep(10);
      expect(fired).to.equal(true);
    },
  },
  {
    title: 'a timer longer than 25 days does not fire at once',
    async run({ world: { clock } }) {
      let fired = false;
      const cancel = clock.at(40 * 86_400_000, () => {
        fired = true;
      });
      await clock.sleep(20);
      cancel();
      expect(fired).to.equal(false);
    },
  },
  {
    title: 'a cut ends a sleep early, before or during it',
    async run({ world: { clock } }) {
      const knife = new Knife();
      const start = clock.now();
      clock.at(10, () => knife.abort());
      await clock.sleep(60_000, knife);
      expect(clock.now() - start).to.be.within(10, 5000);
      await clock.sleep(60_000, knife);
      expect(clock.now() - start).to.be.below(5000);
    },
  },
  {
    title: 'monotonic time and wall time pass at the same rate',
    async run({ world: { clock } }) {
      const [mono, wall] = [clock.now(), clock.wall()];
      await clock.sleep(50);
      expect(clock.now() - mono - (clock.wall() - wall)).to.be.within(-20, 20);
    },
  },
];
