// Which list of servers is in force, whatever the source says. Pure. A list is suspect that is empty, or has left too many
// servers out, at once or one by one, whether others have come in their place or not: it is accepted only after it was served
// unchanged for a while, or by hand. One that only grows takes nothing away and is not. Unparsable data is never accepted, half a list
// included. With admin-floor, a list that takes the pool below its floor is refused. Driven by service-pool.ts.

import type { PoolHost } from '../decision/facts.ts';
import { floorOf } from '../decision/floor.ts';
import type { LogLevel } from '../log/record.ts';
import type { Mono } from '../world/world.ts';

/** The options of a service that the guard obeys (see ServiceConfig). */
export interface GuardConfig {
  readonly poolShrinkLimit: number;
  readonly poolShrinkConfirmSeconds: number;
  readonly adminFloor: boolean;
  readonly depoolThreshold: number;
}

/** A list that the source serves and that is not in force. */
export interface Pending {
  readonly hosts: readonly PoolHost[];
  readonly why: 'suspect' | 'refused';
  readonly reason: string;
  /** How long it has been served. Of an outage in between, COUNTED_GAP_MS count at most. */
  readonly servedMs: number;
  /** Time of the last answer with it. */
  readonly servedAt: Mono;
}

export interface GuardState {
  /** The last accepted list: of this process, or of an earlier one (see `published`). Null: there never was one. */
  readonly accepted: readonly PoolHost[] | null;
  /** `accepted` was handed on. False: it was read from disk and waits for the first word of the source. */
  readonly published: boolean;
  readonly pending: Pending | null;
  /** Why the data last served could not be read as a list. */
  readonly unparsable: string | null;
  readonly failing: { readonly since: Mono; readonly reason: string } | null;
  /** When the source last served the list in force; null: never to this process. */
  readonly confirmedAt: Mono | null;
  /** The list in force is another source's: nobody expects its servers to be in this one's. */
  readonly ofAnother: boolean;
  /** Longer lists that were in force lately, and until when that counts: the latest and shortest last. */
  readonly lately: readonly { readonly servers: number; readonly until: Mono }[];
}

/** What is wrong with a source. */
export interface Trouble {
  readonly is: 'suspect' | 'refused' | 'unparsable' | 'stale';
  readonly reason: string;
}

export type GuardEvent =
  /** The last good list from disk. */
  | { readonly on: 'restored'; readonly hosts: readonly PoolHost[] }
  /** The source answered with this list, new or not. */
  | {
      readonly on: 'list';
      readonly at: Mono;
      readonly hosts: readonly PoolHost[];
      /** Hosts that have no address now; one that was never looked up counts as resolved. */
      readonly unresolved: ReadonlySet<string>;
    }
  | { readonly on: 'unparsable'; readonly at: Mono; readonly reason: string }
  /** No answer. */
  | { readonly on: 'failed'; readonly at: Mono; readonly reason: string }
  /** An operator accepts what is pending. */
  | { readonly on: 'accept'; readonly at: Mono; readonly unresolved: ReadonlySet<string> };

export type GuardAction =
  /** Put this list in force. `first`: this process had none before. `save`: it is new, so the one on disk is outdated. */
  | { readonly do: 'publish'; readonly hosts: readonly PoolHost[]; readonly first: boolean; readonly save: boolean }
  | { readonly do: 'say'; readonly level: LogLevel; readonly text: string };

export type GuardStep = readonly [GuardState, readonly GuardAction[]];

export const initialGuard: GuardState = {
  accepted: null,
  published: false,
  pending: null,
  unparsable: null,
  failing: null,
  confirmedAt: null,
  ofAnother: false,
  lately: [],
};

/** A source that has been failing for this long makes its list stale. */
export const STALE_AFTER_MS = 10_000;
const COUNTED_GAP_MS = 10_000;

export function step(config: GuardConfig, state: GuardState, event: GuardEvent): GuardStep {
  switch (event.on) {
    case 'restored':
      return state.accepted === null ? [{ ...state, accepted: event.hosts }, []] : [state, []];
    case 'list':
      return served(config, state, event);
    case 'unparsable':
      return unparsable(state, event);
    case 'failed':
      return failed(state, event);
    case 'accept':
      return acceptPending(config, state, event);
    default:
      return event satisfies never;
  }
}

/** What an operator should know of the source, or null if it serves the list in force. `now` tells stale from a hiccup. */
export function troubleOf(state: GuardState, now: Mono): Trouble | null {
  const { failing, confirmedAt } = state;
  const last = troubleOfLast(state);
  if (failing === null) return last;
  const hiccup = now - failing.since < STALE_AFTER_MS;
  if (hiccup && (last !== null || confirmedAt !== null)) return last;
  const before = last === null ? '' : `; what it served last is ${last.is}: ${last.reason}`;
  return { is: 'stale', reason: `${failing.reason}${before}` };
}

/** Of what the source served last. */
function troubleOfLast({ pending, unparsable }: GuardState): Trouble | null {
  if (pending !== null) return { is: pending.why, reason: pending.reason };
  return unparsable === null ? null : { is: 'unparsable', reason: unparsable };
}

/** Equal as sets of hosts with weight and state: the order in a file means nothing. */
export function sameHosts(a: readonly PoolHost[], b: readonly PoolHost[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  const known = new Map(a.map((host) => [host.host, host]));
  return b.every((host) => {
    const other = known.get(host.host);
    return other !== undefined && other.weight === host.weight && other.enabled === host.enabled;
  });
}

type Served = GuardEvent & { readonly on: 'list' };

function served(config: GuardConfig, before: GuardState, event: Served): GuardStep {
  const said: GuardAction[] = [];
  if (before.failing !== null) said.push(say('info', 'pool source answers again'));
  if (before.unparsable !== null) said.push(say('info', 'pool source serves a readable list again'));
  const state: GuardState = { ...before, failing: null, unparsable: null };

  if (state.accepted !== null && sameHosts(state.accepted, event.hosts)) {
    if (state.pending !== null) said.push(say('info', 'pool source serves the list in force again'));
    const settled: GuardState = { ...state, pending: null, confirmedAt: event.at, ofAnother: false };
    if (state.published) return [settled, said];
    return [{ ...settled, published: true }, [...said, publish(state.accepted, true, false)]];
  }

  const suspicion = suspicionOf(config, state, event);
  const refusal = refusalOf(config, state.accepted, event);
  if (suspicion === null && refusal === null)
    return accept(config, state, event, said, latelyAfter(config, state, event));

  const pending = pendingAfter(state.pending, event, suspicion, refusal);
  const confirmed = pending.servedMs >= config.poolShrinkConfirmSeconds * 1000;
  if (suspicion !== null && confirmed && refusal === null) {
    const text = `suspect list was served unchanged for ${config.poolShrinkConfirmSeconds} s: accepted`;
    return accept(config, state, event, [...said, say('warn', text)]);
  }
  if (state.pending === null || !sameHosts(state.pending.hosts, pending.hosts) || state.pending.why !== pending.why) {
    said.push(say('error', refusedText(config, state, pending)));
  }
  const [kept, actions] = fallBack({ ...state, pending });
  return [kept, [...said, ...actions]];
}

/** Why this list must wait, or null. */
function suspicionOf(config: GuardConfig, state: GuardState, event: Served): string | null {
  const { accepted, ofAnother } = state;
  const have = accepted?.length ?? 0;
  const got = event.hosts.length;
  const [longest] = latelyAt(state, event.at);
  if (got === 0) return have === 0 ? 'the list is empty' : `the list is empty, ${have} servers in the last one`;
  if (got < config.poolShrinkLimit * have) return `the list shrank from ${have} to ${got} servers`;
  // Whoever deletes one server after the other leaves as few as who deletes them at once.
  if (longest !== undefined && got < have && got < config.poolShrinkLimit * longest.servers) {
    const within = `within ${config.poolShrinkConfirmSeconds} s`;
    return `the list shrank from ${longest.servers} to ${got} servers ${within}`;
  }
  const listed = new Set(event.hosts.map((host) => host.host));
  const kept = (accepted ?? []).filter((host) => listed.has(host.host)).length;
  // What is not there is not there: that others are does not make it the pool that it was.
  return !ofAnother && kept < config.poolShrinkLimit * have
    ? `the list has ${kept} of the last one's ${have} servers`
    : null;
}

function latelyAt({ lately }: GuardState, at: Mono): GuardState['lately'] {
  return lately.filter(({ until }) => at < until);
}

/** A list that was believed after a doubt is what the next one is compared with, and nothing before it. */
function latelyAfter(config: GuardConfig, state: GuardState, event: Omit<Served, 'on'>): GuardState['lately'] {
  const servers = state.accepted?.length ?? 0;
  if (servers <= event.hosts.length) return latelyAt(state, event.at);
  const until = (event.at + config.poolShrinkConfirmSeconds * 1000) as Mono;
  return [...latelyAt(state, event.at).filter((one) => one.servers > servers), { servers, until }];
}

/** Why admin-floor forbids this list, or null. An edit of a pool that is below its floor already may improve it. */
function refusalOf(config: GuardConfig, accepted: readonly PoolHost[] | null, event: Served): string | null {
  if (!config.adminFloor || accepted === null) return null;
  const next = standing(config, event.hosts, event.unresolved);
  if (next.eligible >= next.floor) return null;
  const last = standing(config, accepted, event.unresolved);
  if (last.eligible < last.floor && next.eligible >= last.eligible && next.floor <= last.floor) return null;
  return `${next.eligible} of ${next.total} servers would be enabled and resolved, the depool threshold needs ${next.floor}`;
}

function standing(config: GuardConfig, hosts: readonly PoolHost[], unresolved: ReadonlySet<string>) {
  const eligible = hosts.filter((host) => host.enabled && !unresolved.has(host.host)).length;
  return { eligible, total: hosts.length, floor: floorOf(config.depoolThreshold, hosts.length) };
}

function pendingAfter(
  before: Pending | null,
  event: Served,
  suspicion: string | null,
  refusal: string | null,
): Pending {
  const same = before !== null && sameHosts(before.hosts, event.hosts);
  return {
    hosts: event.hosts,
    why: refusal === null ? 'suspect' : 'refused',
    reason: refusal ?? suspicion ?? '',
    servedMs: same ? before.servedMs + Math.min(event.at - before.servedAt, COUNTED_GAP_MS) : 0,
    servedAt: event.at,
  };
}

function refusedText(config: GuardConfig, state: GuardState, pending: Pending): string {
  const kept = state.accepted === null ? 'there is no list to go on with' : 'the last good list stays in force';
  if (pending.why === 'refused') return `refused: ${pending.reason}; ${kept}`;
  const wait = `accepted when served unchanged for ${config.poolShrinkConfirmSeconds} s`;
  return `suspect: ${pending.reason}; ${kept}; ${wait}`;
}

function accept(
  config: GuardConfig,
  state: GuardState,
  event: Omit<Served, 'on'>,
  said: readonly GuardAction[],
  lately: GuardState['lately'] = [],
): GuardStep {
  const first = !state.published;
  const { hosts } = event;
  const now = standing(config, hosts, event.unresolved);
  const before = state.accepted === null ? null : standing(config, state.accepted, event.unresolved);
  const actions = [...said, publish(hosts, first, true)];
  if (
    now.eligible < now.floor &&
    (before === null || before.eligible >= before.floor || now.eligible < before.eligible)
  ) {
    const text = `${now.eligible} of ${now.total} servers are enabled and resolved, the depool threshold needs ${now.floor}`;
    actions.push(say('critical', `pool list obeyed, but ${text}`));
  }
  return [
    {
      accepted: hosts,
      published: true,
      pending: null,
      unparsable: null,
      failing: null,
      confirmedAt: event.at,
      ofAnother: false,
      lately,
    },
    actions,
  ];
}

function unparsable(before: GuardState, event: GuardEvent & { readonly on: 'unparsable' }): GuardStep {
  const state: GuardState = { ...before, failing: null, pending: null, unparsable: event.reason };
  const [kept, actions] = fallBack(state);
  if (before.unparsable === event.reason) return [kept, actions];
  const what = state.accepted === null ? 'there is no list to go on with' : 'the last good list stays in force';
  return [kept, [say('error', `unparsable: ${event.reason}; ${what}`), ...actions]];
}

function failed(before: GuardState, event: GuardEvent & { readonly on: 'failed' }): GuardStep {
  const failing = { since: before.failing?.since ?? event.at, reason: event.reason };
  const [kept, actions] = fallBack({ ...before, failing });
  if (before.failing?.reason === event.reason) return [kept, actions];
  return [kept, [say('error', `pool source failed: ${event.reason}`), ...actions]];
}

/** The source has no list for us: hand on the one from disk, if nothing was handed on yet. */
function fallBack(state: GuardState): GuardStep {
  if (state.accepted === null || state.published) return [state, []];
  const text = `using the last good list (${state.accepted.length} servers) kept on disk`;
  return [{ ...state, published: true }, [say('warn', text), publish(state.accepted, true, false)]];
}

function acceptPending(
  config: GuardConfig,
  state: GuardState,
  event: GuardEvent & { readonly on: 'accept' },
): GuardStep {
  if (state.pending === null) return [state, []];
  const { hosts, why } = state.pending;
  const said = [say('warn', `${why} list (${hosts.length} servers) accepted by hand`)];
  return accept(config, state, { at: event.at, hosts, unresolved: event.unresolved }, said);
}

function publish(hosts: readonly PoolHost[], first: boolean, save: boolean): GuardAction {
  return { do: 'publish', hosts, first, save };
}

function say(level: LogLevel, text: string): GuardAction {
  return { do: 'say', level, text };
}
