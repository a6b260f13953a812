// A monitor whose results a test hands out by itself, one check at a time.

import type { Cut } from '../../src/lib/cut.ts';
import type { Health, Poll, Target, Tools, Watch } from '../../src/health/monitor.ts';

export interface Asked {
  readonly target: Target;
  readonly cut: Cut;
  readonly at: number;
  readonly tools: Tools;
  answer(health: Health): void;
  fail(error: unknown): void;
}

interface Times {
  readonly interval?: number;
  readonly timeout?: number;
}

/** A poll that records each check. `auto` answers at once; null leaves it to the test. */
export function scriptedPoll(name: string, times: Times = {}) {
  const asked: Asked[] = [];
  const script: { auto: ((target: Target) => Health) | null; created: number } = {
    auto: () => ({ is: 'up' }),
    created: 0,
  };
  const module: Poll = {
    apiVersion: 1,
    name,
    kind: 'poll',
    options: [],
    timing: () => ({ intervalSeconds: times.interval ?? 10, timeoutSeconds: times.timeout ?? 5 }),
    create: (_, tools) => {
      script.created++;
      return {
        check: (target, cut) =>
          new Promise((resolve, reject) => {
            asked.push({ target, cut, at: tools.clock.now(), tools, answer: resolve, fail: reject });
            if (script.auto !== null) resolve(script.auto(target));
          }),
      };
    },
  };
  return { module, asked, script };
}

export interface Watched {
  readonly target: Target;
  readonly cut: Cut;
  readonly at: number;
  report(health: Health): void;
  end(means: Health | 'unchanged'): void;
}

export function scriptedWatch(name: string) {
  const watched: Watched[] = [];
  const module: Watch = {
    apiVersion: 1,
    name,
    kind: 'watch',
    options: [],
    timing: () => ({ connectTimeoutSeconds: 30, reconnectTimeoutSeconds: 3, maxDelaySeconds: 300 }),
    create: (_, tools) => ({
      watch: (target, report, cut) =>
        new Promise((resolve) => {
          watched.push({ target, cut, at: tools.clock.now(), report, end: (means) => resolve({ means }) });
        }),
    }),
  };
  return { module, watched };
}
