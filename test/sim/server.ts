// A real server: a host that speaks the protocols of its services on their ports, DNS and an echo over UDP, until something is
// wrong with it.

import type { Stream } from '../../src/world/world.ts';
import { answerTo } from '../support/dns-answer.ts';
import { Life } from './life.ts';
import type { Host } from './network.ts';
import type { Outcome } from './processes.ts';
import type { Site } from './site.ts';
import { dnsReply, octets, type Speaker, text } from './speakers.ts';
import { agentShare, type MonitorName, type ServerPlan } from './topology.ts';

/**
 * serving: all is well. refusing: the process has stopped. erring: it says that it is not well. stuck: accepts and never
 * answers. cutting: drops the connection in the middle of the answer. resetting, closing: instead of the answer, a reset, or
 * an end of its own side. dripping: an octet now and then. babbling: octets of no protocol. silent: packets are dropped.
 * off: no power.
 */
export const BROKEN = [
  'refusing',
  'erring',
  'stuck',
  'cutting',
  'resetting',
  'closing',
  'dripping',
  'babbling',
  'silent',
  'off',
] as const;

export type ServerState = 'serving' | (typeof BROKEN)[number];

/** So little of an answer is no answer: `HTTP/1.1 20`. */
const CUT_BYTES = 11;
/** Between the octets of a server that drips: no answer is complete before a check is over. */
const DRIP_MS = 2000;
const GARBAGE = text(Uint8Array.from({ length: 3000 }, (_, i) => (i * 151 + 7) & 0xff));
const HUNG: Outcome = { durationMs: Number.POSITIVE_INFINITY, exitCode: 0, output: '' };

export class RealServer {
  readonly plan: ServerPlan;
  readonly host: Host;
  readonly #site: Site;
  readonly #ports = new Map<number, Speaker>();
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

  serve(port: number, speaker: Speaker): void {
    if (this.#ports.has(port)) return;
    this.#ports.set(port, speaker);
    if (listens(this.#state)) this.#listen(port, speaker);
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
      for (const [port, speaker] of this.#ports) this.#listen(port, speaker);
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
    if (this.#state === 'serving') return { durationMs: 30, exitCode: 0, output: '' };
    return this.#hangs ? HUNG : { durationMs: 30, exitCode: 1, output: `${this.#state}\n` };
  }

  /** OpenSSH's client, with its words. */
  logIn(): Outcome {
    const ended = (output: string, durationMs = 30): Outcome => ({
      durationMs,
      exitCode: 255,
      output: `${output}\r\n`,
    });
    switch (this.#state) {
      case 'serving':
        return { durationMs: 80, exitCode: 0, output: '' };
      case 'refusing':
        return ended('ssh: connect to host 10.0.2.1 port 22: Connection refused');
      case 'erring':
        return ended('monitor@10.0.2.1: Permission denied (publickey).');
      case 'babbling':
        return ended('banner exchange: Connection to 10.0.2.1 port 22: invalid format');
      case 'off':
        return ended('ssh: connect to host 10.0.2.1 port 22: No route to host', 3000);
      default:
        return this.#hangs ? HUNG : ended('kex_exchange_identification: read: Connection reset by peer');
    }
  }

  get #hangs(): boolean {
    return this.#state === 'stuck' || this.#state === 'dripping' || this.#state === 'silent';
  }

  #listen(port: number, speaker: Speaker): void {
    const { network, udp } = this.#site;
    for (const address of ['0.0.0.0', '::']) {
      network.listen(this.host, this.#life, { address, port }, (stream) => this.#accept(stream, speaker));
    }
    udp.serve(this.host, this.#life, port, (bytes, send) => {
      const reply = this.#reply(bytes);
      if (reply !== null) this.#life.after(1, () => send(reply));
    });
  }

  #condition() {
    return { well: this.#state !== 'erring', share: agentShare(this.plan.host) };
  }

  #accept(stream: Stream, speaker: Speaker): void {
    let received = '';
    let open = true;
    const answer = (): void => {
      const turn = speaker.turn(received, this.#condition());
      if (turn === null) return;
      received = received.slice(turn.used);
      this.#life.after(1, () => {
        if (open) this.#say(stream, turn.say, turn.last);
      });
      if (received !== '') answer();
    };
    stream.on({
      onData: (bytes) => {
        received += text(bytes);
        answer();
      },
      onEnd: () => stream.close('fin'),
      onDrain: () => {},
      onClose: () => {
        open = false;
      },
    });
    const condition = this.#condition();
    const greeting = speaker.greeting(condition);
    if (greeting !== '') this.#life.after(1, () => this.#say(stream, greeting, !condition.well));
  }

  /** As far as it comes to that. */
  #say(stream: Stream, whole: string, last: boolean): void {
    switch (this.#state) {
      case 'stuck':
        return;
      case 'cutting':
        stream.write(octets(whole.slice(0, Math.min(whole.length / 3, CUT_BYTES))));
        this.#life.after(1, () => stream.close('rst'));
        return;
      case 'resetting':
        stream.close('rst');
        return;
      case 'closing':
        stream.end();
        return;
      case 'dripping':
        this.#drip(stream, whole);
        return;
      case 'babbling':
        stream.write(octets(GARBAGE));
        return;
      default:
        stream.write(octets(whole));
        if (last) stream.close('fin');
    }
  }

  /** Goes on for as long as it does: what has begun to drip never gets better. */
  #drip(stream: Stream, rest: string): void {
    stream.write(octets(rest.slice(0, 1)));
    if (rest.length > 1) this.#life.after(DRIP_MS, () => this.#drip(stream, rest.slice(1)));
  }

  /** To a datagram: DNS, or the echo. */
  #reply(bytes: Uint8Array): Uint8Array | null {
    switch (this.#state) {
      case 'stuck':
      case 'resetting':
      case 'closing':
      case 'dripping':
        return null;
      case 'babbling':
        return octets(GARBAGE.slice(0, 400));
      case 'cutting':
        return text(bytes) === 'ping' ? octets('p') : answerTo(bytes, { truncated: true });
      default: {
        const well = this.#state === 'serving';
        return text(bytes) === 'ping' ? octets(well ? 'pong' : 'p') : dnsReply(bytes, well);
      }
    }
  }
}

function listens(state: ServerState): boolean {
  return state !== 'refusing' && state !== 'off';
}
