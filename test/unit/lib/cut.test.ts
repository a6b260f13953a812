// Cancellation: who is told, when, and how often.

import { expect } from 'chai';
import { Knife, knifeWithin } from '../../../src/lib/cut.ts';
import { cutAfter } from '../../../src/lib/in-time.ts';
import { FakeClock } from '../../support/fake-world.ts';

describe('lib/cut', () => {
  it('tells every listener once, at once, and those that come later when they come', () => {
    const knife = new Knife();
    const told: string[] = [];
    knife.onAbort(() => told.push('one'));
    knife.onAbort(() => told.push('two'));
    expect(knife.aborted).to.equal(false);
    knife.abort();
    knife.abort();
    expect(told).to.deep.equal(['one', 'two']);
    expect(knife.aborted).to.equal(true);
    knife.onAbort(() => told.push('late'))();
    expect(told).to.deep.equal(['one', 'two', 'late']);
  });

  it('forgets who does not want to know any more', () => {
    const knife = new Knife();
    const told: string[] = [];
    const forget = knife.onAbort(() => told.push('one'));
    knife.onAbort(() => told.push('two'));
    forget();
    forget();
    knife.abort();
    expect(told).to.deep.equal(['two']);
  });

  it('is a standard signal too, made before or after the cut', () => {
    const before = new Knife();
    const { signal } = before;
    expect(signal.aborted).to.equal(false);
    expect(before.signal).to.equal(signal);
    before.abort();
    expect(signal.aborted).to.equal(true);
    const after = new Knife();
    after.abort();
    expect(after.signal.aborted).to.equal(true);
  });

  it('says that it is cut to a listener that asks', () => {
    const knife = new Knife();
    let aborted: boolean | null = null;
    knife.onAbort(() => {
      aborted = knife.aborted;
    });
    knife.abort();
    expect(aborted).to.equal(true);
  });

  describe('a knife within another', () => {
    it('is cut with the outer one, not the outer one with it', () => {
      const outer = new Knife();
      const one = knifeWithin(outer);
      const two = knifeWithin(outer);
      one.knife.abort();
      expect([outer.aborted, two.knife.aborted]).to.deep.equal([false, false]);
      outer.abort();
      expect(two.knife.aborted).to.equal(true);
      expect(knifeWithin(outer).knife.aborted).to.equal(true);
    });

    it('is on its own once released', () => {
      const outer = new Knife();
      const { knife, release } = knifeWithin(outer);
      release();
      outer.abort();
      expect(knife.aborted).to.equal(false);
    });

    it('is cut by time too, and leaves no timer once released', async () => {
      const clock = new FakeClock();
      const [late, done] = [cutAfter(clock, 100, new Knife()), cutAfter(clock, 100, new Knife())];
      done.release();
      await clock.advance(99);
      expect(late.cut.aborted).to.equal(false);
      await clock.advance(1);
      expect([late.cut.aborted, done.cut.aborted, clock.pending]).to.deep.equal([true, false, 0]);
    });
  });
});
