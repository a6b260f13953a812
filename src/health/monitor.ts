// The monitors' contract, public as `anybal/monitor`. A monitor is one file with one default export, either a Poll (asked
// again and again) or a Watch (holds something and reports). It opens nothing itself: everything comes from `tools`. When to
// check, deadlines, rise and fall, logging and metrics live in the runner. A throw is down with its message.

import type { Cut } from '../lib/cut.ts';
import type { OptionRow, OptionsOf } from '../config/rows.ts';
import type {
  Clock,
  Command,
  CommandResult,
  ConnectOptions,
  FileStat,
  HttpRequest,
  HttpResponse,
  PingOptions,
  Stream,
  TlsOptions,
  UdpHandlers,
  UdpOptions,
  UdpSocket,
} from '../world/world.ts';

export type { Cut } from '../lib/cut.ts';
export type { OptionRow, OptionsOf, Template } from '../config/rows.ts';
export type {
  Clock,
  Command,
  CommandResult,
  ConnectOptions,
  FileStat,
  HttpRequest,
  HttpResponse,
  PingOptions,
  Stream,
  StreamHandlers,
  UdpHandlers,
  UdpOptions,
  UdpSocket,
} from '../world/world.ts';
export type { TlsCertificate, TlsOptions, TlsState, Wall } from '../world/world.ts';

export const API_VERSION = 1;

/** Whom to ask. The address is the real server's; the port is the one that the real server listens on. */
export interface Target {
  readonly service: string;
  readonly host: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly vip: string;
  readonly servicePort: number;
  readonly protocol: 'tcp' | 'udp';
}

export type Health =
  | {
      readonly is: 'up';
      readonly detail?: string;
      /** Stands in the place of the pool list's weight for as long as results say so. */
      readonly weight?: number;
      /** So much of the weight, in percent. */
      readonly percent?: number;
      /** No new connections, please; those that it has may end. */
      readonly drain?: boolean;
    }
  | {
      readonly is: 'down';
      readonly reason: string;
      /**
       * It is down for nothing but this: it took so much longer than it may, ms. The runner knows how much of that was our own
       * (the event loop was late, the check waited for its turn), and calls it unknown when it may have been all.
       */
      readonly slowByMs?: number;
    }
  /** Our own fault: it says nothing about the server. */
  | { readonly is: 'unknown'; readonly reason: string };

export interface Tools {
  readonly clock: Clock;
  random(): number;
  /** As Streams.connect. An error that is our own fault (EMFILE, ENETUNREACH …) becomes `unknown` in the runner. */
  connect(options: ConnectOptions, cut: Cut): Promise<Stream>;
  /** As Streams.secure: begin TLS on a connection that `connect` made (STARTTLS). Use only what it resolves with afterwards. */
  secure(stream: Stream, tls: TlsOptions, cut: Cut): Promise<Stream>;
  /** As Udp.open: a connected UDP socket, to be closed by the monitor. What is our own fault is as for `connect`. */
  datagram(options: UdpOptions, handlers: UdpHandlers, cut: Cut): Promise<UdpSocket>;
  /** As Icmp.ping. */
  ping(options: PingOptions, cut: Cut): Promise<{ readonly roundTripMs: number }>;
  run(command: Command, cut: Cut): Promise<CommandResult>;
  /** As Http.get: one request where its cost does not matter, verified when https. Not through the path. */
  fetch(request: HttpRequest, cut: Cut): Promise<HttpResponse>;
  /**
   * The content of a file on this host: certificates, passwords. Not being able to read it, or not before the cut, is our own
   * fault.
   */
  read(path: string, maxBytes: number, cut: Cut): Promise<Uint8Array>;
  /** As Files.stat; not being able to is our own fault, as for `read`. */
  stat(path: string, cut: Cut): Promise<FileStat>;
  /**
   * A part of the check that is given up before the check is: `cut` is cut after `ms`, or with the whole. For a check that has
   * something to say even so; call `release` when the part is over. To time the server is the runner's business.
   */
  deadline(cut: Cut, ms: number): { readonly cut: Cut; release(): void };
  /**
   * One line about this target in the log, in the system `<service> <Monitor>`. A function is only called when it is written.
   * Twenty lines a minute and two for each check; what is more is left out, and counted.
   */
  log(level: 'debug' | 'info' | 'warn' | 'error', target: Target, text: string | (() => string)): void;
  /** A measurement of this target: becomes `pybal_monitor_<monitor>_<name>` with the given extra labels. */
  observe(target: Target, name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** Add one to a counter, named as in `observe`. */
  count(target: Target, name: string, labels?: Readonly<Record<string, string>>): void;
}

interface Common<R extends readonly OptionRow[]> {
  readonly apiVersion: 1;
  /** As in `monitors = [ 'ProxyFetch' ]`; options are `<name in lower case>.<option>`. */
  readonly name: string;
  readonly options: R;
  /**
   * Whether it asks by `tools.connect` and `tools.datagram` with these options. If not, `via = path` means nothing for it. Not given:
   * it does.
   */
  viaPath?(options: OptionsOf<R>): boolean;
  /**
   * What is wrong with options whose rows are all right, each alone. Shown with the option's file and line; refuses the
   * section.
   */
  refuse?(options: OptionsOf<R>): readonly { readonly option: R[number]['name']; readonly why: string }[];
  /**
   * What is odd about options that it takes all the same: they have no effect, or hardly the one that was meant. Shown as a
   * warning where they are set. `blind`: so no server would ever be found down, and `anybal check` fails.
   */
  doubt?(
    options: OptionsOf<R>,
  ): readonly { readonly option: R[number]['name']; readonly why: string; readonly blind?: boolean }[];
  /**
   * What of this host it uses with these options, by the option that names it: `anybal check` looks whether it is there. Not
   * given: files, by all options of kind `path`. Those that are set are looked for in any case.
   */
  uses?(options: OptionsOf<R>): { readonly [Name in R[number]['name']]?: 'file' | 'program' | 'user' };
  /**
   * What the answer depends on besides the options. 'endpoint': on nothing of the target but `host`, `address` and `port`, so
   * services that ask with equal options share one check. Not given: on everything.
   */
  readonly asks?: 'endpoint';
}

export interface PollInstance {
  check(target: Target, cut: Cut): Promise<Health>;
  /** No check of this target is under way, and there will be none: let go of what is held for it, such as a connection. */
  forget?(target: Target): void;
}

/**
 * Asked every `interval` seconds, with a deadline of `timeout` seconds; both are options of the monitor, or `timing`
 * says otherwise.
 */
export interface Poll<R extends readonly OptionRow[] = readonly OptionRow[]> extends Common<R> {
  readonly kind: 'poll';
  create(options: OptionsOf<R>, tools: Tools): PollInstance;
  timing(options: OptionsOf<R>): { readonly intervalSeconds: number /** 0: none */; readonly timeoutSeconds: number };
}

export interface WatchInstance {
  /**
   * Hold one connection: report health as it changes; settle when it ended. `means` is what the end says of the server
   * ('unchanged' after a clean close). The runner calls again: at once after 'unchanged', with back-off after down.
   */
  watch(target: Target, report: (health: Health) => void, cut: Cut): Promise<{ readonly means: Health | 'unchanged' }>;
}

export interface Watch<R extends readonly OptionRow[] = readonly OptionRow[]> extends Common<R> {
  readonly kind: 'watch';
  create(options: OptionsOf<R>, tools: Tools): WatchInstance;
  /** First report must come within `connectTimeoutSeconds` (`reconnectTimeoutSeconds` right after a clean close). */
  timing(options: OptionsOf<R>): {
    readonly connectTimeoutSeconds: number;
    readonly reconnectTimeoutSeconds: number;
    readonly maxDelaySeconds: number;
  };
}

/**
 * A healthy server for `anybal monitor test`, as the named export `sample` of a monitor's file. It says what to expect of the
 * monitor when all is well; everything that can go wrong is the kit's to make up. Text stands for Latin-1 octets.
 */
export interface Sample {
  /** Options as in pybal.conf, without the monitor's name: what they are tested with. */
  readonly options?: Readonly<Record<string, string>>;
  /** All that the server has said on a connection by the time that it has received so much; '' at first. */
  stream?(received: string): string | Uint8Array;
  /** The reply to a datagram; null: none. */
  datagram?(bytes: Uint8Array): Uint8Array | null;
  /** How a command ends. */
  readonly command?: { readonly exitCode: number; readonly output?: string };
  readonly fetch?: {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body: string | Uint8Array;
  };
  /** Files of this host, by path. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
}

/** A module whose options' types are not known here: what the loader and the runner handle. */
export type MonitorModule = Poll<readonly OptionRow[]> | Watch<readonly OptionRow[]>;
