// Everything outside the daemon, as interfaces. Nothing in src or monitors takes the time, draws a random number or opens
// anything by itself: it is handed a World. `world/real` is the operating system's, `test/sim` the simulator's. Every
// failure is a SystemError whose code is an errno name. Promises of a world never settle after the world has died.

import type { Cut } from '../lib/cut.ts';
import type { Family } from '../lib/address.ts';
import type { SystemError } from '../lib/errors.ts';
import type { LogRecord } from '../log/record.ts';
import type { IpvsOp, IpvsTable, ServiceKey } from '../ipvs/table.ts';
import type { AddressOp, AddressTable } from '../vip/addresses.ts';
import type { MonitorModule } from '../health/monitor.ts';
import type { BfdChange, BfdConfig, BfdStatus } from '../bfd/types.ts';

export type Mono = number & { readonly unit: 'monotonic ms' };
export type Wall = number & { readonly unit: 'unix ms' };

export interface Clock {
  now(): Mono;
  wall(): Wall;
  /**
   * Call `fn` once, `delayMs` from now at the earliest; with 0 in the next turn of the event loop, when what has come in was heard.
   * Returns a function that cancels it.
   */
  at(delayMs: number, fn: () => void): () => void;
  /** Resolves after `ms`, or as soon as `cut` is cut: look at `cut.aborted` afterwards. Never rejects. */
  sleep(ms: number, cut?: Cut): Promise<void>;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface ConnectOptions extends Endpoint {
  /** Source address; the kernel chooses when absent. */
  readonly localAddress?: string;
  /** Source port: EADDRINUSE or EADDRNOTAVAIL while a connection has it, from there to the same place. */
  readonly localPort?: number;
  /** Sent as soon as it is connected, before anything of TLS: a PROXY header. */
  readonly preface?: Uint8Array;
  readonly tls?: TlsOptions;
  readonly keepAlive?: { readonly idleSeconds: number; readonly intervalSeconds: number; readonly retries: number };
  readonly tcp?: TcpOptions;
}

/** Of TLS as a client. */
export interface TlsOptions {
  /** The name that the server is told (SNI); null: none. */
  readonly servername: string | null;
  /** Refuse a certificate that nobody trusted has signed, that is out of its time, or for another name. */
  readonly verify: boolean;
  /** Whom the certificate must be for: a name or an address. Absent: `servername`, or else the address. */
  readonly verifyName?: string;
  /** Who is trusted to sign, PEM, instead of those whom the system trusts. */
  readonly ca?: string;
  /** What we show of ourselves when asked, PEM; `cert` may be a chain. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** The files that these are from, for what is said of them. */
  readonly files?: readonly string[];
  /** Protocols that we would speak above it (RFC 7301), the best first. */
  readonly alpn?: readonly string[];
}

/** What TLS agreed on. */
export interface TlsState {
  /** `TLSv1.3` */
  readonly protocol: string;
  readonly alpn: string | null;
  /** The server's own; null where it has none (or where nothing real is below). */
  readonly certificate: TlsCertificate | null;
}

export interface TlsCertificate {
  /** `CN=real.example, O=Example` */
  readonly subject: string;
  readonly issuer: string;
  readonly validFrom: Wall;
  readonly validTo: Wall;
  /** Names and addresses that it is for: `real.example`, `192.0.2.1`. At most a hundred. */
  readonly names: readonly string[];
}

/** Of one connection, from its first packet on. */
export interface TcpOptions {
  /** IP TTL / hop limit of what we send. */
  readonly ttl?: number;
  /** RFC 5082: what comes with less is dropped by the kernel before anybody sees it. */
  readonly minTtl?: number;
  readonly dscp?: number;
  /** SO_MARK, from the first packet on: what policy routing and IPVS choose by. EPERM without CAP_NET_ADMIN. */
  readonly mark?: number;
  /** What is not acknowledged for so long ends the connection (ETIMEDOUT). */
  readonly userTimeoutMs?: number;
  /** RFC 2385: what is not signed with it is dropped by the kernel. */
  readonly md5Key?: string;
  /**
   * RFC 5925: all keys, the one that the other side shall send with first. What is signed with none of them is dropped by the
   * kernel. ENOTSUP where it has no TCP-AO; EBUSY: everything else is done, but a key that should go is still asked for.
   */
  readonly aoKeys?: readonly AoKey[];
}

/** A master key tuple (RFC 5925 §3.1), but for the connections that it is for. */
export interface AoKey {
  /** KeyIDs: in what we send, and in what the other side sends. */
  readonly sendId: number;
  readonly receiveId: number;
  /** RFC 5926 §3.2; hmac-sha256 is not standardised yet. */
  readonly algorithm: 'hmac-sha1' | 'cmac-aes128' | 'hmac-sha256';
  /** Octets of each segment's code, 4 to 16. */
  readonly macLength: number;
  /** At most 80 octets in UTF-8. */
  readonly key: string;
}

/** Of a listener: what a connection needs before it is one. */
export interface ListenerOptions {
  /** Of our answers; null: the system's. */
  readonly ttl: number | null;
  /** RFC 2385: keys by the address of who calls. Others are forgotten. */
  readonly md5Keys: ReadonlyMap<string, string>;
  /** RFC 5925: the same. An address has keys of one kind only. */
  readonly aoKeys: ReadonlyMap<string, readonly AoKey[]>;
}

/** What can happen to a stream. After onClose nothing is called any more. */
export interface StreamHandlers {
  onData(bytes: Uint8Array): void;
  /** The other side will send no more (FIN). */
  onEnd(): void;
  /** Room again after `write` returned false. */
  onDrain(): void;
  /** Gone: null after both sides closed in order, or after our own close(); otherwise the reason (ECONNRESET, ETIMEDOUT …). */
  onClose(error: SystemError | null): void;
}

/** A connected byte stream. Nothing is read before `on` was called; data that came earlier waits. */
export interface Stream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Undefined without TLS. Ask while it is open. */
  readonly tls?: TlsState | undefined;
  on(handlers: StreamHandlers): void;
  /** False: queued, stop until onDrain. Writing to a closed stream does nothing. */
  write(bytes: Uint8Array): boolean;
  /** Send FIN after what is queued and go on reading (half-close). Writing afterwards does nothing. */
  end(): void;
  /** Call neither onData nor onEnd until `resume`: what arrives meanwhile waits, and the sender feels it (back-pressure). */
  pause(): void;
  resume(): void;
  /** 'fin' sends what is queued first; 'rst' drops it. Nothing is read any more. */
  close(how: 'fin' | 'rst'): void;
  /** Change options of the connection below. Throws a SystemError. Not there where nothing is below. */
  tune?(options: TcpOptions): void;
}

export interface Listener {
  readonly local: Endpoint;
  /** From now on. Throws a SystemError, after it has done what can be done. Not there where nothing is below. */
  tune?(options: ListenerOptions): void;
  close(): Promise<void>;
}

export interface Streams {
  /**
   * Resolves when connected (and TLS is up, as in `secure`). Rejects with ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH …, or
   * ECANCELED when cut.
   */
  connect(options: ConnectOptions, cut: Cut): Promise<Stream>;
  /**
   * Begin TLS as a client on a connected stream (STARTTLS). The stream given is used up, whatever comes of it: its handlers are
   * not called any more. Bad PEM rejects with EINVAL; whatever is wrong with the server's side is EPROTO with its words, or
   * ECONNRESET.
   */
  secure(stream: Stream, tls: TlsOptions, cut: Cut): Promise<Stream>;
  /** `::` is every address of both families; IPv4 peers have IPv4 addresses there too. Rejects with EADDRINUSE, EACCES … */
  listen(options: Endpoint, onStream: (stream: Stream) => void): Promise<Listener>;
}

export interface DatagramOptions extends Endpoint {
  /** IP TTL / hop limit of what we send. */
  readonly ttl: number;
  /** RFC 5082: what came with less is dropped by the kernel before anybody sees it. */
  readonly minTtl?: number;
}

/** A UDP socket. What it sends has DSCP CS6, as all routing protocols. */
export interface DatagramSocket {
  readonly local: Endpoint;
  /** Handed to the kernel before this returns. Throws EAGAIN, ENETUNREACH, EHOSTUNREACH … */
  send(bytes: Uint8Array, to: Endpoint): void;
  close(): void;
}

export interface Datagrams {
  /** `onDatagram` null: for sending only. Throws EADDRINUSE, EADDRNOTAVAIL, EACCES, ENODEV (no such zone) … */
  open(options: DatagramOptions, onDatagram: ((bytes: Uint8Array, from: Endpoint) => void) | null): DatagramSocket;
}

export interface UdpOptions extends Endpoint {
  /** Source; the kernel chooses what is absent. */
  readonly localAddress?: string;
  readonly localPort?: number;
  /** SO_MARK, for policy routing. */
  readonly mark?: number;
}

export interface UdpHandlers {
  /** From the one that the socket is connected to; nobody else is heard. */
  onDatagram(bytes: Uint8Array): void;
  /**
   * Something is known of what was sent: ECONNREFUSED (nothing listens there) or EHOSTUNREACH, with who said so in ICMP. Any
   * other code is of this host. The socket goes on.
   */
  onError(error: SystemError): void;
}

/** A connected UDP socket. */
export interface UdpSocket {
  readonly local: Endpoint;
  /** Handed to the kernel before this returns. Throws EAGAIN, ENETUNREACH, EPERM, EMSGSIZE … After close it does nothing. */
  send(bytes: Uint8Array): void;
  /** No handler is called any more. */
  close(): void;
}

export interface Udp {
  /** Rejects with ENETUNREACH, EADDRNOTAVAIL, EADDRINUSE, EMFILE, EINVAL … Nothing is sent. */
  open(options: UdpOptions, handlers: UdpHandlers): Promise<UdpSocket>;
}

export interface PingOptions {
  readonly address: string;
  /** Octets behind the ICMP header, 16 at least; 56 when absent. */
  readonly bytes?: number;
  /** TTL or hop limit of the request; the system's when absent. */
  readonly ttl?: number;
  readonly localAddress?: string;
  /** No answer for so long is ETIMEDOUT; without it only the cut ends the waiting. */
  readonly timeoutMs?: number;
}

export interface Icmp {
  /**
   * One ICMP echo (RFC 792, RFC 4443): resolves with its own reply, nobody else's. Rejects with EHOSTUNREACH when an ICMP error
   * came back, ETIMEDOUT, ECANCELED when cut, EACCES when this process may not ping, or what else this host could not do.
   */
  ping(options: PingOptions, cut: Cut): Promise<{ readonly roundTripMs: number }>;
}

/**
 * Bidirectional Forwarding Detection (RFC 5880), at a place that no stall of the daemon's reaches. It vouches for the daemon, so
 * it wants a sign of life every HEARTBEAT_MS, and holds all sessions down when there is none for too long.
 */
export interface Bfd {
  /** The whole wish; a session for which nothing changed is not touched. `onChange` replaces the one before. */
  configure(config: BfdConfig, onChange: (change: BfdChange) => void): void;
  /** The daemon lives. Costs nothing. */
  alive(): void;
  /** As last heard, at most a second old. */
  status(): readonly BfdStatus[];
  /** Says Down on all sessions, for good. Resolves when the packets are with the kernel. */
  stop(): Promise<void>;
}

/** RFC 2782 */
export interface ServiceRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

export interface Names {
  /**
   * All addresses of one family, CNAMEs followed, hosts file first. Rejects: ENOTFOUND (the name has none), ETIMEOUT,
   * EAI_AGAIN.
   */
  resolve(host: string, family: Family, cut: Cut): Promise<readonly string[]>;
  /** The SRV records of a name, in any order. Rejects as `resolve`. */
  resolveService(name: string, cut: Cut): Promise<readonly ServiceRecord[]>;
}

export interface HttpRequest {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whole request, connect included. */
  readonly timeoutMs: number;
  /** A longer body rejects with EFBIG. */
  readonly maxBytes: number;
  /** Absent: a certificate of an authority that the system trusts is wanted, and none is shown. */
  readonly tls?: HttpTls;
}

export type HttpTls = Pick<TlsOptions, 'verify' | 'ca' | 'certificate' | 'files'>;

export interface HttpPost extends HttpRequest {
  readonly body: string;
}

export interface HttpResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface ServedRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ServedResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Http {
  /** Redirects are not followed. A body shorter than its Content-Length rejects with ECONNRESET. */
  get(request: HttpRequest, cut: Cut): Promise<HttpResponse>;
  /** As `get`. */
  post(request: HttpPost, cut: Cut): Promise<HttpResponse>;
  /**
   * As `get`, or with a body as `post`, for an answer that goes on: with status 200 its body comes piece by piece, and what
   * this resolves with at the end has an empty one. `timeoutMs` is for the head only.
   */
  stream(
    request: HttpRequest & { readonly body?: string },
    onData: (bytes: Uint8Array) => void,
    cut: Cut,
  ): Promise<HttpResponse>;
  /**
   * Serve on a TCP endpoint or a Unix socket (a stale socket file is replaced, a live one is EADDRINUSE). One request at a time on
   * each connection; it is closed after the answer if the next request came before that.
   */
  serve(
    at: Endpoint | { readonly path: string },
    handle: (request: ServedRequest) => ServedResponse | Promise<ServedResponse>,
  ): Promise<{ close(): Promise<void> }>;
}

export interface FileStat {
  readonly mtimeMs: number;
  /** When anything of it changed, its other times included. Nobody can set it. */
  readonly ctimeMs: number;
  readonly size: number;
  readonly inode: number;
  /** Type and permissions, as in stat(2). */
  readonly mode: number;
}

export interface Files {
  /** Rejects with ENOENT, EACCES, EISDIR, or EFBIG above maxBytes. */
  read(path: string, maxBytes: number): Promise<Uint8Array>;
  stat(path: string): Promise<FileStat>;
  /** All or nothing, durable: temporary file (0600), fsync, rename. Missing folders are made (0750). */
  replace(path: string, bytes: Uint8Array): Promise<void>;
}

/** A table of the kernel. `apply` answers one entry per op, null where it was done; it goes on after a failed one. */
export interface Kernel<Table, Op, Key> {
  /** The whole table, or only the given keys (absent ones are absent in the answer). */
  list(keys?: readonly Key[]): Promise<Table>;
  apply(ops: readonly Op[]): Promise<readonly (null | SystemError)[]>;
}

export interface Command {
  /** Absolute; no shell, no PATH. */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Run as somebody else, in no group but this one and with no capability. Only root can. Absent: as whoever we are. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** 0: none. Afterwards the whole process group gets SIGKILL; what does not die of it is left behind ('not all killed'). */
  readonly timeoutMs: number;
  /** Output kept of stdout and stderr together; the rest is read and dropped. */
  readonly maxOutputBytes: number;
}

export interface CommandResult {
  readonly exitCode: number | null;
  /** Name of the signal that ended it, if one did. */
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly output: string;
  readonly durationMs: number;
  /** Processes of its group that were still there afterwards: all killed, some not (EPERM), or none. */
  readonly leftovers: 'none' | 'killed' | 'not all killed';
}

export interface Processes {
  /**
   * Own session and process group, stdin empty. Cutting kills the group and rejects with ECANCELED. While one that was killed has
   * not died of it, none is started to do the same: that it is still there is the answer. Rejects: ENOENT, EACCES, EMFILE, EAGAIN.
   */
  run(command: Command, cut: Cut): Promise<CommandResult>;
}

/** The director's own condition. */
export interface Self {
  /** How late the event loop has been lately, ms. */
  readonly loopLateMs: number;
  /** The longest that the event loop has been late at once since `at`, ms, also when it is just over. */
  lateSince(at: Mono): number;
  /**
   * Its stalls since then together, ms: what was measured meanwhile may have all of them in it. Of delays as every loop that is busy
   * has them, turn by turn, only the longest counts.
   */
  stalledSince(at: Mono): number;
  /** Changes with every boot and network namespace: what the kernel's tables live in. */
  readonly kernelId: string;
  /** Addresses on this host's interfaces, our VIPs included. */
  readonly addresses: readonly string[];
}

export interface World {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  random(): number;
  readonly names: Names;
  readonly http: Http;
  readonly files: Files;
  readonly streams: Streams;
  readonly udp: Udp;
  readonly icmp: Icmp;
  readonly bfd: Bfd;
  readonly ipvs: Kernel<IpvsTable, IpvsOp, ServiceKey>;
  readonly vips: Kernel<AddressTable, AddressOp, string>;
  readonly processes: Processes;
  /** The module of a monitor by the name that configuration uses (in any case), or null if there is none. */
  monitor(name: string): Promise<MonitorModule | null>;
  self(): Self;
  log(record: LogRecord): void;
  /** False: nobody need make records of the level `debug`, they are written nowhere. */
  readonly logsDebug?: boolean;
}
