import { expect } from 'chai';
import { pairState } from '../../../src/health/pair.ts';
import { isNow, learnResult, type MonitorState, noResult } from '../../../src/health/rise.ts';
import type { Health } from '../../../src/health/monitor.ts';
import type { Mono } from '../../../src/world/world.ts';

const NOW = 1000 as Mono;
const after = (...results: readonly Health[]): MonitorState =>
  results.reduce((state, health) => learnResult(state, health, { rise: 1, fall: 1 }, NOW), noResult(NOW));
const up = after({ is: 'up' });
const down = (reason: string): MonitorState => after({ is: 'down', reason });
const blind = after({ is: 'up' }, { is: 'unknown', reason: 'EMFILE' });

describe('A server asked at its own address and through the path', () => {
  const cases: readonly (readonly [string, MonitorState, MonitorState, ReturnType<typeof isNow>, string])[] = [
    ['is up when both ways answer', up, up, 'up', ''],
    [
      'is down, and the path is to blame, when only its own address answers',
      up,
      down('timed out'),
      'down',
      'application answers on its own address, VIP path does not: timed out',
    ],
    ['is down for its own reason when neither answers', down('refused'), down('timed out'), 'down', 'refused'],
    [
      'is down when only the path answers, and says so',
      down('refused'),
      up,
      'down',
      'answers through the VIP path, not on its own address: refused',
    ],
    ['is down for its own reason while the path is unknown', down('refused'), blind, 'down', 'refused'],
    [
      'is down by the path alone before its own first result',
      noResult(NOW),
      down('x'),
      'down',
      'VIP path does not answer: x',
    ],
    ['is unknown while the path is', up, noResult(NOW), 'unknown', ''],
    ['is unknown while its own address is', blind, up, 'unknown', ''],
  ];
  for (const [title, server, path, is, reason] of cases) {
    it(title, () => {
      const state = pairState(server, path);
      expect(isNow(state)).to.equal(is);
      if (is === 'down') expect(state.reason).to.equal(reason);
    });
  }

  it('keeps its verdict from before, which was up, while the path can not be told', () => {
    expect(pairState(up, blind)).to.deep.include({ known: 'up', blind: 'EMFILE' });
  });
});
