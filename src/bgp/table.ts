// What a peer has told us, for those who want to know: router stand-ins and tests. The daemon itself keeps no such
// table.

import type { Attributes } from './attribute.ts';
import { printPrefix, prefixes } from './nlri.ts';
import { reachability, type ReceivedUpdate } from './update.ts';

export interface ReceivedRoute {
  /** Name of the peer that told it. */
  readonly peer: string;
  readonly nextHop: string;
  readonly asPath: readonly number[];
  readonly med: number | null;
  readonly localPref: number | null;
  readonly communities: readonly number[];
}

/** By address for host routes, by `address/length` for others. */
export type RouteTable = ReadonlyMap<string, ReceivedRoute>;

/** Fold one UPDATE into a table. Returns whether the table changed. */
export function learnRoutes(table: Map<string, ReceivedRoute>, peer: string, update: ReceivedUpdate): boolean {
  let changed = false;
  const { withdrawn, announced } = reachability(update);
  for (const nlri of withdrawn) {
    for (const prefix of prefixes(nlri)) changed = table.delete(printPrefix(prefix, nlri.family)) || changed;
  }
  for (const { nlri, nextHop } of announced) {
    const route = receivedRoute(peer, nextHop, update.attributes);
    for (const prefix of prefixes(nlri)) {
      table.set(printPrefix(prefix, nlri.family), route);
      changed = true;
    }
  }
  return changed;
}

function receivedRoute(peer: string, nextHop: string, attributes: Attributes): ReceivedRoute {
  return {
    peer,
    nextHop,
    asPath: wholePath(attributes),
    med: attributes.med ?? null,
    localPref: attributes.localPref ?? null,
    communities: attributes.communities ?? [],
  };
}

/** RFC 6793 §4.2.3: AS4_PATH replaces the end of AS_PATH, unless it is the longer one. */
function wholePath({ asPath, as4Path }: Attributes): readonly number[] {
  const short = asPath?.flatMap(({ as }) => as) ?? [];
  const exact = as4Path?.flatMap(({ as }) => as) ?? [];
  return exact.length > short.length ? short : [...short.slice(0, short.length - exact.length), ...exact];
}

/** The table of one peer, for somebody who is told whenever it has changed. */
export class LearnedTable {
  readonly #peer: string;
  readonly #onTable: (table: RouteTable) => void;
  readonly #routes = new Map<string, ReceivedRoute>();
  #changed = false;

  constructor(peer: string, onTable: (table: RouteTable) => void) {
    this.#peer = peer;
    this.#onTable = onTable;
  }

  learn(update: ReceivedUpdate): void {
    this.#changed = learnRoutes(this.#routes, this.#peer, update) || this.#changed;
  }

  /** The session is gone. */
  clear(): void {
    this.#changed ||= this.#routes.size > 0;
    this.#routes.clear();
    this.tell();
  }

  /** Every UPDATE that is at hand was learned. */
  tell(): void {
    if (!this.#changed) return;
    this.#changed = false;
    this.#onTable(this.#routes);
  }
}
