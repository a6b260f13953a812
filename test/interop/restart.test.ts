// What routers do with a director that was killed, with graceful restart and BFD on and off: what docs/failover.md says.

import { expect } from 'chai';
import { setTimeout } from 'node:timers/promises';
import type { Director, DirectorKind } from '../support/failover/director.ts';
import { arm, type Failure } from '../support/failover/failure.ts';
import type { Wire } from '../support/failover/network.ts';
import type { RouterKind } from '../support/failover/router.ts';
import type { Setting } from '../support/failover/setting.ts';
import { Stage } from '../support/failover/stage.ts';
import { measuredSteady } from '../support/steady.ts';

const RESTART_SECONDS = 5;
const RESTART_MS = RESTART_SECONDS * 1_000;
/** Far more than a router needs to change its table, far less than the restart time. */
const AT_ONCE_MS = 1_500;
const LIMIT_MS = RESTART_MS + 5_000;

type Range = readonly [fromMs: number, toMs: number];
const AT_ONCE: Range = [0, AT_ONCE_MS];
const AFTER_RESTART_TIME: Range = [RESTART_MS - 500, RESTART_MS + 3_000];
const AFTER_DETECTION: Range = [200, AT_ONCE_MS];

interface Case {
  readonly kind: DirectorKind;
  readonly restart: boolean;
  readonly failure: Failure;
  readonly leaves: Range;
  readonly title: string;
}

function casesOf(router: RouterKind, bfd: boolean): readonly Case[] {
  const kept =
    bfd && router === 'BIRD'
      ? { leaves: AFTER_DETECTION, how: 'until BFD fails' }
      : { leaves: AFTER_RESTART_TIME, how: 'for the restart time' };
  const cases = (['anybal', 'BIRD'] as const).map((kind): readonly Case[] => {
    const title = `gives up ${kind} at once when it is killed`;
    return [
      { kind, restart: false, failure: 'kill -9', leaves: AT_ONCE, title },
      { kind, restart: true, failure: 'kill -9', leaves: kept.leaves, title: `keeps ${kind} with restart ${kept.how}` },
      {
        kind,
        restart: true,
        failure: 'SIGTERM',
        leaves: AT_ONCE,
        title: `${title.replace('killed', 'stopped')}, with restart`,
      },
    ];
  });
  return cases.flat();
}

for (const router of ['BIRD', 'FRR'] as const) {
  for (const bfd of [false, true]) {
    describe(`interop: ${router} ${bfd ? 'with' : 'without'} BFD, and a director that ends`, function () {
      this.timeout(240_000);
      const cases = casesOf(router, bfd);
      const took: number[] = [];
      const setting: Setting = { name: '', holdTimeSeconds: 9, bfdMs: bfd ? 100 : null, restartSeconds: null };

      before(async () => {
        took.push(...(await measuredSteady(measure, (all) => all.every(isMeant))));
      });

      const isMeant = (ms: number, i: number): boolean => {
        const [from, to] = cases[i]?.leaves ?? AT_ONCE;
        return ms >= from && ms <= to;
      };

      async function measure(): Promise<readonly number[]> {
        const stage = await Stage.create({
          name: `restart-${router[0]}${bfd ? 1 : 0}`,
          network: 74 + (router === 'FRR' ? 2 : 0) + (bfd ? 1 : 0),
          router,
          setting,
          places: cases.length,
        });
        const directors: Director[] = [];
        try {
          const victims = stage.places.flatMap((wire, i) =>
            cases.slice(i, i + 1).map(({ kind, restart, failure }) => {
              const director = stage.start(kind, wire, {
                ...setting,
                restartSeconds: restart ? RESTART_SECONDS : null,
              });
              directors.push(director);
              return { wire, director, failure };
            }),
          );
          await stage.allServe(stage.places, () => directors.map((director) => director.story()).join('\n'));
          const all = victims.map(async ({ wire, director, failure }) => {
            const { strike } = await arm(failure, { network: stage.network, wire, pid: director.pid });
            return untilLeft(stage, wire, strike());
          });
          return await Promise.all(all);
        } finally {
          await Promise.all(directors.map((director) => director.kill()));
          await stage.close();
        }
      }

      for (const [i, { title, leaves }] of cases.entries()) {
        it(title, () => {
          expect(took[i]).to.be.within(...leaves);
        });
      }
    });
  }
}

/** In ms; infinite when the route stays. */
async function untilLeft({ fib }: Stage, { vip, directorAddress }: Wire, since: number): Promise<number> {
  while (Date.now() < since + LIMIT_MS) {
    const left = fib.left(vip, directorAddress, since);
    if (left !== null) return left - since;
    await setTimeout(50);
  }
  return Number.POSITIVE_INFINITY;
}
