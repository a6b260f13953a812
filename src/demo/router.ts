// A stand-in for the router: our own BGP speaker, waiting for anybal's call, that prints its routing table when it changes.

import { Speaker } from '../bgp/speaker.ts';
import type { RouteTable } from '../bgp/table.ts';
import type { PeerConfig } from '../config/types.ts';
import { createClock } from '../world/real/clock.ts';
import { createStreams } from '../world/real/streams.ts';
import type { Screen } from './screen.ts';

export interface Router {
  /** Resolves when the table first has this many routes. */
  readonly filled: Promise<void>;
  stop(): Promise<void>;
}

/** `peer` is anybal's configuration of this router: the stand-in is its other end. `routes` is for `filled`. */
export async function startRouter(peer: PeerConfig, routes: number, screen: Screen): Promise<Router> {
  const { address, port, localAddress, localAs, peerAs } = peer;
  const say = (text: string) => screen.say('router', text);
  let fill = () => {};
  const filled = new Promise<void>((resolve) => {
    fill = resolve;
  });
  const streams = createStreams(() => {
    throw new Error('BGP needs no certificates');
  }, null);
  const speaker = new Speaker(
    {
      clock: createClock(),
      random: Math.random,
      streams,
      log: ({ level, text }) => {
        if (level === 'warn' || level === 'error' || level === 'critical') say(text);
      },
    },
    {
      onPeerState: (_name, { established }) =>
        say(established ? `BGP session with anybal is up (AS ${localAs})` : 'BGP session with anybal is gone'),
      onRoutes: (_name, table) => {
        say(printTable(table));
        if (table.size >= routes) fill();
      },
    },
  );
  await speaker.configure({
    routerId: address,
    listen: [{ address, port }],
    peers: [
      {
        ...peer,
        name: 'anybal',
        place: null,
        address: localAddress ?? address,
        localAddress: address,
        passive: true,
        localAs: peerAs ?? localAs,
        peerAs: localAs,
      },
    ],
  });
  return { filled, stop: () => speaker.stop() };
}

function printTable(table: RouteTable): string {
  if (table.size === 0) return 'routing table: empty';
  const rows = [...table].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = rows.map(([prefix, { nextHop, asPath, med }]) => {
    const length = prefix.includes('/') ? '' : prefix.includes(':') ? '/128' : '/32';
    return `  ${prefix}${length} via ${nextHop}, AS path ${asPath.join(' ')}${med === null ? '' : `, MED ${med}`}`;
  });
  return [`routing table: ${table.size} ${table.size === 1 ? 'route' : 'routes'}`, ...lines].join('\n');
}
