// What the log is told about one peer, and what it is told only once, however often it comes again. peer.ts owns one.

import { printEndpoint } from '../lib/address.ts';
import type { Log, LogLevel } from '../log/record.ts';
import type { Side } from './collision.ts';

/** Whom it is about. */
export interface Named {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** So many different ones are remembered. */
const COMPLAINTS = 16;

export class PeerLog {
  readonly #log: Log;
  readonly #peer: Named;
  #lastError: string | null = null;
  /** Said since a session came up, oldest first. */
  readonly #complaints = new Set<string>();
  /** Of this session. */
  readonly #refused = new Set<string>();
  #malformed = false;
  #keptBack = 0;

  constructor(log: Log, peer: Named) {
    this.#log = log;
    this.#peer = peer;
  }

  /** The last complaint since a session came up, or what `blame` said. */
  get lastError(): string | null {
    return this.#lastError;
  }

  /** In the words of PyBal's machine for one connection. */
  say(level: LogLevel, text: string, side: Side): void {
    const { name, address, port } = this.#peer;
    const system = `bgp.FSM@${side} peer ${printEndpoint(address, port)}`;
    this.#log({ level, system, text, data: { peer: name, side } });
  }

  /** In those of its factory of connections. */
  tell(text: string, data: Readonly<Record<string, string | number>>): void {
    const { name } = this.#peer;
    this.#log({ level: 'info', system: `bgp.BGPFactory@${name}`, text, data: { peer: name, ...data } });
  }

  complain(text: string, side: Side): void {
    this.warnOnce(text, side);
    this.#lastError = text;
  }

  /** Once until a session comes up: a router may fail in two ways by turns. */
  warnOnce(text: string, side: Side): void {
    if (this.#complaints.has(text)) return;
    // What a NOTIFICATION says is the peer's, and may be another text each time.
    const [oldest] = this.#complaints;
    if (oldest !== undefined && this.#complaints.size >= COMPLAINTS) this.#complaints.delete(oldest);
    this.#complaints.add(text);
    this.say('warn', text, side);
  }

  /** Without a word, and only if nothing else is known. */
  blame(text: string): void {
    this.#lastError ??= text;
  }

  sessionUp(): void {
    this.#lastError = null;
    this.#complaints.clear();
    this.#malformed = false;
  }

  sessionGone(): void {
    this.#refused.clear();
  }

  malformed(treatment: string, text: string, side: Side): void {
    if (this.#malformed) return;
    this.#malformed = true;
    this.say('warn', `Malformed UPDATE (${treatment}), further ones are only counted: ${text}`, side);
  }

  /** Routes of ours that cannot go to this peer. */
  refused(reasons: readonly string[], side: Side): void {
    for (const reason of reasons) {
      if (this.#refused.has(reason)) continue;
      this.#refused.add(reason);
      this.say('warn', `Routes not announced: ${reason}`, side);
    }
  }

  /** Routes that are wanted, and more than the peer takes. */
  keptBack(count: number, limit: number | null, side: Side): void {
    if (count === this.#keptBack) return;
    this.#keptBack = count;
    if (count === 0) this.say('info', 'All routes are within maximum-prefixes again', side);
    else
      this.say(
        'error',
        `${count} route(s) not announced: the peer takes ${limit} of a family (maximum-prefixes)`,
        side,
      );
  }
}
