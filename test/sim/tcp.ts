// One end of a simulated TCP connection: the Stream that its owner holds, and the kernel's socket behind it, which may live
// on for a while after its owner closed it or died.

import { SystemError } from '../../src/lib/errors.ts';
import type { ConnectOptions, Endpoint, Stream, StreamHandlers, TlsState } from '../../src/world/world.ts';
import type { Way } from './ipvs-connections.ts';
import type { Life } from './life.ts';
import type { Host, Network } from './network.ts';

type Item = { readonly is: 'data'; readonly bytes: Uint8Array } | { readonly is: 'fin' } | { readonly is: 'rst' };
type Told = (handlers: StreamHandlers) => void;

/** What the send buffer takes before write answers false. */
const HIGH_WATER = 65_536;
/** tcp_retries2: how long unacknowledged data is sent again. */
const GIVE_UP_MS = 924_000;
const RTO_MIN_MS = 200;
const RTO_MAX_MS = 120_000;
/** tcp_fin_timeout of a socket that nobody holds any more. */
const ORPHAN_MS = 60_000;
/** From the kernel to the process: nothing is told from inside a call of the owner. */
const WAKE_MS = 0.01;

export class End implements Stream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly host: Host;
  readonly life: Life;
  /** How IPVS forwards what this end sends; undefined: it does not. */
  way: Way | undefined;
  readonly #network: Network;
  readonly #keepAlive: ConnectOptions['keepAlive'];
  #other: End | null = null;
  #tls: TlsState | undefined;
  #handlers: StreamHandlers | null = null;
  #paused = false;
  /** Arrived and not told yet. */
  #inbox: Told[] = [];
  #outgoing: Item[] = [];
  #queuedBytes = 0;
  #full = false;
  #sending = false;
  #retryMs = RTO_MIN_MS;
  #unackedSince: number | null = null;
  /** held: somebody has it. orphan: closed by its owner, the kernel finishes. gone: no socket any more. */
  #is: 'held' | 'orphan' | 'gone' = 'held';
  #finQueued = false;
  #finSent = false;
  #finRead = false;
  #lastHeard: number;
  #cancelKeepAlive: (() => void) | null = null;

  constructor(
    network: Network,
    host: Host,
    life: Life,
    local: Endpoint,
    remote: Endpoint,
    keepAlive: ConnectOptions['keepAlive'],
  ) {
    this.#network = network;
    this.host = host;
    this.life = life;
    this.local = local;
    this.remote = remote;
    this.#keepAlive = keepAlive;
    this.#lastHeard = network.scheduler.now;
    host.ends.add(this);
  }

  join(other: End): void {
    this.#other = other;
    other.#other = this;
  }

  /** Somebody has it, and it is not broken as far as this side knows. */
  get held(): boolean {
    return this.#is === 'held';
  }

  get other(): End | null {
    return this.#other;
  }

  // The owner's side.

  get tls(): TlsState | undefined {
    return this.#tls;
  }

  /** No bytes are encrypted here: what both sides say is what goes over the wire. False: it is gone, or secured already. */
  secure(): boolean {
    if (this.#is !== 'held' || this.#tls !== undefined) return false;
    this.#tls = { protocol: 'TLSv1.3', alpn: null, certificate: null };
    this.#handlers = null;
    return true;
  }

  on(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    this.#wake();
  }

  write(bytes: Uint8Array): boolean {
    const other = this.#other;
    if (this.#is !== 'held' || this.#finQueued || other === null || bytes.length === 0) return !this.#full;
    this.#network.tap?.(this.host, other.host, this, bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes >= HIGH_WATER) this.#full = true;
    this.#send({ is: 'data', bytes: bytes.slice() });
    return !this.#full;
  }

  end(): void {
    if (this.#is !== 'held' || this.#finQueued) return;
    this.#finQueued = true;
    this.#send({ is: 'fin' });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#wake();
    this.#letOtherSend();
  }

  close(how: 'fin' | 'rst'): void {
    if (this.#is !== 'held') return;
    if (how === 'fin') this.abandon();
    else {
      this.#drop();
      this.#outgoing = [{ is: 'rst' }];
      this.#pump();
    }
    this.#tellClosed(null);
  }

  // The kernel's side.

  /** Nobody holds it any more (closed, or its process died): send what is queued, then FIN. */
  abandon(): void {
    if (this.#is !== 'held') return;
    this.end();
    this.#is = 'orphan';
    this.#inbox = [];
    if (this.#finSent && this.#finRead) this.#drop();
    else this.#network.scheduler.at(ORPHAN_MS, () => this.#drop());
    this.#letOtherSend();
  }

  /** The host lost its power. */
  vanish(): void {
    this.#drop();
    this.#other?.pathChanged();
  }

  /** Keep-alive probes are not simulated one by one: what they would find out changes only with the path. */
  pathChanged(): void {
    if (this.#keepAlive === undefined || this.#is !== 'held') return;
    const answered = (): boolean => this.#other !== null && this.#other.#is !== 'gone' && this.#reachesBothWays();
    if (answered()) {
      this.#cancelKeepAlive?.();
      this.#cancelKeepAlive = null;
      return;
    }
    if (this.#cancelKeepAlive !== null) return;
    const { idleSeconds, intervalSeconds, retries } = this.#keepAlive;
    const idleLeft = Math.max(0, this.#lastHeard + idleSeconds * 1000 - this.#network.scheduler.now);
    this.#cancelKeepAlive = this.#network.scheduler.at(idleLeft + intervalSeconds * 1000 * retries, () => {
      this.#cancelKeepAlive = null;
      if (answered()) return;
      this.#network.tally.hit('keep-alive unanswered', 'stream');
      this.#break(this.#reachesBothWays() ? 'ECONNRESET' : 'ETIMEDOUT');
    });
  }

  #reachesBothWays(): boolean {
    const other = this.#other;
    return (
      other !== null &&
      this.#isTaken(other) &&
      other.#isTaken(this) &&
      this.#network.reaches(this.host, other.host) &&
      this.#network.reaches(other.host, this.host)
    );
  }

  /** Does the way forward take what this end sends, and the other host what comes by it? */
  #isTaken(other: End): boolean {
    return this.way === undefined || (this.way.to.available() && other.host.takes(this.way.to.method));
  }

  #drop(): void {
    this.#is = 'gone';
    this.#outgoing = [];
    this.#inbox = [];
    this.#cancelKeepAlive?.();
    this.#cancelKeepAlive = null;
    this.host.ends.delete(this);
  }

  #break(code: string): void {
    if (this.#is === 'gone') return;
    const held = this.#is === 'held';
    this.#drop();
    if (held) this.#tellClosed(new SystemError(code, `stream to ${this.remote.address}`));
  }

  /** In order: what arrived before is told before, unless the owner closed it itself. */
  #finishIfBothEnded(): void {
    if (!this.#finSent || !this.#finRead) return;
    if (this.#is === 'orphan') this.#drop();
    else if (this.#is === 'held' && this.#inbox.length === 0) {
      this.#drop();
      this.#tellClosed(null);
    }
  }

  #tellClosed(error: SystemError | null): void {
    this.life.after(WAKE_MS, () => this.#handlers?.onClose(error));
  }

  #wake(): void {
    if (this.#inbox.length > 0) this.life.after(WAKE_MS, () => this.#readInbox());
  }

  #readInbox(): void {
    const handlers = this.#handlers;
    if (handlers === null || this.#paused || this.#is !== 'held') return;
    const told = this.#inbox.shift();
    if (told === undefined) return;
    told(handlers);
    if (this.#inbox.length > 0) this.#wake();
    else this.#finishIfBothEnded();
  }

  #send(item: Item): void {
    this.#outgoing.push(item);
    this.#pump();
  }

  #letOtherSend(): void {
    const other = this.#other;
    if (other !== null) other.#pump();
  }

  #pump(): void {
    if (this.#sending || this.#outgoing.length === 0) return;
    this.#sending = true;
    this.#network.scheduler.at(this.#network.latency(), () => this.#deliver());
  }

  #deliver(): void {
    this.#sending = false;
    const other = this.#other;
    const item = this.#outgoing[0];
    if (other === null || item === undefined) return;
    const sent = this.way?.pass(item.is, this.#network.scheduler.now) ?? true;
    if (!sent || !this.#isTaken(other) || !this.#network.reaches(this.host, other.host)) {
      if (item.is === 'rst') this.#outgoing = [];
      else this.#retransmit();
      return;
    }
    // Acknowledgements are not simulated: a path that is cut one way only is felt by who misses the other's data.
    this.#retryMs = RTO_MIN_MS;
    this.#unackedSince = null;
    if (item.is === 'data' && other.#is === 'held' && other.#paused) return;
    this.#outgoing.shift();
    if (item.is === 'data') this.#deliverData(item.bytes, other);
    else {
      other.#arrived(item, this);
      if (item.is === 'fin') {
        this.#finSent = true;
        this.#finishIfBothEnded();
      }
    }
    this.#pump();
  }

  /** Now and then only a part of it arrives at once: a reader must not take a chunk for a message. */
  #deliverData(bytes: Uint8Array, other: End): void {
    const random = this.#network.random;
    const size = random.chance(0.05) ? random.int(1, bytes.length) : bytes.length;
    if (size < bytes.length) this.#outgoing.unshift({ is: 'data', bytes: bytes.subarray(size) });
    this.#queuedBytes -= size;
    other.#arrived({ is: 'data', bytes: bytes.subarray(0, size) }, this);
    if (this.#full && this.#queuedBytes < HIGH_WATER / 2) {
      this.#full = false;
      this.life.after(WAKE_MS, () => {
        if (this.#is === 'held' && !this.#full) this.#handlers?.onDrain();
      });
    }
  }

  #retransmit(): void {
    const now = this.#network.scheduler.now;
    this.#unackedSince ??= now;
    this.#network.tally.hit('packets are dropped', 'stream');
    if (now - this.#unackedSince >= GIVE_UP_MS) {
      this.#break('ETIMEDOUT');
      return;
    }
    this.#sending = true;
    this.#network.scheduler.at(this.#retryMs, () => this.#deliver());
    this.#retryMs = Math.min(this.#retryMs * 2, RTO_MAX_MS);
  }

  #arrived(item: Item, from: End): void {
    this.#lastHeard = this.#network.scheduler.now;
    if (this.#is === 'gone') {
      // No such socket: a reset comes back, if the way back is open.
      if (item.is !== 'rst' && this.#network.reaches(this.host, from.host)) from.#break('ECONNRESET');
      return;
    }
    switch (item.is) {
      case 'data':
        this.#hand((handlers) => handlers.onData(item.bytes));
        return;
      case 'fin':
        this.#finRead = true;
        this.#hand((handlers) => handlers.onEnd());
        this.#finishIfBothEnded();
        return;
      case 'rst':
        this.#network.tally.hit('reset', 'stream');
        this.#break('ECONNRESET');
        return;
      default:
        item satisfies never;
    }
  }

  #hand(told: Told): void {
    if (this.#is !== 'held') return;
    const handlers = this.#handlers;
    if (handlers === null || this.#paused || !this.life.running || this.#inbox.length > 0) {
      this.#inbox.push(told);
      if (!this.life.running) this.#wake();
    } else told(handlers);
  }
}
