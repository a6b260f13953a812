import { expect } from 'chai';
import fc from 'fast-check';
import type { ServerHealth } from '../../../src/decision/facts.ts';
import { atLeast, combine, type NamedState } from '../../../src/health/combine.ts';
import type { Health } from '../../../src/health/monitor.ts';
import { AT_ONCE, inherit, isNow, learnResult, type MonitorState, noResult } from '../../../src/health/rise.ts';
import type { Mono } from '../../../src/world/world.ts';

const at = (ms: number) => ms as Mono;
const UP: Health = { is: 'up' };
const DOWN: Health = { is: 'down', reason: '503' };
const UNKNOWN: Health = { is: 'unknown', reason: 'EMFILE' };

function after(results: readonly Health[], counts = AT_ONCE, start: MonitorState = noResult(at(0))): MonitorState {
  return results.reduce((state, health, i) => learnResult(state, health, counts, at(i + 1)), start);
}

const anyHealth = fc.constantFrom(UP, DOWN, UNKNOWN);
const anyCounts = fc.record({ rise: fc.integer({ min: 1, max: 4 }), fall: fc.integer({ min: 1, max: 4 }) });

describe('rise and fall', () => {
  it('lets the first result that says anything decide', () => {
    expect(after([DOWN], { rise: 3, fall: 3 })).to.include({ known: 'down', reason: '503', since: 1 });
    expect(after([UNKNOWN, UNKNOWN, UP], { rise: 3, fall: 3 })).to.include({ known: 'up', since: 3 });
    expect(after([UNKNOWN]).known).to.equal(null);
  });

  it('needs fall bad results in a row for down and rise good ones for up', () => {
    const counts = { rise: 2, fall: 3 };
    expect(after([UP, DOWN, DOWN], counts).known).to.equal('up');
    expect(after([UP, DOWN, DOWN, UP, DOWN, DOWN], counts).known).to.equal('up');
    expect(after([UP, DOWN, DOWN, DOWN], counts).known).to.equal('down');
    expect(after([DOWN, UP], counts).known).to.equal('down');
    expect(after([DOWN, UP, UP], counts).known).to.equal('up');
  });

  it('freezes the verdict while nothing can be told', () => {
    const frozen = after([UP, UNKNOWN]);
    expect(frozen).to.include({ known: 'up', blind: 'EMFILE', since: 2 });
    expect(isNow(frozen)).to.equal('unknown');
    expect(isNow(after([UP, UNKNOWN, UP]))).to.equal('up');
  });

  it('replaces a verdict from before a restart by the next result', () => {
    const kept = inherit(after([UP]));
    expect(isNow(kept)).to.equal('up');
    expect(after([DOWN], { rise: 5, fall: 5 }, kept).known).to.equal('down');
    expect(after([UP, DOWN], { rise: 5, fall: 5 }, kept).known).to.equal('up');
  });

  it('agrees with a plain reading of the rule: unknown results might as well not have happened', () => {
    fc.assert(
      fc.property(fc.array(anyHealth, { maxLength: 30 }), anyCounts, (results, counts) => {
        const told = results.map(({ is }) => is).filter((is) => is !== 'unknown');
        let known: string | null = told[0] ?? null;
        for (let i = 1; i < told.length; i++) {
          const needed = told[i] === 'up' ? counts.rise : counts.fall;
          const row = told.slice(Math.max(0, i + 1 - needed), i + 1);
          if (row.length === needed && row.every((is) => is === told[i])) known = told[i] ?? null;
        }
        expect(after(results, counts).known).to.equal(known);
        expect(after(results, counts).blind !== null).to.equal(results.at(-1)?.is === 'unknown');
      }),
    );
  });
});

describe('what a result says of the weight', () => {
  const half: Health = { is: 'up', detail: '50%', percent: 50 };
  const drain: Health = { is: 'up', drain: true };
  const combined = (...states: readonly (readonly Health[])[]) =>
    combine(
      states.map((results, i) => ({ name: `M${i}`, state: after(results, { rise: 2, fall: 2 }) })),
      states.length,
      null,
      at(9),
    ).weighting;

  it('counts while the server is up: from the result that makes it up, until the one that makes it down', () => {
    expect(combined([UP])).to.equal(undefined);
    expect(combined([half])).to.deep.equal({ weight: null, percent: 50, drain: false, reason: 'M0: 50%' });
    expect(combined([half, UP])).to.equal(undefined);
    expect(combined([half, DOWN])).to.include({ percent: 50 });
    expect(combined([half, DOWN, DOWN])).to.equal(undefined);
    expect(combined([DOWN, half])).to.equal(undefined);
    expect(combined([DOWN, half, drain])).to.include({ percent: 100, drain: true });
  });

  it('stays as it was while nothing can be told', () => {
    expect(combined([half, UNKNOWN])).to.include({ percent: 50 });
  });

  it('is the least that any monitor gives', () => {
    expect(combined([half], [{ is: 'up', weight: 7 }], [UP], [{ is: 'up', weight: 5, percent: 80 }])).to.deep.equal({
      weight: 5,
      percent: 50,
      drain: false,
      reason: 'M0: 50%; M1: weight 7; M3: 80 % of weight 5',
    });
    expect(combined([half], [drain])).to.include({ drain: true, reason: 'M0: 50%; M1: drain' });
  });
});

describe('combine', () => {
  const named = (...states: readonly (readonly Health[])[]) =>
    states.map((results, i) => ({ name: `M${i}`, state: after(results) }));

  const all = (monitors: readonly NamedState[], before: ServerHealth | null, now: Mono) =>
    combine(monitors, monitors.length, before, now);

  it('is up without monitors', () => {
    expect(all([], null, at(9))).to.deep.equal({ is: 'up', since: 9, reason: 'no monitors', partial: true });
  });

  it('is up when all are up', () => {
    expect(all(named([UP], [UP]), null, at(9))).to.include({ is: 'up', partial: true });
  });

  it('is down when any is down, and names each that is', () => {
    const health = all(named([DOWN], [UP], [UNKNOWN], [DOWN]), null, at(9));
    expect(health).to.deep.equal({ is: 'down', since: 9, reason: 'M0: 503; M3: 503', partial: true });
    expect(all(named([DOWN], [DOWN]), null, at(9)).partial).to.equal(false);
  });

  it('is unknown while one has no result or cannot tell, and none is down', () => {
    expect(all(named([UP], []), null, at(9))).to.include({
      is: 'unknown',
      reason: 'M1: no result yet',
      partial: true,
    });
    expect(all(named([UP, UNKNOWN], [UP]), null, at(9))).to.include({ is: 'unknown', reason: 'M0: EMFILE' });
    expect(all(named([]), null, at(9)).partial).to.equal(false);
  });

  it('keeps since while the health is what it was', () => {
    const before = all(named([DOWN], [UP]), null, at(9));
    expect(all(named([DOWN], [DOWN]), before, at(20)).since).to.equal(9);
    expect(all(named([UP], [UP]), before, at(20)).since).to.equal(20);
  });

  it('is up with one that is up where one is enough, whatever the others do not know', () => {
    const monitors = named([UNKNOWN], [UP], [], [DOWN]);
    expect(combine(monitors, 1, null, at(9))).to.include({ is: 'up', reason: 'M1: up' });
    expect(combine(named([UNKNOWN], [DOWN]), 1, null, at(9))).to.include({
      is: 'unknown',
      reason: '0 of 2 up, 1 needed; M0: EMFILE',
    });
    expect(combine(named([DOWN], [DOWN]), 1, null, at(9))).to.include({
      is: 'down',
      reason: '0 of 2 up, 1 needed; M0: 503; M1: 503',
    });
  });

  it('says of any number of monitors what every way of clearing up the unknown ones agrees on', () => {
    const anyVerdict = fc.constantFrom('up' as const, 'down' as const, 'unknown' as const);
    const cases = fc
      .array(anyVerdict, { minLength: 1, maxLength: 6 })
      .chain((verdicts) => fc.tuple(fc.constant(verdicts), fc.integer({ min: 1, max: verdicts.length })));
    /** The truth table: all rows that the unknown ones may turn out to be. */
    const rows = ([first, ...rest]: readonly ServerHealth['is'][]): readonly (readonly boolean[])[] => {
      if (first === undefined) return [[]];
      const heads = first === 'unknown' ? [true, false] : [first === 'up'];
      return heads.flatMap((head) => rows(rest).map((row) => [head, ...row]));
    };
    fc.assert(
      fc.property(cases, ([verdicts, needed]) => {
        const answers = new Set(rows(verdicts).map((row) => row.filter(Boolean).length >= needed));
        const expected = answers.size === 2 ? 'unknown' : answers.has(true) ? 'up' : 'down';
        expect(atLeast(needed, verdicts)).to.equal(expected);
        const states = named(...verdicts.map((is) => (is === 'up' ? [UP] : is === 'down' ? [DOWN] : [UP, UNKNOWN])));
        expect(combine(states, needed, null, at(9)).is).to.equal(expected);
      }),
      { numRuns: 500 },
    );
  });
});
