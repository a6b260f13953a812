// IdleConnection: keep one idle TCP connection to the real server. Established is up, lost is down, both at once; a clean
// close says nothing until the reconnect fails, and neither do keepalives that nobody answers: this host may have lost its own way.
// Nothing is sent and what arrives is ignored. Options and meaning are otherwise PyBal's, which calls the server down for such a
// silence without asking again; `connect-timeout` (fixed to 30 s there) is ours. So a server that accepts and closes at once, as a
// proxy without a backend may, is up for ever: it is counted, and somebody has to ask it a question.

import type { Cut, Health, OptionRow, Sample, Stream, StreamHandlers, Target, Tools, Watch } from 'anybal/monitor';
import { endpoint, textOf } from './lib/text.ts';

const options = [
  {
    name: 'timeout-clean-reconnect',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 3,
    pybal: '0.1',
    doc:
      'Connect timeout of the immediate reconnect after the server closed the connection cleanly, or answered no keepalive ' +
      'any more. Neither says anything yet: a server that accepts and closes at once is up for ever, so let this not be ' +
      'the only monitor. How often it did is the metric pybal_monitor_idleconnection_connections_closed_total.',
  },
  {
    name: 'max-delay',
    kind: 'seconds',
    min: 1,
    max: 86400,
    default: 300,
    pybal: '0.1',
    doc: 'Longest pause between two attempts while the server is down. The pauses start at about 3 s and grow by e.',
  },
  {
    name: 'connect-timeout',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 30,
    doc: 'How long a connection may take to be established, other than after a clean close.',
  },
  { name: 'keepalive', kind: 'bool', default: true, pybal: '1.13', doc: 'Send TCP keepalives on the idle connection.' },
  {
    name: 'keepalive-retries',
    kind: 'int',
    min: 1,
    max: 127,
    default: 3,
    pybal: '1.13',
    doc: 'Unanswered keepalives after which the connection is lost. Whether the server is down is told by the next one.',
  },
  {
    name: 'keepalive-idle',
    kind: 'int',
    min: 1,
    max: 32767,
    default: 10,
    pybal: '1.13',
    doc: 'Seconds of silence before the first keepalive.',
  },
  {
    name: 'keepalive-interval',
    kind: 'int',
    min: 1,
    max: 32767,
    default: 30,
    pybal: '1.13',
    doc: 'Seconds between keepalives.',
  },
] as const satisfies readonly OptionRow[];

export default {
  apiVersion: 1,
  name: 'IdleConnection',
  kind: 'watch',
  asks: 'endpoint',
  options,
  timing: (o) => ({
    connectTimeoutSeconds: o['connect-timeout'],
    reconnectTimeoutSeconds: o['timeout-clean-reconnect'],
    maxDelaySeconds: o['max-delay'],
  }),
  create: (o, tools) => {
    const keepAlive = {
      idleSeconds: o['keepalive-idle'],
      intervalSeconds: o['keepalive-interval'],
      retries: o['keepalive-retries'],
    };
    const dial = ({ address, port }: Target, cut: Cut) =>
      tools.connect(o.keepalive ? { address, port, keepAlive } : { address, port }, cut);
    return {
      // Not async: of what is held by the thousand, one promise is enough.
      watch: (target, report, cut) =>
        new Promise((resolve, reject) => {
          const held = dial(target, cut).then(
            (stream) => {
              report(UP);
              new Held(tools, target, stream, resolve).begin(cut);
            },
            (error: unknown) => {
              noteFailure(error, tools, target, cut);
              resolve({ means: { is: 'down', reason: textOf(error) } });
            },
          );
          held.catch(reject);
        }),
    };
  },
} satisfies Watch<typeof options>;

/** A healthy server holds the connection and need say nothing: for `anybal monitor test`. */
export const sample: Sample = { options: {} };

type End = { readonly means: Health | 'unchanged' };

/** A connection that is held. There are thousands, so it is one small object. */
class Held implements StreamHandlers {
  readonly #tools: Tools;
  readonly #target: Target;
  readonly #stream: Stream;
  readonly #resolve: (end: End) => void;

  constructor(tools: Tools, target: Target, stream: Stream, resolve: (end: End) => void) {
    this.#tools = tools;
    this.#target = target;
    this.#stream = stream;
    this.#resolve = resolve;
  }

  begin(cut: Cut): void {
    this.#stream.on(this);
    // It need not be forgotten: the cut is gone when the connection is.
    cut.onAbort(() => this.#stream.close('rst'));
  }

  onData(): void {}
  onDrain(): void {}
  onEnd(): void {
    this.#stream.close('fin');
  }
  onClose(error: (Error & { readonly code: string }) | null): void {
    if (error === null) {
      this.#tools.count(this.#target, 'connections_closed_total');
      this.#tools.log('debug', this.#target, () => `Connection to ${endpoint(this.#target)} closed, reconnecting.`);
      this.#resolve({ means: 'unchanged' });
      return;
    }
    this.#tools.log('info', this.#target, `Connection to ${endpoint(this.#target)} lost.`);
    this.#tools.count(this.#target, 'connections_lost_total', LOST);
    if (SILENCE.has(error.code)) {
      this.#resolve({ means: 'unchanged' });
      return;
    }
    const reason = 'Connection to the other side was lost in a non-clean fashion: Connection lost.';
    this.#resolve({ means: { is: 'down', reason } });
  }
}

const UP: Health = { is: 'up' };
const LOST = Object.freeze({ reason: 'ConnectionLost' });
/** Nobody answered the keepalives; if ICMP said why meanwhile, the kernel says it instead. */
const SILENCE: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH']);

function noteFailure(error: unknown, tools: Tools, target: Target, cut: Cut): void {
  if (isServers(error, cut)) tools.log('warn', target, `Connection to ${endpoint(target)} failed.`);
  else tools.log('debug', target, () => `Connection to ${endpoint(target)} could not be tried: ${textOf(error)}`);
  tools.count(target, 'connections_failed_total', { reason: exceptionName(error) });
}

/** What a server, or the way to it, does to a connection. All else is ours, and the service tells it once for all its servers. */
const SERVERS: ReadonlySet<unknown> = new Set(
  'ECONNREFUSED ETIMEDOUT EHOSTUNREACH EHOSTDOWN ECONNRESET ECONNABORTED EPIPE EPROTO ENOPROTOOPT'.split(' '),
);

function isServers(error: unknown, cut: Cut): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'ECANCELED' ? cut.aborted : SERVERS.has(code);
}

/** Of a socket that could not be made or bound. */
const UNMADE: ReadonlySet<unknown> = new Set('EMFILE ENFILE ENOBUFS ENOMEM EADDRINUSE EADDRNOTAVAIL'.split(' '));

/** PyBal labels its counters with Twisted's exception classes. */
function exceptionName(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'ECONNREFUSED') return 'ConnectionRefusedError';
  if (code === 'ECANCELED') return 'TimeoutError';
  if (code === 'ETIMEDOUT') return 'TCPTimedOutError';
  if (code === 'EHOSTUNREACH') return 'NoRouteError';
  return UNMADE.has(code) ? 'ConnectBindError' : 'ConnectError';
}
