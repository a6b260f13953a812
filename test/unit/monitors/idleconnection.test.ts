import type net from 'node:net';
import { expect } from 'chai';
import idleconnection from '../../../monitors/idleconnection.ts';
import type { ConnectOptions, Stream, StreamHandlers, World } from '../../../src/world/world.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';

const LOST = 'Connection to the other side was lost in a non-clean fashion: Connection lost.';
const REFUSED = 'Connection was refused by other side: 111: Connection refused.';

describe('IdleConnection', () => {
  const closing: (() => Promise<void>)[] = [];

  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });

  async function serving(onSocket: (socket: net.Socket) => void = () => {}) {
    const server = await serve(onSocket);
    closing.push(server.close);
    return server;
  }

  function run(port: number, parts: Partial<World> = {}): Bench {
    const bench = runMonitor(idleconnection, {}, { port }, parts);
    closing.unshift(() => bench.stop());
    return bench;
  }

  /** The runner's pauses, shortened: a second is a twentieth of one. */
  function hurried(): Partial<World> {
    const clock = createClock();
    return {
      clock: {
        now: () => clock.now(),
        wall: () => clock.wall(),
        at: (ms, fn) => clock.at(ms / 20, fn),
        sleep: (ms, cut) => clock.sleep(ms / 20, cut),
      },
    };
  }

  const never = () => Promise.reject(new SystemError('ENOSYS', 'streams'));
  const turn = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  it('has the defaults of PyBal', () => {
    expect(withDefaults(idleconnection, {})).to.include({
      'timeout-clean-reconnect': 3,
      'max-delay': 300,
      keepalive: true,
      'keepalive-retries': 3,
      'keepalive-idle': 10,
      'keepalive-interval': 30,
    });
  });

  it('is up when connected, sends nothing and ignores what it is sent', async () => {
    const server = await serving((socket) => socket.write('220 mail.example.org ESMTP\r\n'));
    const bench = run(server.port);
    expect(await bench.result()).to.deep.equal({ is: 'up' });
    await turn(50);
    expect(server.seen).to.deep.equal({ connections: 1, text: '' });
    expect(bench.results).to.have.length(1);
    await bench.stop();
    expect(bench.results).to.have.length(1);
  });

  it('is down at once when refused, and counts it', async () => {
    const server = await serving();
    await server.close();
    const bench = run(server.port);
    expect(await bench.result()).to.deep.equal({ is: 'down', reason: REFUSED });
    expect(bench.lines).to.deep.equal([`WARN Connection to 127.0.0.1:${server.port} failed.`]);
    expect(bench.measured).to.deep.equal(['connections_failed_total {"reason":"ConnectionRefusedError"}']);
  });

  it('is down at once when the connection is reset, and counts it', async () => {
    const server = await serving();
    const bench = run(server.port);
    await bench.result();
    for (const socket of server.sockets) socket.resetAndDestroy();
    expect(await bench.result(2)).to.deep.equal({ is: 'down', reason: LOST });
    expect(bench.lines).to.deep.equal([`INFO Connection to 127.0.0.1:${server.port} lost.`]);
    expect(bench.measured).to.deep.equal(['connections_lost_total {"reason":"ConnectionLost"}']);
  });

  it('changes nothing when the server closes cleanly and takes the next connection', async () => {
    const server = await serving();
    const bench = run(server.port, hurried());
    await bench.result();
    for (const socket of server.sockets) socket.end();
    await bench.result(2);
    expect(bench.results).to.deep.equal([{ is: 'up' }, { is: 'up' }]);
    expect(server.seen.connections).to.equal(2);
    expect(bench.measured).to.deep.equal(['connections_closed_total {}']);
  });

  /** The first connection is there until nobody answers its keepalives, or it is lost otherwise; the next one fails. */
  async function lost(how: string, code: string): Promise<Bench> {
    let held: StreamHandlers | null = null;
    const nothing = (): void => {};
    const stream: Stream = {
      local: { address: '127.0.0.1', port: 1 },
      remote: { address: '127.0.0.1', port: 25 },
      on: (handlers) => void (held = handlers),
      write: () => true,
      ...{ end: nothing, pause: nothing, resume: nothing, tune: nothing, close: nothing },
    };
    const connect = async () => {
      if (held === null) return stream;
      throw new SystemError(code, 'connect');
    };
    const streams = { connect, secure: never, listen: never };
    const bench = runMonitor(idleconnection, {}, { port: 25 }, { ...hurried(), streams });
    closing.push(() => bench.stop());
    await bench.result();
    (held as StreamHandlers | null)?.onClose(new SystemError(how, 'read'));
    await bench.result(2);
    return bench;
  }

  it('lets the next connection tell, when nobody answers its keepalives, whether that is the server', async () => {
    const bench = await lost('ETIMEDOUT', 'ECONNREFUSED');
    expect(bench.results.slice(1)).to.deep.equal([{ is: 'down', reason: REFUSED }]);
    expect(bench.lines.map((line) => line.replace(/ .* /, ' … '))).to.deep.equal(['INFO … lost.', 'WARN … failed.']);
    expect(bench.measured[0]).to.equal('connections_lost_total {"reason":"ConnectionLost"}');
  });

  it('does not call the servers down when this host has lost its way to them', async () => {
    for (const how of ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH']) {
      const bench = await lost(how, 'ENETUNREACH');
      expect(bench.results.slice(1).map(({ is }) => is)).to.deep.equal(['unknown']);
    }
    expect((await lost('ECONNRESET', 'ENETUNREACH')).results[1]).to.deep.equal({ is: 'down', reason: LOST });
  });

  it('is down when the server closes cleanly and takes no other', async () => {
    const server = await serving();
    const bench = run(server.port, hurried());
    await bench.result();
    const closed = server.close();
    expect(await bench.result(2)).to.deep.include({ is: 'down' });
    await closed;
  });

  it('gives a connection its time only', async () => {
    const connect = (_: ConnectOptions, cut: { onAbort(fn: () => void): () => void }) =>
      new Promise<never>((_, reject) => cut.onAbort(() => reject(new SystemError('ECANCELED', 'connect'))));
    const bench = runMonitor(
      idleconnection,
      { 'connect-timeout': 0.1 },
      {},
      { streams: { connect, secure: never, listen: never } },
    );
    closing.push(() => bench.stop());
    expect(await bench.result()).to.deep.equal({ is: 'down', reason: 'User timeout caused connection failure.' });
    expect(bench.measured).to.deep.equal(['connections_failed_total {"reason":"TimeoutError"}']);
  });

  it('does not call what is our own fault a failed connection', async () => {
    const connect = () => Promise.reject(new SystemError('EMFILE', 'socket'));
    const bench = runMonitor(idleconnection, {}, { port: 25 }, { streams: { connect, secure: never, listen: never } });
    closing.push(() => bench.stop());
    expect(await bench.result()).to.deep.equal({ is: 'unknown', reason: 'socket: EMFILE' });
    expect(bench.lines).to.deep.equal(['DEBUG Connection to 127.0.0.1:25 could not be tried: socket: EMFILE']);
    expect(bench.measured).to.deep.equal(['connections_failed_total {"reason":"ConnectBindError"}']);
  });

  it('asks for keepalives with the four options, or for none', async () => {
    const asked: ConnectOptions[] = [];
    const connect = (options: ConnectOptions) => {
      asked.push(options);
      return Promise.reject(new SystemError('ECONNREFUSED', 'connect'));
    };
    for (const keepalive of [true, false]) {
      const given = { keepalive, 'keepalive-idle': 7 };
      const bench = runMonitor(
        idleconnection,
        given,
        { port: 25 },
        { streams: { connect, secure: never, listen: never } },
      );
      closing.push(() => bench.stop());
      await bench.result();
    }
    expect(asked).to.deep.equal([
      { address: '127.0.0.1', port: 25, keepAlive: { idleSeconds: 7, intervalSeconds: 30, retries: 3 } },
      { address: '127.0.0.1', port: 25 },
    ]);
  });
});
