// What a check waits for here (its turn, the path) is not the server's time.

import { expect } from 'chai';
import type { Health, MonitorModule, Target, Tools } from '../../../src/health/monitor.ts';
import type { Gate, Queue } from '../../../src/health/gate.ts';
import { Instance } from '../../../src/health/instance.ts';
import { Ticks } from '../../../src/health/ticks.ts';
import { makeGates } from '../../../src/health/tools.ts';
import { Knife, type Cut } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { HttpResponse } from '../../../src/world/world.ts';
import { FakeWorld, response } from '../../support/fake-world.ts';

const TARGET: Target = {
  service: 'text_80',
  host: 'cp1',
  address: '10.0.0.9',
  port: 80,
  weight: 10,
  vip: '10.0.0.1',
  servicePort: 80,
  protocol: 'tcp',
};
const REQUEST = { url: 'http://10.0.0.9/', timeoutMs: 60_000, maxBytes: 10 };

const ask = async (tools: Tools, cut: Cut): Promise<Health> =>
  tools.fetch(REQUEST, cut).then(
    () => ({ is: 'up' }),
    () => ({ is: 'down', reason: 'no answer' }),
  );
const poll = {
  apiVersion: 1,
  name: 'A',
  kind: 'poll',
  options: [],
  timing: () => ({ intervalSeconds: 600, timeoutSeconds: 2 }),
  create: (_, tools) => ({ check: (_target, cut) => ask(tools, cut) }),
} satisfies MonitorModule;
/** It gives the answer most of its time, and itself the rest. */
const parted = {
  ...poll,
  name: 'C',
  create: (_, tools) => ({
    async check(_target, cut) {
      const part = tools.deadline(cut, 3000);
      return ask(tools, part.cut).finally(() => part.release());
    },
  }),
} satisfies MonitorModule;
const watch = {
  apiVersion: 1,
  name: 'B',
  kind: 'watch',
  options: [],
  timing: () => ({ connectTimeoutSeconds: 2, reconnectTimeoutSeconds: 2, maxDelaySeconds: 60 }),
  create: (_, tools) => ({
    async watch(_target, report, cut) {
      const health = await ask(tools, cut);
      if (health.is === 'up') report(health);
      else return { means: health };
      return new Promise<never>(() => {});
    },
  }),
} satisfies MonitorModule;

/** Others take all the room that there is: whose places they are, the last one first. */
function filled(gate: Gate): readonly Queue[] {
  const places: Queue[] = [];
  for (;;) {
    const queue = gate.queue();
    const before = places.length;
    while (queue.enterAtOnce(new Knife())) places.unshift(queue);
    if (places.length === before) return places;
  }
}

/** A check at time 0 that has its turn after `turnMs`, of a server that answers `answerMs` later: what is said, and when. */
async function checked(module: MonitorModule, turnMs: number, answerMs: number): Promise<readonly string[]> {
  const fake = new FakeWorld();
  const { clock } = fake.world;
  const start = clock.now();
  const get = (_: unknown, cut: Cut) =>
    new Promise<HttpResponse>((resolve, reject) => {
      clock.at(answerMs, () => resolve(response(200)));
      cut.onAbort(() => reject(new SystemError('ECANCELED', 'get')));
    });
  const gates = makeGates();
  const [last] = filled(gates.connecting);
  clock.at(turnMs, () => last?.leave());
  const said: string[] = [];
  new Instance({ module, options: {} }, { ...fake.world, http: { ...fake.world.http, get } }, gates).join({
    ...{ clock, ticks: new Ticks(clock), phase: 0, random: () => 0.5, target: () => TARGET },
    self: () => fake.world.self(),
    onStart() {},
    onResult: (health) =>
      said.push(`${health.is === 'up' ? 'up' : `${health.is}: ${health.reason}`} at ${clock.now() - start}`),
    intervalMs: (ownMs) => ownMs,
    ...{ onAbandoned() {}, log() {}, observe() {} },
  });
  await fake.clock.advance(4000);
  return said.slice(0, 1);
}

for (const [what, module] of [
  ['poll', poll],
  ['poll that asks in a part of it', parted],
  ['watch', watch],
] as const) {
  describe(`A ${what} that waits for its turn`, () => {
    it('gives the server half of its time at least, from then on', async () => {
      expect(await checked(module, 1500, 900)).to.deep.equal(['up at 2400']);
      const [late = ''] = await checked(module, 1500, 1100);
      expect(late).to.match(/^down: no answer at 25[0-3]\d$/);
    });

    it('gives it no more where that is left of its time', async () => {
      const [late = ''] = await checked(module, 900, 1200);
      expect(late).to.match(/^down: no answer at 20[0-3]\d$/);
    });

    it('says nothing of the server when its turn never came', async () => {
      const [never = ''] = await checked(module, 3000, 100);
      expect(never).to.match(/^unknown: too many checks at once at 20[0-3]\d$/);
    });
  });
}
