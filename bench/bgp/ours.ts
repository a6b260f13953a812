// A program: our speaker as the daemon runs it, in a process of its own, so that its CPU and memory are its own too. The
// bench tells it over IPC what to do.

import { realSpeaker } from '../../test/support/real-speaker.ts';
import { peerConfig, route } from '../../test/support/bgp-net.ts';
import type { Route } from '../../src/decision/decision.ts';
import { addresses } from './prefixes.ts';
import { ADDRESS, AS, type Family } from './receiver.ts';

export type Order =
  | { readonly do: 'load'; readonly family: Family; readonly count: number }
  | { readonly do: 'withdraw' }
  /** Gives one route another MED. */
  | { readonly do: 'change'; readonly index: number; readonly med: number };

/** Answers to `change` carry the time at which `set` was called, of CLOCK_MONOTONIC in ns. */
export interface Answer {
  readonly at: string;
}

const PEER = 'receiver';
const { speaker } = realSpeaker();
let routes: readonly Route[] = [];
/** All of them; those of the first order, or a later one would add to our memory what the speaker does not hold. */
let held: readonly Route[] = [];

process.on('message', (order: Order) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));

async function obey(order: Order): Promise<Answer> {
  switch (order.do) {
    case 'load': {
      const { announcer, receiver } = ADDRESS[order.family];
      // As decision/routes.ts makes them: sorted, with lists that all of them share.
      const shared = { asPath: [AS.announcer], communities: [] };
      if (held.length === 0) {
        const sorted = addresses(order.family, order.count).sort();
        held = sorted.map((address) => route(address, shared));
      }
      routes = held;
      await speaker.configure({
        routerId: ADDRESS[4].announcer,
        listen: [{ address: announcer, port: 179 }],
        peers: [
          peerConfig({
            name: PEER,
            address: receiver,
            passive: true,
            localAs: AS.announcer,
            peerAs: AS.receiver,
            holdTimeSeconds: 90,
          }),
        ],
      });
      speaker.set(PEER, routes);
      return now();
    }
    case 'withdraw':
      routes = [];
      speaker.set(PEER, routes);
      return now();
    case 'change': {
      const next = routes.slice();
      const changed = next[order.index];
      if (changed === undefined) throw new Error(`no route ${order.index}`);
      next[order.index] = { ...changed, med: order.med };
      routes = next;
      const at = now();
      speaker.set(PEER, routes);
      return at;
    }
    default:
      return order satisfies never;
  }
}

function now(): Answer {
  return { at: String(process.hrtime.bigint()) };
}
