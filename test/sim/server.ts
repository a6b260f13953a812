// A real server: a host that serves HTTP, DNS and an echo over UDP on the ports of its services, until something is wrong
// with it.

import type { Stream } from '../../src/world/world.ts';
import { answerTo, questionOf } from '../support/dns-answer.ts';
import { Life } from './life.ts';
import type { Host } from './network.ts';
import type { Outcome } from './processes.ts';
import type { Site } from './site.ts';
import { agentShare, type MonitorName, type ServerPlan } from './topology.ts';

/**
 * serving: all is well. refusing: the process has stopped. erring: HTTP 503, SERVFAIL. stuck: accepts and never answers.
 * cutting: drops the connection in the middle of the answer. silent: packets are dropped. off: no power.
 */
export type ServerState = 'serving' | 'refusing' | 'erring' | 'stuck' | 'cutting' | 'silent' | 'off';

export const BROKEN: readonly Exclude<ServerState, 'serving'>[] = [
  'refusing',
  'erring',
  'stuck',
  'cutting',
  'silent',
  'off',
];

const OK = new TextEncoder().encode('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n');
const UNAVAILABLE = new TextEncoder().encode('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
const HALF = new TextEncoder().encode('HTTP/1.1 20');
const TYPE_A = 1;
const ADDRESS = { data: [[192, 0, 2, 80]] } as const;
const SERVFAIL = { rcode: 2 } as const;

export class RealServer {
  readonly plan: ServerPlan;
  readonly host: Host;
  readonly #site: Site;
  readonly #ports = new Set<number>();
  #life: Life;
  #state: ServerState = 'serving';

  constructor(site: Site, plan: ServerPlan) {
    this.#site = site;
    this.plan = plan;
    this.host = site.network.host(plan.host, [plan.address, plan.address6]);
    this.#life = new Life(site.scheduler);
  }

  get state(): ServerState {
    return this.#state;
  }

  serve(port: number): void {
    if (this.#ports.has(port)) return;
    this.#ports.add(port);
    if (listens(this.#state)) this.#listen(port);
  }

  set(state: ServerState): void {
    if (state === this.#state) return;
    const { network } = this.#site;
    const before = this.#state;
    this.#state = state;
    if (before === 'silent') network.silence(this.host, false);
    if (before === 'off') network.powerOn(this.host);
    if (state === 'silent') network.silence(this.host, true);
    if (state === 'off') {
      this.#life.kill();
      network.powerOff(this.host);
    }
    if (state === 'refusing') {
      this.#life.kill();
      network.processGone(this.host, this.#life);
    }
    if (!this.#life.alive && listens(state)) {
      this.#life = new Life(this.#site.scheduler);
      for (const port of this.#ports) this.#listen(port);
    }
  }

  /** Does this monitor have reason to call it up? */
  isUpFor(monitor: MonitorName): boolean {
    if (monitor === 'IdleConnection') return listens(this.#state) && this.#state !== 'silent';
    if (monitor === 'Ping') return this.#state !== 'silent' && this.#state !== 'off';
    return this.#state === 'serving';
  }

  /** The program that RunCommand runs against this server. */
  check(): Outcome {
    switch (this.#state) {
      case 'serving':
        return { durationMs: 30, exitCode: 0, output: '' };
      case 'stuck':
      case 'silent':
        return { durationMs: Number.POSITIVE_INFINITY, exitCode: 0, output: '' };
      default:
        return { durationMs: 30, exitCode: 1, output: `${this.#state}\n` };
    }
  }

  #listen(port: number): void {
    const { network, udp } = this.#site;
    for (const address of ['0.0.0.0', '::']) {
      network.listen(this.host, this.#life, { address, port }, (stream) => this.#accept(stream));
    }
    udp.serve(this.host, this.#life, port, (bytes, send) => {
      const reply = this.#reply(bytes);
      if (reply !== null) this.#life.after(1, () => send(reply));
    });
  }

  #accept(stream: Stream): void {
    let request = '';
    stream.on({
      onData: (bytes) => {
        // RFC 1035 §4.2.2: a query over TCP begins with its length.
        if (bytes[0] === 0) {
          this.#answerDns(stream, bytes.subarray(2));
          return;
        }
        request += new TextDecoder().decode(bytes);
        if (!request.includes('\r\n\r\n')) return;
        if (request.startsWith('agent ')) this.#answerAgent(stream);
        else this.#answer(stream, /^connection: keep-alive\r$/im.test(request));
        request = '';
      },
      onEnd: () => stream.close('fin'),
      onDrain: () => {},
      onClose: () => {},
    });
  }

  /** To a datagram: DNS, or the echo. */
  #reply(bytes: Uint8Array): Uint8Array | null {
    const state = this.#state;
    if (state === 'stuck') return null;
    if (new TextDecoder().decode(bytes) === 'ping') {
      return new TextEncoder().encode(state === 'serving' ? 'pong' : 'p');
    }
    if (state === 'cutting') return answerTo(bytes, { truncated: true });
    return answerTo(bytes, state !== 'serving' ? SERVFAIL : typeOf(bytes) === TYPE_A ? ADDRESS : {});
  }

  #answerDns(stream: Stream, query: Uint8Array): void {
    this.#life.after(1, () => {
      const reply = this.#state === 'cutting' ? null : this.#reply(query);
      if (this.#state === 'stuck') return;
      if (reply !== null) stream.write(Uint8Array.from([0, reply.length, ...reply]));
      else stream.close('rst');
    });
  }

  /** As HAProxy's agents do: a line. */
  #answerAgent(stream: Stream): void {
    this.#life.after(1, () => {
      if (this.#state === 'stuck') return;
      const line = this.#state === 'serving' ? `up ${agentShare(this.plan.host)}%\n` : `fail # ${this.#state}\n`;
      stream.write(new TextEncoder().encode(this.#state === 'cutting' ? line.slice(0, 2) : line));
      stream.close('fin');
    });
  }

  #answer(stream: Stream, keep: boolean): void {
    this.#life.after(1, () => {
      if (this.#state === 'stuck') return;
      if (this.#state === 'cutting') {
        stream.write(HALF);
        this.#life.after(1, () => stream.close('rst'));
        return;
      }
      stream.write(this.#state === 'serving' ? OK : UNAVAILABLE);
      if (!keep) stream.close('fin');
    });
  }
}

function listens(state: ServerState): boolean {
  return state !== 'refusing' && state !== 'off';
}

/** Behind the name of the question. */
function typeOf(query: Uint8Array): number {
  const question = questionOf(query);
  return ((question.at(-4) ?? 0) << 8) | (question.at(-3) ?? 0);
}
