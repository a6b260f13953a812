// What is true of connections that are made by system calls, and of them alone: streams.test.ts has what they share with Node's.

import { expect } from 'chai';
import { setImmediate as turn } from 'node:timers/promises';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { constants } from 'node:os';
import { text } from 'node:stream/consumers';
import { createServer as createTlsServer } from 'node:tls';
import { openLibc } from '../../../src/ffi/libc.ts';
import { openTcpCalls } from '../../../src/ffi/tcp-calls.ts';
import { Knife } from '../../../src/lib/cut.ts';
import { errorText, SystemError } from '../../../src/lib/errors.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import type { Closer } from '../../../src/world/real/closer.ts';
import { EPOLL, type Poller } from '../../../src/world/real/poller.ts';
import { openQuickDial, QuickStream } from '../../../src/world/real/quick-stream.ts';
import { openSocketOptions } from '../../../src/world/real/socket-options.ts';
import { createStreams, type SocketOptions } from '../../../src/world/real/streams.ts';
import type { ConnectOptions, Stream, World } from '../../../src/world/world.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { listening } from '../../support/listening.ts';
import { codeOf, recorder } from '../../support/world-conformance.ts';

const { EINPROGRESS } = constants.errno;
const AUTHORITIES = systemAuthorities();
/** As the daemon has them. */
const withQuickOnes = createStreams(AUTHORITIES, openSocketOptions(), openQuickDial(openSocketOptions()));
const world = { clock: createClock(), streams: withQuickOnes } as unknown as World;

/** Of the connections to a server on this host, how many have octets that wait for who has opened them (proc(5), /proc/net/tcp). */
function unread(port: number): number {
  const there = new RegExp(
    `^ *\\d+: \\w+:\\w+ \\w+:${port.toString(16).toUpperCase().padStart(4, '0')} 01 \\w+:(?!0+ )`,
  );
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .filter((line) => there.test(line)).length;
}

/** No turn of the loop passes. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe('A quick stream', () => {
  // A server for each test: what the one before left may be accepted only now.
  let server: Server;
  let peers: Socket[] = [];
  let at = { address: '127.0.0.1', port: 0 };
  const accepted = async (): Promise<Socket> => {
    for (let waited = 0; peers.length === 0 && waited < 5000; waited += 5) await world.clock.sleep(5);
    const peer = peers.pop();
    if (peer === undefined) throw new Error('never accepted');
    return peer;
  };
  beforeEach(async () => {
    const own: Socket[] = [];
    peers = own;
    server = createServer({ allowHalfOpen: true }, (socket) => own.push(socket.on('error', () => {})));
    at = { ...at, port: await listening(server) };
  });
  afterEach(() => {
    server.close();
    for (const peer of peers) peer.destroy();
  });

  it('is what a check gets, and not who speaks a routing protocol', async () => {
    const kindOf = async (more: Partial<ConnectOptions>) => {
      const stream = await withQuickOnes.connect({ ...at, ...more }, new Knife());
      stream.close('rst');
      (await accepted()).destroy();
      return stream instanceof QuickStream;
    };
    expect(await kindOf({})).to.equal(true);
    expect(await kindOf({ keepAlive: { idleSeconds: 1, intervalSeconds: 1, retries: 1 } })).to.equal(true);
    expect(await kindOf({ tcp: { ttl: 9 } })).to.equal(false);
    expect(await kindOf({ tcp: { mark: 0, userTimeoutMs: 5000 } })).to.equal(false);
  });

  it('that is never silent leaves others their turn', async () => {
    // Of another process, which goes on while we read.
    const flood = `require('node:net').createServer((socket) => {
      const pour = () => { while (socket.write(Buffer.alloc(1 << 20))); };
      socket.on('drain', pour).on('error', () => {});
      pour();
    }).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
    const child = spawn(process.execPath, ['-e', flood], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const port = Number(await new Promise((resolve) => child.stdout.once('data', resolve)));
      const flooded = await withQuickOnes.connect({ ...at, port }, new Knife());
      let bytes = 0;
      let turns = 0;
      let going = true;
      const count = (): void => void (going && (turns++, setImmediate(count)));
      setImmediate(count);
      await new Promise<void>((resolve) => {
        flooded.on({
          onData: (chunk) => void ((bytes += chunk.length) > 100 << 20 && resolve()),
          onEnd() {},
          onDrain() {},
          onClose() {},
        });
      });
      going = false;
      flooded.close('rst');
      // 16 reads of 64 KiB in a turn.
      expect(turns).to.be.at.least(99);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('hears what comes behind an urgent octet', async () => {
    const stream = await withQuickOnes.connect(at, new Knife());
    const peer = await accepted();
    const seen = recorder(world, stream);
    const descriptor = Reflect.get(Reflect.get(peer, '_handle') as object, 'fd') as number;
    const say = (text: string, flags: number) => openLibc().send(descriptor, Buffer.from(text), text.length, flags);
    const MSG_OOB = 1;
    say('ab', 0);
    say('c', MSG_OOB);
    say('def', 0);
    await seen.until(() => seen.received() === 'abdef');
    stream.close('rst');
  });

  it('is not there when it can not be what it was to be', async () => {
    const options: SocketOptions = {
      ...openSocketOptions(),
      setKeepAlive() {
        throw new SystemError('EINVAL', 'setsockopt');
      },
    };
    const keepAlive = { idleSeconds: 1, intervalSeconds: 99_999, retries: 1 };
    expect(await codeOf(openQuickDial(options)({ ...at, keepAlive }, new Knife()))).to.equal('EINVAL');
    const peer = await accepted();
    await new Promise((resolve) => peer.resume().once('close', resolve).once('end', resolve));
  });

  it('through the path ends with a reset, also when TLS does not come about on it', async () => {
    // A mark needs privileges.
    const options: SocketOptions = { ...openSocketOptions(), apply() {} };
    const streams = createStreams(AUTHORITIES, options, openQuickDial(options));
    const heard: string[] = [];
    const talking = createServer((socket) => {
      socket.on('error', (error) => heard.push('code' in error ? String(error.code) : 'error'));
      socket.on('end', () => heard.push('end'));
      socket.resume().write('220 not TLS at all, sorry\r\n');
    });
    try {
      const there = { ...at, port: await listening(talking), tls: { servername: null, verify: false } };
      for (const [tcp, end] of [
        [{ mark: 7 }, 'ECONNRESET'],
        [{}, 'end'],
      ] as const) {
        expect(await codeOf(streams.connect({ ...there, tcp }, new Knife()))).to.equal('EPROTO');
        for (let waited = 0; heard.length === 0 && waited < 5000; waited += 5) await world.clock.sleep(5);
        expect(heard.splice(0)).to.deep.equal([end]);
      }
    } finally {
      talking.close();
    }
  });

  it('that was reset as soon as it was there has been there, and is lost', async () => {
    // It does so in the phase of the event loop that comes before ours: we hear of both at once.
    const resetting = createServer((socket) => socket.on('error', () => {}).resetAndDestroy());
    try {
      const there = { ...at, port: await listening(resetting) };
      for (const says of [null, 'hello']) {
        const stream = await withQuickOnes.connect(there, new Knife());
        const seen: string[] = [];
        const closed = new Promise<void>((resolve) =>
          stream.on({
            onData: () => void seen.push('data'),
            onEnd: () => void seen.push('end'),
            onDrain() {},
            onClose(error) {
              seen.push(error?.code ?? 'closed');
              resolve();
            },
          }),
        );
        if (says !== null) stream.write(Buffer.from(says));
        await closed;
        expect(seen).to.deep.equal(['ECONNRESET']);
      }
    } finally {
      resetting.close();
    }
  });

  it('is not there where nobody listens, though it has met itself', async () => {
    const closed = createServer();
    const port = await listening(closed);
    await new Promise((resolve) => closed.close(resolve));
    for (const address of ['127.0.0.1', '::1']) {
      const itself = withQuickOnes.connect({ address, port, localAddress: address, localPort: port }, new Knife());
      expect(await codeOf(itself)).to.equal('ECONNREFUSED');
    }
    // Nothing is left of it that would keep a server from its port.
    const again = createServer();
    await new Promise<void>((resolve, reject) => again.once('error', reject).listen(port, '127.0.0.1', resolve));
    again.close();
  });

  it('sends what the kernel did not take at once later, whole and in order', async () => {
    const stream = await withQuickOnes.connect(at, new Knife());
    const peer = await accepted();
    peer.pause();
    const seen = recorder(world, stream);
    const digest = createHash('sha256');
    for (let piece = 0; piece < 3; piece++) {
      const bytes = randomBytes(4 << 20);
      digest.update(bytes);
      expect(stream.write(bytes)).to.equal(false);
      // It is ours again.
      bytes.fill(0);
    }
    stream.end();
    const got = createHash('sha256');
    await new Promise<void>((resolve) => {
      peer.on('data', (bytes) => void got.update(bytes));
      peer.on('end', resolve);
      peer.resume();
    });
    expect(got.digest('hex')).to.equal(digest.digest('hex'));
    peer.end();
    await seen.until(() => seen.events.includes('close'));
    expect(seen.events).to.deep.equal(['end', 'close']);
  });

  it('tells once that it is closed, also to whoever asks in between', async () => {
    const stream = await withQuickOnes.connect(at, new Knife());
    let closes = 0;
    const handlers = { onData() {}, onEnd() {}, onDrain() {}, onClose: () => void closes++ };
    stream.on(handlers);
    stream.close('rst');
    stream.on(handlers);
    await turn();
    expect(closes).to.equal(1);
  });

  it('that was closed by what another one heard in the same turn hears nothing more, nor does the next one in its place', async () => {
    const count = 20;
    const streams = await Promise.all(Array.from({ length: count }, () => withQuickOnes.connect(at, new Knife())));
    const sockets = [];
    for (let i = 0; i < count; i++) sockets.push(await accepted());
    const heard: string[] = [];
    const fresh: Promise<Stream>[] = [];
    const handlersOf = (name: string) => ({
      onData: (bytes: Uint8Array) => {
        heard.push(`${name} ${Buffer.from(bytes)}`);
        if (fresh.length > 0) return;
        // Descriptors are given again, the smallest first: these have those of the closed ones.
        for (const stream of streams) stream.close('rst');
        for (let i = 0; i < count; i++) fresh.push(withQuickOnes.connect(at, new Knife()));
      },
      onEnd: () => void heard.push(`${name} end`),
      onDrain() {},
      onClose: () => {},
    });
    for (const stream of streams) stream.on(handlersOf('old'));
    for (const socket of sockets) socket.end('hello');
    for (let waited = 0; fresh.length === 0 && waited < 5000; waited += 5) await world.clock.sleep(5);
    const again = await Promise.all(fresh);
    for (const stream of again) stream.on(handlersOf('new'));
    await world.clock.sleep(30);
    expect(heard).to.deep.equal(['old hello']);
    for (const stream of again) stream.close('rst');
  });

  it('is heard in the next turn, however many others are: a deadline that has passed waits for no more', async () => {
    const count = 500;
    const streams = await Promise.all(Array.from({ length: count }, () => withQuickOnes.connect(at, new Knife())));
    const sockets: Socket[] = [];
    while (sockets.length < count) sockets.push(await accepted());
    let heard = 0;
    for (const stream of streams) stream.on({ onData: () => void heard++, onEnd() {}, onDrain() {}, onClose() {} });
    await turn();
    for (const socket of sockets) socket.write('x');
    // So many packets at once the kernel may deliver a little later. No turn of the loop passes meanwhile.
    for (let waited = 0; unread(at.port) < count && waited < 5000; waited += 10) standStill(10);
    await turn();
    await turn();
    for (const stream of streams) stream.close('rst');
    expect(heard).to.equal(count);
  });

  it('that is refused is told of it before all those that have something to read, though that was there first', async () => {
    const count = 500;
    const streams = await Promise.all(Array.from({ length: count }, () => withQuickOnes.connect(at, new Knife())));
    const sockets: Socket[] = [];
    while (sockets.length < count) sockets.push(await accepted());
    const closed = createServer();
    const nobody = { ...at, port: await listening(closed) };
    await new Promise((resolve) => closed.close(resolve));
    let heard = 0;
    for (const stream of streams) stream.on({ onData: () => void heard++, onEnd() {}, onDrain() {}, onClose() {} });
    await turn();
    for (const socket of sockets) socket.write('x');
    expect(await codeOf(withQuickOnes.connect(nobody, new Knife()))).to.equal('ECONNREFUSED');
    expect(heard).to.be.below(count / 2);
    for (const stream of streams) stream.close('rst');
  });

  it('whose handler throws takes nothing from the others', async () => {
    const [bad, good] = [await withQuickOnes.connect(at, new Knife()), await withQuickOnes.connect(at, new Knife())];
    const sockets = [await accepted(), await accepted()];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const thrown = new Promise((resolve) => process.once('uncaughtException', resolve));
    try {
      bad.on({
        onData() {
          throw new Error('a bug');
        },
        onEnd() {},
        onDrain() {},
        onClose() {},
      });
      const seen = recorder(world, good);
      for (const socket of sockets) socket.write('hello');
      expect(String(await thrown)).to.equal('Error: a bug');
      await seen.until(() => seen.received() === 'hello');
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener);
      bad.close('rst');
      good.close('rst');
    }
  });

  it('knows a route that this host lacks from what the network says of a server', async () => {
    // Nobody connects to a group: connect(2) says so itself.
    expect(await codeOf(withQuickOnes.connect({ address: '224.0.0.1', port: 9 }, new Knife()))).to.equal('ENETUNREACH');
    const calls = openTcpCalls();
    const dialled = async (errno: number, atOnce = 0): Promise<string> => {
      const watched: QuickStream[] = [];
      const engine = {
        libc: openLibc(),
        calls: {
          ...calls,
          socket: () => 100,
          connect: () => (atOnce > 0 ? -atOnce : -EINPROGRESS),
          socketError: () => -errno,
        },
        options: openSocketOptions(),
        known: new Map<string, Uint8Array>(),
        poller: {
          dial: (_: number, stream: QuickStream) => watched.push(stream) - 1,
          forget() {},
        } as unknown as Poller,
        closer: { close() {} } as unknown as Closer,
        lingerMs: 0,
        buffer: new Uint8Array(1),
        closed: [],
      };
      const to = { address: '192.0.2.1', port: 80 };
      const failed = new Promise<unknown>(
        (resolve, reject) => new QuickStream(engine, to, new Knife(), resolve, reject),
      );
      watched[0]?.onEvents(EPOLL.error | EPOLL.hangUp);
      return failed.then(
        () => 'connected',
        (error: unknown) => errorText(error).replace('connect 192.0.2.1:80: ', ''),
      );
    };
    const { ECONNREFUSED, ENETUNREACH, EACCES, EOPNOTSUPP, EHOSTUNREACH } = constants.errno;
    expect(await dialled(ECONNREFUSED)).to.equal('ECONNREFUSED');
    expect(await dialled(EHOSTUNREACH)).to.equal('EHOSTUNREACH');
    expect(await dialled(ENETUNREACH)).to.equal('EHOSTUNREACH: ICMP network unreachable');
    expect(await dialled(EACCES)).to.equal('EHOSTUNREACH: ICMP communication prohibited');
    expect(await dialled(EOPNOTSUPP)).to.equal('EHOSTUNREACH: ICMP source route failed');
    // What connect(2) says itself is of this host's own routes.
    const own = 'ENETUNREACH: this host has an unreachable route to it';
    expect(await dialled(0, EHOSTUNREACH)).to.equal(own);
    expect(await dialled(0, ENETUNREACH)).to.equal('ENETUNREACH');
  });

  it('leaves descriptors to others, however many there are, with TLS as without, as do sockets of UDP', async () => {
    const secure = createTlsServer({ cert: CERTIFICATE, key: KEY }, (socket) =>
      peers.push(socket.on('error', () => {})),
    );
    const url = (path: string) => JSON.stringify(new URL(`../../../src/${path}`, import.meta.url).href);
    const program = `
      const { createStreams } = await import(${url('world/real/streams.js')});
      const { createUdp } = await import(${url('world/real/udp.js')});
      const { systemAuthorities } = await import(${url('world/real/authorities.js')});
      const { openQuickDial } = await import(${url('world/real/quick-stream.js')});
      const { openSocketOptions } = await import(${url('world/real/socket-options.js')});
      const { Knife } = await import(${url('lib/cut.js')});
      const { openSync } = await import('node:fs');
      const options = openSocketOptions();
      const streams = createStreams(systemAuthorities(), options, openQuickDial(options));
      const udp = createUdp();
      const local = (port) => ({ address: '127.0.0.1', port });
      const tls = { servername: null, verify: false };
      const opening = {
        TLS: () => streams.connect({ ...local(${await listening(secure)}), tls }, new Knife()),
        TCP: () => streams.connect(local(${at.port}), new Knife()),
        UDP: () => udp.open(local(9), { onDatagram() {}, onError() {} }),
      };
      const held = [];
      for (const kind of process.argv.slice(1)) {
        let refusal = null;
        while (refusal === null && held.length < 1000)
          await opening[kind]().then((one) => held.push(one), (error) => (refusal = error));
        console.log(kind, refusal.code, held.length > 50, String(refusal).includes('not for them'));
      }
      for (let i = 0; i < 100; i++) openSync('/dev/null', 'r');
      process.exit(0);`;
    const saidOf = async (...kinds: readonly string[]): Promise<string> => {
      const node = `exec ${process.execPath} --input-type=module -e "$PROGRAM" ${kinds.join(' ')}`;
      const child = spawn('sh', ['-c', `ulimit -n 256; ${node}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, PROGRAM: program },
      });
      return text(child.stdout);
    };
    try {
      const said = await Promise.all([saidOf('TLS', 'TCP', 'UDP'), saidOf('UDP')]);
      expect(said.join('').trim().split('\n')).to.deep.equal([
        'TLS EMFILE true true',
        'TCP EMFILE true true',
        'UDP EMFILE true true',
        'UDP EMFILE true true',
      ]);
    } finally {
      secure.close();
    }
  });
});
