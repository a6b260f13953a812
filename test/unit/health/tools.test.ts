import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import { errorText, SystemError } from '../../../src/lib/errors.ts';
import { culpritOf } from '../../../src/health/stray.ts';
import { CheckCut } from '../../../src/health/check-cut.ts';
import { asHealth, judge } from '../../../src/health/judge.ts';
import { makeGates, makeTools } from '../../../src/health/tools.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import type { Mono, Stream, UdpHandlers, UdpSocket, World } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const NOTES = { log: () => {}, observe: () => {}, count: () => {} };
const ON_TIME = new FakeWorld().world;
const TLS = { servername: null, verify: false };

function toolsOf(parts: Partial<World> = {}) {
  const fake = new FakeWorld();
  const tools = makeTools('Test', { ...fake.world, ...parts }, makeGates(), NOTES, () => {});
  return { fake, tools };
}

function fakeStream(over: Partial<Stream> = {}): Stream {
  const nowhere = { address: '10.0.0.9', port: 25 };
  const nothing = { on() {}, write: () => true, end() {}, pause() {}, resume() {}, close() {} };
  return { local: nowhere, remote: nowhere, ...nothing, ...over };
}

const thrownBy = (act: Promise<unknown>): Promise<unknown> =>
  act.then(
    () => null,
    (thrown: unknown) => thrown,
  );

describe('What monitors are handed', () => {
  it('reads files, and does not blame the server for one that cannot be read', async () => {
    const { fake, tools } = toolsOf();
    fake.write('/etc/ca.pem', 'PEM');
    expect(new TextDecoder().decode(await tools.read('/etc/ca.pem', 100, new Knife()))).to.equal('PEM');
    for (const [path, code] of [
      ['/etc/none.pem', 'ENOENT'],
      ['/etc/ca.pem', 'EFBIG'],
    ] as const) {
      const threw = await thrownBy(tools.read(path, 2, new Knife()));
      const health = judge({ threw, timedOut: false }, new CheckCut(), ON_TIME, 1000);
      expect(health).to.have.property('is', 'unknown');
      expect(health).to.have.property('reason').that.includes(code);
    }
  });

  it('hears what came in before it cuts a part of a check whose time is over', async () => {
    const { tools } = toolsOf({ clock: createClock() });
    const { cut, release } = tools.deadline(new CheckCut(), 20);
    const heard: boolean[] = [];
    // As sockets are read: after the timers that are due, however long these take.
    const answered = new Promise<void>((resolve) => {
      setImmediate(() => {
        heard.push(!cut.aborted);
        resolve();
      });
      for (const until = performance.now() + 60; performance.now() < until; );
    });
    await answered;
    await new Promise((resolve) => setTimeout(resolve, 30));
    release();
    expect(heard).to.deep.equal([true]);
    expect(cut.aborted).to.equal(true);
  });

  it('waits for no file longer than the check has time, nor for ever, and does not blame the server', async () => {
    const never = new Promise<never>(() => {});
    const fake = new FakeWorld();
    const { tools } = toolsOf({
      clock: fake.world.clock,
      files: { ...fake.world.files, read: () => never, stat: () => never },
    });
    const cut = new CheckCut();
    const cutShort = thrownBy(tools.read('/mnt/ca.pem', 100, cut));
    cut.abort();
    expect(judge({ threw: await cutShort, timedOut: true }, cut, ON_TIME, 1000)).to.deep.equal({
      is: 'unknown',
      reason: 'read /mnt/ca.pem: ECANCELED: the check was cut before the file system answered',
    });
    const endless = new CheckCut();
    const waited = thrownBy(tools.stat('/mnt/ca.pem', endless));
    await fake.clock.advance(60_000);
    expect(judge({ threw: await waited, timedOut: false }, endless, ON_TIME, 0)).to.deep.equal({
      is: 'unknown',
      reason: 'stat /mnt/ca.pem: ETIMEDOUT: the file system does not answer',
    });
  });

  it('asks a file system that hangs once, however many checks want to know', async () => {
    const fake = new FakeWorld();
    let reads = 0;
    let answer = (_: Uint8Array): void => {};
    const read = () => {
      reads++;
      return new Promise<Uint8Array>((resolve) => (answer = resolve));
    };
    const { tools } = toolsOf({ files: { ...fake.world.files, read } });
    for (let i = 0; i < 10; i++) {
      const cut = new CheckCut();
      const threw = thrownBy(tools.read('/mnt/ca.pem', 100, cut));
      cut.abort();
      expect(await threw).to.be.instanceOf(SystemError);
    }
    const last = tools.read('/mnt/ca.pem', 100, new CheckCut());
    expect(reads).to.equal(1);
    answer(Uint8Array.of(1));
    expect(await last).to.deep.equal(Uint8Array.of(1));
    void tools.read('/mnt/ca.pem', 100, new CheckCut());
    expect(reads).to.equal(2);
  });

  it('begins TLS on the stream itself, not on its fence, and fences what comes of it', async () => {
    const plain = fakeStream();
    const closed: string[] = [];
    const secured = fakeStream({
      tls: { protocol: 'TLSv1.3', alpn: 'h2', certificate: null },
      on: (handlers) => handlers.onEnd(),
      close: (how) => void closed.push(how),
    });
    const given: Stream[] = [];
    const { tools } = toolsOf({
      streams: {
        connect: async () => plain,
        secure: async (stream) => {
          given.push(stream);
          return secured;
        },
        listen: () => Promise.reject(new SystemError('ENOSYS', 'listen')),
      },
    });
    const cut = new CheckCut();
    const stream = await tools.secure(await tools.connect({ address: '10.0.0.9', port: 25 }, cut), TLS, cut);
    expect(given).to.deep.equal([plain]);
    expect(stream.tls?.alpn).to.equal('h2');
    const boom = () => {
      throw new Error('boom');
    };
    stream.on({ onData() {}, onEnd: boom, onDrain() {}, onClose() {} });
    expect(cut.spoilt).to.equal('a bug in the monitor: boom');
    expect(closed).to.deep.equal(['rst']);
  });

  it('sends octets only: a text is a bug of the monitor that says what to do, in a check and in a handler', async () => {
    const sent: unknown[] = [];
    const closed: string[] = [];
    let hear = (): void => {};
    const inner = fakeStream({
      write: (bytes) => sent.push(bytes) > 0,
      close: (how) => void closed.push(how),
      on: (handlers) => void (hear = () => handlers.onData(new Uint8Array())),
    });
    const secure = () => Promise.reject(new SystemError('ENOSYS', 'secure'));
    const listen = () => Promise.reject(new SystemError('ENOSYS', 'listen'));
    const { tools } = toolsOf({ streams: { connect: async () => inner, secure, listen } });
    const write = (stream: Stream, what: unknown) => stream.write(what as Uint8Array);
    const says = 'stream.write takes octets, not a string: use new TextEncoder().encode(text)';
    const inCheck = new CheckCut();
    const first = await tools.connect({ address: '10.0.0.9', port: 25 }, inCheck);
    write(first, Buffer.from('a'));
    write(first, Uint8Array.of(66));
    expect(() => write(first, 'PING')).to.throw(TypeError, says);
    expect([inCheck.spoilt, closed]).to.deep.equal([`a bug in the monitor: ${says}`, ['rst']]);
    expect(judge({ threw: new TypeError(says), timedOut: false }, inCheck, ON_TIME, 1000)).to.include({
      is: 'unknown',
    });
    const inHandler = new CheckCut();
    const second = await tools.connect({ address: '10.0.0.9', port: 25 }, inHandler);
    second.on({ onData: () => void write(second, 'PING'), onEnd() {}, onDrain() {}, onClose() {} });
    hear();
    expect(inHandler.spoilt).to.equal(`a bug in the monitor: ${says}`);
    expect(sent).to.have.length(2);
  });

  it('sends octets only over UDP, too', async () => {
    const sent: unknown[] = [];
    const socket = {
      local: { address: '10.0.0.1', port: 9 },
      send: (bytes: unknown) => void sent.push(bytes),
      close() {},
    };
    const { tools } = toolsOf({ udp: { open: async () => socket } });
    const cut = new CheckCut();
    const opened = await tools.datagram({ address: '10.0.0.9', port: 53 }, { onDatagram() {}, onError() {} }, cut);
    opened.send(Uint8Array.of(66));
    const text: unknown = 'PING';
    const says = 'socket.send takes octets, not a string: use new TextEncoder().encode(text)';
    expect(() => opened.send(text as Uint8Array)).to.throw(TypeError, says);
    expect([sent.length, cut.spoilt]).to.deep.equal([1, `a bug in the monitor: ${says}`]);
  });

  it('calls bad certificates of our own unknown, and the certificate of a server down', async () => {
    for (const [code, is] of [
      ['EINVAL', 'unknown'],
      ['EPROTO', 'down'],
      ['ECONNRESET', 'down'],
    ] as const) {
      const fail = () => Promise.reject(new SystemError(code, 'secure', 'in words'));
      const { tools } = toolsOf({ streams: { connect: async () => fakeStream(), secure: fail, listen: fail } });
      const cut = new CheckCut();
      const stream = await tools.connect({ address: '10.0.0.9', port: 25 }, cut);
      const threw = await thrownBy(tools.secure(stream, TLS, cut));
      expect(judge({ threw, timedOut: false }, cut, ON_TIME, 1000).is, code).to.equal(is);
    }
  });

  it('closes a TLS stream that came too late', async () => {
    const closed: string[] = [];
    const knife = new Knife();
    const late = async () => {
      knife.abort();
      return fakeStream({ close: (how) => void closed.push(how) });
    };
    const { tools } = toolsOf({ streams: { connect: late, secure: late, listen: () => Promise.reject(new Error()) } });
    expect(await thrownBy(tools.secure(fakeStream(), TLS, knife))).to.have.property('code', 'ECANCELED');
    expect(closed).to.deep.equal(['rst']);
  });

  it('says why a connection failed in PyBal’s words, and what else is known of it', async () => {
    const failing = (error: SystemError) =>
      toolsOf({ streams: { ...new FakeWorld().world.streams, connect: () => Promise.reject(error) } }).tools;
    const wordsOf = async (detail: string): Promise<string> => {
      const tools = failing(new SystemError('EHOSTUNREACH', 'connect 192.0.2.1:80', detail));
      return errorText(await thrownBy(tools.connect({ address: '192.0.2.1', port: 80 }, new CheckCut())));
    };
    expect(await wordsOf('')).to.equal('No route to host: 113: No route to host.');
    expect(await wordsOf('ICMP communication prohibited')).to.equal(
      'No route to host: 113: No route to host. (ICMP communication prohibited)',
    );
  });

  describe('for UDP and pings', () => {
    const HERE = { address: '10.0.0.9', port: 53 };
    const NOTHING: UdpHandlers = { onDatagram() {}, onError() {} };

    /** Tools over a socket of which a test has the handlers. */
    function socketOf(over: Partial<UdpSocket> = {}, onOpen = () => {}) {
      const seen: { handlers: UdpHandlers | null; closed: number } = { handlers: null, closed: 0 };
      const open = async (_: unknown, handlers: UdpHandlers): Promise<UdpSocket> => {
        onOpen();
        seen.handlers = handlers;
        return { local: HERE, send() {}, close: () => void seen.closed++, ...over };
      };
      return { seen, ...toolsOf({ udp: { open } }) };
    }
    const down = { returned: { is: 'down', reason: 'no reply' }, timedOut: false };

    it('takes an ICMP error for the server’s, and what this host can not do for our own fault', async () => {
      for (const [code, is] of [
        ['ECONNREFUSED', 'down'],
        ['EHOSTUNREACH', 'down'],
        ['ENETUNREACH', 'unknown'],
        ['EPERM', 'unknown'],
        ['ENOBUFS', 'unknown'],
      ] as const) {
        const { tools, seen } = socketOf();
        const cut = new CheckCut();
        const heard: string[] = [];
        await tools.datagram(HERE, { ...NOTHING, onError: (error) => heard.push(error.code) }, cut);
        seen.handlers?.onError(new SystemError(code, 'udp'));
        expect(heard).to.deep.equal([code]);
        expect(judge(down, cut, ON_TIME, 1000).is, code).to.equal(is);
      }
    });

    it('says of an error that a monitor was handed or thrown whose it is from then on', async () => {
      const grounds = { root: 'file:///usr/lib/anybal/', strangers: true };
      const failed = new SystemError('ECONNRESET', 'read');
      let lose = (_: SystemError): void => {};
      const sending = new SystemError('EPERM', 'send');
      const { tools } = toolsOf({
        streams: {
          ...new FakeWorld().world.streams,
          connect: async () => fakeStream({ on: (handlers) => void (lose = (error) => handlers.onClose(error)) }),
        },
        udp: {
          async open(_, handlers) {
            handlers.onError(heard);
            const send = (): never => {
              throw sending;
            };
            return { local: HERE, send, close() {} };
          },
        },
      });
      const heard = new SystemError('ECONNREFUSED', 'udp');
      const cut = new Knife();
      const stream = await tools.connect(HERE, cut);
      stream.on({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
      lose(failed);
      const socket = await tools.datagram(HERE, NOTHING, cut);
      expect(() => socket.send(new Uint8Array())).to.throw(SystemError, 'EPERM');
      for (const error of [failed, heard, sending])
        expect(culpritOf(error, 'rejection', grounds), error.message).to.equal('monitor Test');
    });

    it('does not blame the server for what can not be sent or opened', async () => {
      const fail = (): never => {
        throw new SystemError('EPERM', 'send');
      };
      const { tools } = socketOf({ send: fail });
      const cut = new CheckCut();
      const socket = await tools.datagram(HERE, NOTHING, cut);
      expect(() => socket.send(new Uint8Array())).to.throw(SystemError, 'EPERM');
      expect(judge(down, cut, ON_TIME, 1000)).to.deep.equal({ is: 'unknown', reason: 'send: EPERM' });

      const closed = toolsOf({ udp: { open: () => Promise.reject(new SystemError('EMFILE', 'udp')) } });
      const other = new CheckCut();
      const threw = await thrownBy(closed.tools.datagram(HERE, NOTHING, other));
      expect(judge({ threw, timedOut: false }, other, ON_TIME, 1000)).to.deep.equal({
        is: 'unknown',
        reason: 'udp: EMFILE',
      });
    });

    it('closes the socket of a handler that throws, and calls that a bug', async () => {
      const { tools, seen } = socketOf();
      const cut = new CheckCut();
      const onDatagram = (): never => {
        throw new Error('oops');
      };
      await tools.datagram(HERE, { ...NOTHING, onDatagram }, cut);
      seen.handlers?.onDatagram(new Uint8Array());
      expect(seen.closed).to.equal(1);
      expect(judge(down, cut, ON_TIME, 1000)).to.deep.equal({ is: 'unknown', reason: 'a bug in the monitor: oops' });
    });

    it('closes a socket that came too late', async () => {
      const knife = new Knife();
      const { tools, seen } = socketOf({}, () => knife.abort());
      expect(await thrownBy(tools.datagram(HERE, NOTHING, knife))).to.have.property('code', 'ECANCELED');
      expect(seen.closed).to.equal(1);
    });

    it('knows nothing of a server that this process may not ping', async () => {
      for (const [code, is] of [
        ['EACCES', 'unknown'],
        ['ENETUNREACH', 'unknown'],
        ['EHOSTUNREACH', 'down'],
        ['ETIMEDOUT', 'down'],
      ] as const) {
        const { tools } = toolsOf({ icmp: { ping: () => Promise.reject(new SystemError(code, 'ping')) } });
        const cut = new CheckCut();
        const threw = await thrownBy(tools.ping({ address: '10.0.0.9' }, cut));
        expect(judge({ threw, timedOut: false }, cut, ON_TIME, 1000).is, code).to.equal(is);
      }
    });
  });

  it('may be waited for late, or not at all, when they fail', async () => {
    const refused = () => Promise.reject(new SystemError('ECONNREFUSED', 'connect'));
    const { tools } = toolsOf({
      streams: { connect: refused, secure: refused, listen: refused },
      http: { get: refused, post: refused, listen: refused } as unknown as World['http'],
      processes: { run: refused } as unknown as World['processes'],
      icmp: { ping: refused } as unknown as World['icmp'],
      udp: { open: refused } as unknown as World['udp'],
    });
    const cut = new CheckCut();
    const at = { address: '10.0.0.9', port: 25 };
    const handlers: UdpHandlers = { onDatagram() {}, onError() {} };
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    try {
      const first = tools.connect(at, cut);
      void tools.secure(fakeStream(), TLS, cut);
      void tools.read('/none', 1, cut);
      void tools.stat('/none', cut);
      void tools.datagram(at, handlers, cut);
      void tools.ping({ address: at.address }, cut);
      void tools.run({ path: '/none', args: [], env: {}, timeoutMs: 1, maxOutputBytes: 1 }, cut);
      void tools.fetch({ url: 'http://none/', timeoutMs: 1, maxBytes: 1 }, cut);
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(unhandled).to.deep.equal([]);
      expect(await thrownBy(first)).to.be.instanceOf(SystemError);
    } finally {
      process.off('unhandledRejection', note);
    }
  });

  it('does not blame the server for a connection that was lost by our own fault', async () => {
    for (const [code, is] of [
      ['ENETDOWN', 'unknown'],
      ['ENOBUFS', 'unknown'],
      // The zone of a link-local address has gone; all watches of epoll(7) are used up.
      ['ENODEV', 'unknown'],
      ['ENOSPC', 'unknown'],
      ['ECONNRESET', 'down'],
    ] as const) {
      let lose = (_: SystemError): void => {};
      const stream = fakeStream({ on: (handlers) => void (lose = (error) => handlers.onClose(error)) });
      const refused = async () => Promise.reject(new SystemError('ENOSYS', 'listen'));
      const { tools } = toolsOf({ streams: { connect: async () => stream, secure: refused, listen: refused } });
      const cut = new CheckCut();
      const connected = await tools.connect({ address: '10.0.0.9', port: 25 }, cut);
      const lost = new Promise((resolve) =>
        connected.on({ onData() {}, onEnd() {}, onDrain() {}, onClose: (error) => resolve(error) }),
      );
      lose(new SystemError(code, 'read'));
      expect(judge({ threw: await lost, timedOut: false }, cut, ON_TIME, 1000), code).to.have.property('is', is);
    }
  });

  it('counts what is open: what is closed, lost or used up is not', async () => {
    const seen: number[] = [];
    let lose = (_: SystemError | null): void => {};
    const refused = async () => Promise.reject(new SystemError('ENOSYS', 'listen'));
    const world = {
      ...new FakeWorld().world,
      streams: {
        connect: async () => fakeStream({ on: (handlers) => void (lose = (error) => handlers.onClose(error)) }),
        secure: async () => fakeStream(),
        listen: refused,
      },
      udp: { open: async () => ({ local: { address: '10.0.0.1', port: 1 }, send() {}, close() {} }) },
    };
    const look = (open: number): number => {
      seen.push(open);
      return 0;
    };
    const tools = makeTools('Test', world, makeGates(), NOTES, () => {}, look);
    const at = { address: '10.0.0.9', port: 25 };
    const cut = new CheckCut();
    const first = await tools.connect(at, cut);
    const second = await tools.connect(at, cut);
    const secured = await tools.secure(second, TLS, cut);
    expect(seen.splice(0)).to.deep.equal([1, 2, 2]);
    first.close('rst');
    first.close('rst');
    second.close('rst');
    secured.close('fin');
    const third = await tools.connect(at, cut);
    third.on({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    lose(null);
    const socket = await tools.datagram(at, { onDatagram() {}, onError() {} }, cut);
    socket.close();
    socket.close();
    await tools.connect(at, cut);
    expect(seen).to.deep.equal([1, 1, 1]);
  });
});
