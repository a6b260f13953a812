// A world that tells what is done with it: each step of a check in words, for `anybal check-now`. Everything is passed on as it
// is, but for a connection with TLS, which is made in two steps so that each has its time.

import { printEndpoint } from '../lib/address.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import { showUrl } from '../lib/url.ts';
import type { ConnectOptions, Endpoint, Stream, TlsOptions, Wall, World } from '../world/world.ts';
import type { Cut } from '../lib/cut.ts';

type Say = (text: string) => void;

/** A stream that tells, and the one that does the work. */
interface TracedStream extends Stream {
  readonly traced: Stream;
}

export function tracedWorld(world: World, say: Say): World {
  return {
    ...world,
    names: {
      ...world.names,
      resolve: (host, family, cut) =>
        told(
          say,
          `name ${host}`,
          () => world.names.resolve(host, family, cut),
          (found) => found.join(', '),
        ),
    },
    http: {
      ...world.http,
      get: (request, cut) =>
        told(
          say,
          `GET ${showUrl(request.url)}`,
          () => world.http.get(request, cut),
          ({ status, body }) => `${status}, ${body.length} bytes`,
        ),
    },
    files: {
      ...world.files,
      read: (path, maxBytes) =>
        told(
          say,
          `file ${path}`,
          () => world.files.read(path, maxBytes),
          ({ length }) => `${length} bytes`,
        ),
    },
    streams: {
      ...world.streams,
      connect: (options, cut) => connect(world, options, cut, say),
      secure: (stream, tls, cut) => secure(world, stream, tls, cut, say),
    },
    udp: {
      open: async (options, handlers) => {
        const socket = await world.udp.open(options, {
          onDatagram(bytes) {
            say(`a datagram of ${bytes.length} bytes came`);
            handlers.onDatagram(bytes);
          },
          onError(error) {
            say(error.message);
            handlers.onError(error);
          },
        });
        say(`UDP socket ${endpoint(socket.local)} to ${endpoint(options)}`);
        return {
          local: socket.local,
          send(bytes) {
            say(`sends a datagram of ${bytes.length} bytes`);
            socket.send(bytes);
          },
          close: () => socket.close(),
        };
      },
    },
    icmp: {
      ping: (options, cut) =>
        told(
          say,
          `ping ${options.address}`,
          () => world.icmp.ping(options, cut),
          (reply) => `${reply.roundTripMs} ms`,
        ),
    },
    processes: {
      run: (command, cut) =>
        told(
          say,
          `command ${[command.path, ...command.args].join(' ')}`,
          () => world.processes.run(command, cut),
          (result) => (result.timedOut ? 'killed, it took too long' : `exit ${result.exitCode ?? result.signal}`),
        ),
    },
  };
}

/** What takes time to begin is told before it begins: the times of all steps are counted from the first. */
async function told<T>(say: Say, what: string, begin: () => Promise<T>, answer: (value: T) => string): Promise<T> {
  say(`${what} …`);
  try {
    const value = await begin();
    say(`${what}: ${answer(value)}`);
    return value;
  } catch (error) {
    say(`${what}: ${cutOr(error)}`);
    throw error;
  }
}

/** ECANCELED is a word for us, not for who looks on. */
function cutOr(error: unknown): string {
  return error instanceof SystemError && error.code === 'ECANCELED' ? 'cut short' : errorText(error);
}

async function connect(world: World, options: ConnectOptions, cut: Cut, say: Say): Promise<Stream> {
  const { tls, ...plain } = options;
  const what = `TCP to ${endpoint(options)}`;
  const from = ({ local }: Stream) => `connected from ${endpoint(local)}`;
  const stream = await told(say, what, () => world.streams.connect(plain, cut), from);
  if (options.preface !== undefined) say(`sent ${options.preface.length} bytes before anything else`);
  return tls === undefined ? tracedStream(stream, say) : secure(world, stream, tls, cut, say);
}

async function secure(world: World, stream: Stream, tls: TlsOptions, cut: Cut, say: Say): Promise<Stream> {
  const inner = 'traced' in stream ? (stream as TracedStream).traced : stream;
  const what = `TLS${tls.servername === null ? '' : ` for ${tls.servername}`}`;
  return tracedStream(
    await told(
      say,
      what,
      () => world.streams.secure(inner, tls, cut),
      (secured) => tlsText(secured, world.clock.wall()),
    ),
    say,
  );
}

function tlsText({ tls }: Stream, now: Wall): string {
  if (tls === undefined) return 'up';
  const { protocol, alpn, certificate } = tls;
  const days = certificate === null ? '' : ((certificate.validTo - now) / 86_400_000).toFixed(1);
  const until = certificate === null ? '' : `, certificate of ${certificate.subject} ends in ${days} days`;
  return `${protocol}${alpn === null ? '' : `, ${alpn}`}${until}`;
}

function tracedStream(stream: Stream, say: Say): TracedStream {
  let received = 0;
  let closed = false;
  return {
    traced: stream,
    local: stream.local,
    remote: stream.remote,
    get tls() {
      return stream.tls;
    },
    on: (handlers) =>
      stream.on({
        onData(bytes) {
          if (received === 0) say(`first byte (${bytes.length} bytes came with it)`);
          received += bytes.length;
          handlers.onData(bytes);
        },
        onEnd() {
          say(`the server has sent all, ${received} bytes`);
          handlers.onEnd();
        },
        onDrain: () => handlers.onDrain(),
        onClose(error) {
          if (error !== null) say(`connection lost after ${received} bytes: ${error.message}`);
          handlers.onClose(error);
        },
      }),
    write(bytes) {
      say(`sends ${bytes.length} bytes`);
      return stream.write(bytes);
    },
    end: () => stream.end(),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    close(how) {
      if (!closed) say(`closes the connection, ${received} bytes received`);
      closed = true;
      stream.close(how);
    },
  };
}

function endpoint({ address, port }: Endpoint): string {
  return printEndpoint(address, port);
}
