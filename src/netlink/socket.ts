// One netlink socket, synchronous: the kernel works on a request within `send`, so its answer waits when `send` returns. Three
// ways of asking: one request, a dump, a batch of changes. Everything is bounded: a kernel that says nothing, or never stops,
// is a SystemError. After any doubt about what still is in the queue (overrun, timeout, malformed answer) the socket is
// replaced, and nothing of an old transaction can be taken for a new one's. Called by ipvs/netlink.ts and vip/rtnetlink.ts.

import type { Libc } from '../ffi/libc.ts';
import { SystemError, errorText } from '../lib/errors.ts';
import { errorOf, Malformed, Messages, MessageWriter, NLM_F, NLMSG } from './codec.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_GENERIC = 16;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;

/** An answer is there when `send` returns; this is for a kernel that forgot us. */
const RECEIVE_TIMEOUT_SECONDS = 2;
/** Room for the errors of a whole batch, each of which the kernel accounts at about 800 bytes. */
const RECEIVE_BUFFER_BYTES = 1 << 20;
/** The kernel builds dumps in pieces of at most 32 KiB. */
const DATAGRAM_BYTES = 1 << 16;
const MAX_DATAGRAMS = 1 << 16;
const MAX_DUMP_ATTEMPTS = 5;
/** No request of ours is longer. */
const MAX_REQUEST_BYTES = 512;
/** Changes per `send`, and so per turn of the event loop: about 1 ms. */
export const BATCH_CHANGES = 250;

/** Write one request: `flags` and `seq` go into its header. `previous` was written just before it, into the same batch. */
export type Encode<T> = (writer: MessageWriter, item: T, flags: number, seq: number, previous: T | null) => void;

export class NetlinkSocket {
  readonly #libc: Libc;
  readonly #protocol: number;
  readonly #writer = new MessageWriter(BATCH_CHANGES * MAX_REQUEST_BYTES);
  readonly #datagram = new Uint8Array(DATAGRAM_BYTES);
  #fd = -1;
  #seq = 0;

  constructor(libc: Libc, protocol: typeof NETLINK_ROUTE | typeof NETLINK_GENERIC) {
    this.#libc = libc;
    this.#protocol = protocol;
  }

  /** One request. `onAnswer` gets each message of the answer. Throws SystemError named `call`. */
  ask(
    call: string,
    encode: (writer: MessageWriter, flags: number, seq: number) => void,
    onAnswer: (message: Messages) => void = () => {},
  ): void {
    const seq = this.#reserve(1);
    this.#writer.clear();
    encode(this.#writer, NLM_F.request | NLM_F.ack, seq);
    this.#transact(call, (message) => {
      if (message.seq !== seq) return false;
      if (message.type === NLMSG.error) {
        this.#throwError(call, message);
        return true;
      }
      onAnswer(message);
      return false;
    });
  }

  /**
   * A dump. `onItem` gets each message; `restart` is called before each attempt, of which there is more than one when the
   * kernel says that its table changed meanwhile, or when the socket overran. Throws SystemError named `call`.
   */
  dump(
    call: string,
    encode: (writer: MessageWriter, flags: number, seq: number) => void,
    restart: () => void,
    onItem: (message: Messages) => void,
  ): void {
    for (let attempt = 1; ; attempt++) {
      let interrupted = false;
      restart();
      const seq = this.#reserve(1);
      this.#writer.clear();
      encode(this.#writer, NLM_F.request | NLM_F.dump, seq);
      try {
        this.#transact(call, (message) => {
          if (message.seq !== seq) return false;
          if ((message.flags & NLM_F.dumpInterrupted) !== 0) interrupted = true;
          if (message.type === NLMSG.error) this.#throwError(call, message);
          if (message.type === NLMSG.done) {
            if (message.end - message.start >= 4) this.#throwError(call, message);
            return true;
          }
          onItem(message);
          return false;
        });
        if (!interrupted) return;
      } catch (error) {
        if (!(error instanceof SystemError) || error.code !== 'ENOBUFS' || attempt === MAX_DUMP_ATTEMPTS) throw error;
      }
      if (attempt === MAX_DUMP_ATTEMPTS) {
        throw new SystemError('EAGAIN', call, `the table changed during each of ${attempt} dumps`);
      }
    }
  }

  /**
   * Send the changes from `items[from]` on that fit one batch, in order, and collect what became of each into `results` (null:
   * done). The kernel goes on after a failed change and reports each by its sequence number; only the last is acknowledged.
   * Returns the index behind the last one sent. Throws nothing but programming errors.
   */
  batch<T>(
    items: readonly T[],
    from: number,
    encode: Encode<T>,
    call: (item: T) => string,
    results: (null | SystemError)[],
  ): number {
    const writer = this.#writer;
    const to = Math.min(items.length, from + BATCH_CHANGES);
    const count = to - from;
    if (count === 0) return to;
    const first = this.#reserve(count);
    writer.clear();
    let previous: T | null = null;
    for (let i = from; i < to; i++) {
      const item = items[i] as T;
      results[i] = null;
      encode(writer, item, NLM_F.request, first + i - from, previous);
      previous = item;
    }
    writer.addFlags(NLM_F.ack);
    let heardOf = from; // The kernel answers in order: everything before this index is known.
    try {
      this.#transact('netlink batch', (message) => {
        const index = from + ((message.seq - first) >>> 0);
        if (message.type !== NLMSG.error || index < heardOf || index >= to) return false;
        const { errno, text } = errorOf(message);
        if (errno !== 0) results[index] = new SystemError(this.#libc.errnoName(errno), call(items[index] as T), text);
        heardOf = index + 1;
        return heardOf === to;
      });
    } catch (error) {
      const { code, detail } = asSystemError(error);
      for (let i = heardOf; i < to; i++) results[i] = new SystemError(code, call(items[i] as T), detail);
    }
    return to;
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) this.#libc.close(fd);
  }

  /** `count` sequence numbers in a row, none of which is 0. */
  #reserve(count: number): number {
    if (this.#seq + count > 0xffffffff) this.#seq = 0;
    const first = this.#seq + 1;
    this.#seq += count;
    return first;
  }

  #throwError(call: string, message: Messages): void {
    const { errno, text } = errorOf(message);
    if (errno !== 0) throw new KernelRefusal(this.#libc.errnoName(errno), call, text);
  }

  /** Send what the writer holds and hand over each message that comes, until `onMessage` says that it was the last. */
  #transact(call: string, onMessage: (message: Messages) => boolean): void {
    const writer = this.#writer;
    writer.close();
    try {
      const fd = this.#open();
      const sent = this.#libc.send(fd, writer.bytes, writer.length, 0);
      if (sent !== writer.length) throw new SystemError('EMSGSIZE', 'send', `${sent} of ${writer.length} bytes`);
      for (let datagrams = 0; datagrams < MAX_DATAGRAMS; datagrams++) {
        const length = this.#libc.recv(fd, this.#datagram, MSG_TRUNC);
        if (length > DATAGRAM_BYTES) throw new SystemError('EMSGSIZE', 'recv', `a datagram of ${length} bytes`);
        for (const message = new Messages(this.#datagram, length); message.next(); ) {
          if (message.type === NLMSG.overrun) throw new SystemError('ENOBUFS', 'recv');
          if (message.type !== NLMSG.noop && onMessage(message)) return;
        }
      }
      throw new SystemError('EMSGSIZE', 'recv', `no end after ${MAX_DATAGRAMS} datagrams`);
    } catch (error) {
      // A refusal is an orderly end: nothing of this transaction follows it.
      if (error instanceof KernelRefusal) throw error;
      this.close();
      const { code, detail } = asSystemError(error);
      throw new SystemError(code, call, detail);
    }
  }

  #open(): number {
    if (this.#fd >= 0) return this.#fd;
    const libc = this.#libc;
    const fd = libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, this.#protocol);
    try {
      const kernel = new Uint8Array([AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // sockaddr_nl, port 0
      libc.bind(fd, kernel);
      libc.connect(fd, kernel); // From now on nobody but the kernel can send to us.
      libc.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, int64s(RECEIVE_TIMEOUT_SECONDS, 0));
      const forced = tries(() => libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, int32(RECEIVE_BUFFER_BYTES)));
      if (!forced) libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, int32(RECEIVE_BUFFER_BYTES)); // No CAP_NET_ADMIN.
      tries(() => libc.setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, int32(1))); // Linux 4.3
      tries(() => libc.setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, int32(1))); // Linux 4.12
      // Linux 4.20: a dump of one routing table does not list the million routes of another.
      tries(() => libc.setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, int32(1)));
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    this.#fd = fd;
    return fd;
  }
}

/** The kernel answered a request with an error number. */
class KernelRefusal extends SystemError {}

function asSystemError(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof KernelRefusal) return { code: error.code, detail: '' };
  if (error instanceof Malformed) return { code: 'EBADMSG', detail: error.message };
  if (!(error instanceof SystemError)) throw error;
  if (error.code === 'EAGAIN') return { code: 'ETIMEDOUT', detail: `no answer in ${RECEIVE_TIMEOUT_SECONDS} s` };
  return { code: error.code, detail: errorText(error) };
}

function tries(call: () => void): boolean {
  try {
    call();
    return true;
  } catch (error) {
    if (error instanceof SystemError) return false;
    throw error;
  }
}

function int32(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer);
}

function int64s(...values: readonly number[]): Uint8Array {
  return new Uint8Array(new BigInt64Array(values.map(BigInt)).buffer);
}
