// Ping: ICMP echo to the real server. It says that the host is there and the way to it is open, nothing of its services: let
// it never be a service's only monitor.

import type { OptionRow, OptionsOf, Poll, Sample } from 'anybal/monitor';
import { idleLatency } from './lib/doubt.ts';
import { textOf } from './lib/text.ts';

const options = [
  { name: 'count', kind: 'int', min: 1, max: 100, default: 3, doc: 'How many requests to send, at most.' },
  {
    name: 'need',
    kind: 'int',
    min: 1,
    max: 100,
    default: 1,
    doc: 'How many replies make it up; with 3 requests, 1 allows for two that get lost.',
  },
  { name: 'pause', kind: 'seconds', min: 0, max: 60, default: 0.2, doc: 'Seconds between two requests.' },
  {
    name: 'max-latency',
    kind: 'seconds',
    min: 0.0001,
    max: 60,
    default: null,
    example: '0.05',
    doc: 'A reply that took longer counts as none.',
  },
  {
    name: 'bytes',
    kind: 'int',
    min: 16,
    max: 65_000,
    default: 56,
    doc: 'Octets in a request, without the headers. A large one also proves that the way is wide enough.',
  },
  {
    name: 'ttl',
    kind: 'int',
    min: 1,
    max: 255,
    default: null,
    example: '64',
    doc: 'TTL or hop limit of the requests.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86_400, default: 10, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.01, max: 3600, default: 3, doc: 'Seconds for the whole check.' },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

/** Requests that nobody waits for any more are given up so long after the deadline. */
const GIVE_UP_MS = 1000;

export default {
  apiVersion: 1,
  name: 'Ping',
  viaPath: () => false,
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse(o) {
    if (o.need > o.count) return [{ option: 'need', why: `${o.need} replies can not come to ${o.count} requests` }];
    const longest = (o.count - 1) * o.pause;
    if (longest < o.timeout) return [];
    return [
      { option: 'pause', why: `the last request would be sent after ${longest} seconds, at the end of the timeout` },
    ];
  },
  doubt: (o) => idleLatency(o),
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => {
    return {
      async check(target, cut) {
        const round = new Round(o);
        const request = {
          address: target.address,
          bytes: o.bytes,
          ...(o.ttl === null ? {} : { ttl: o.ttl }),
          timeoutMs: o.timeout * 1000 + GIVE_UP_MS,
        };
        const forget = cut.onAbort(() => round.end());
        for (let i = 0; i < o.count && round.open && !cut.aborted; i++) {
          if (i > 0) await Promise.race([tools.clock.sleep(o.pause * 1000, cut), round.ended]);
          if (!round.open || cut.aborted) break;
          round.sent++;
          tools.ping(request, cut).then(
            ({ roundTripMs }) => round.onReply(roundTripMs),
            (error: unknown) => round.onFailure(textOf(error)),
          );
        }
        if (cut.aborted) round.end();
        await round.ended;
        forget();
        if (round.best !== null) tools.observe(target, 'round_trip_seconds', round.best / 1000);
        return round.replies >= o.need
          ? { is: 'up', detail: round.summary() }
          : { is: 'down', reason: round.complaint(), slowByMs: round.slowByMs };
      },
    };
  },
} satisfies Poll<typeof options>;

/** A healthy server answers the echo, which `anybal monitor test` knows without being told. */
export const sample: Sample = { options: {} };

/** The requests of one check. Ends when enough were answered, or too many can not be any more. */
class Round {
  readonly ended: Promise<void>;
  readonly #o: Options;
  open = true;
  sent = 0;
  replies = 0;
  best: number | null = null;
  #slow = 0;
  /** By how much the least late of them was late, ms. */
  #slowByMs = Number.POSITIVE_INFINITY;
  #failed = 0;
  #lastFailure: string | null = null;
  #resolve = (): void => {};

  constructor(o: Options) {
    this.#o = o;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  onReply(roundTripMs: number): void {
    if (!this.open) return;
    this.best = Math.min(this.best ?? roundTripMs, roundTripMs);
    const slowByMs = roundTripMs - (this.#o['max-latency'] ?? Number.POSITIVE_INFINITY) * 1000;
    if (slowByMs > 0) {
      this.#slow++;
      this.#slowByMs = Math.min(this.#slowByMs, slowByMs);
    } else this.replies++;
    this.#look();
  }

  onFailure(reason: string): void {
    if (!this.open) return;
    this.#failed++;
    this.#lastFailure = reason;
    this.#look();
  }

  #look(): void {
    if (this.replies >= this.#o.need || this.#tooMany) this.end();
  }

  /** Late, or not coming: with one less it could still be up. */
  get #tooMany(): boolean {
    const { count, need } = this.#o;
    return this.#slow + this.#failed > count - need;
  }

  /** Had a late one come by so much sooner, it could still be up; 0: late replies are not the reason. */
  get slowByMs(): number {
    return this.#slow > 0 && this.#tooMany ? this.#slowByMs : 0;
  }

  end(): void {
    this.open = false;
    this.#resolve();
  }

  summary(): string {
    return `${this.replies} of ${this.sent} answered${this.#fastest()}`;
  }

  complaint(): string {
    const { need, 'max-latency': maxLatency } = this.#o;
    const slow = this.#slow > 0 ? `, ${this.#slow} later than ${(maxLatency ?? 0) * 1000} ms` : '';
    const error = this.#lastFailure === null ? '' : `: ${this.#lastFailure}`;
    return `${this.replies} of ${this.sent} pings answered, ${need} needed${slow}${this.#fastest()}${error}`;
  }

  #fastest(): string {
    return this.best === null ? '' : `, the fastest in ${this.best.toFixed(1)} ms`;
  }
}
