import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, TLSSocket } from 'node:tls';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { openQuickDial } from '../../../src/world/real/quick-stream.ts';
import { openSocketOptions } from '../../../src/world/real/socket-options.ts';
import { createStreams, type SocketOptions } from '../../../src/world/real/streams.ts';
import type { ConnectOptions, World } from '../../../src/world/world.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { listening } from '../../support/listening.ts';
import { codeOf, recorder } from '../../support/world-conformance.ts';

const AUTHORITIES = systemAuthorities();
const streams = createStreams(AUTHORITIES, openSocketOptions());
/** As the daemon has them. */
const quickDial = openQuickDial(openSocketOptions());
const withQuickOnes = createStreams(AUTHORITIES, openSocketOptions(), quickDial);
const kinds = [
  ['of Node', streams, null],
  ['of system calls', withQuickOnes, quickDial],
] as const;
const world = { clock: createClock(), streams } as unknown as World;

for (const [kind, streams, quick] of kinds)
  describe(`A TLS stream above one ${kind}`, () => {
    const peers: Socket[] = [];
    const server = createTlsServer({ cert: CERTIFICATE, key: KEY, ALPNProtocols: ['echo'] }, (socket) => {
      peers.push(socket);
      socket.on('error', () => {});
      socket.write('hello');
      socket.on('data', (bytes) => socket.end(`you said ${bytes}`));
    });
    let port = 0;
    const connect = (tls: NonNullable<ConnectOptions['tls']>) =>
      streams.connect({ address: '127.0.0.1', port, tls }, new Knife());
    before(async () => {
      port = await listening(server);
    });
    after(() => {
      for (const peer of peers) peer.destroy();
      server.close();
    });

    it('carries bytes both ways, what came before `on` included', async () => {
      const stream = await connect({ servername: 'real.example', verify: false });
      await world.clock.sleep(30);
      const seen = recorder(world, stream);
      await seen.until(() => seen.received() === 'hello');
      stream.write(new Uint8Array(Buffer.from('hi')));
      await seen.until(() => seen.events.includes('end'));
      expect(seen.received()).to.equal('helloyou said hi');
      stream.close('fin');
      await seen.until(() => seen.events.includes('close'));
      expect(seen.events).to.deep.equal(['data', 'end', 'close']);
    });

    it('to a certificate that no known authority signed is refused when it is to be verified', async () => {
      const error = await connect({ servername: 'real.example', verify: true }).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      expect(error).to.be.instanceOf(SystemError).with.property('code', 'EPROTO');
      expect(String(error)).to.match(/self-signed certificate/);
    });

    it('to a certificate of a known authority is made, if it is for that name', async () => {
      const trusting = createStreams(() => createSecureContext({ ca: CERTIFICATE }), openSocketOptions(), quick);
      const ask = (servername: string | null) =>
        trusting.connect({ address: '127.0.0.1', port, tls: { servername, verify: true } }, new Knife());
      (await ask('real.example')).close('rst');
      expect(await codeOf(ask('other.example'))).to.equal('EPROTO');
      expect(await codeOf(ask(null))).to.equal('EPROTO');
    });

    it('trusts the authorities that it was given, and nobody else', async () => {
      const dial = (ca: string) => connect({ servername: 'real.example', verify: true, ca });
      (await dial(CERTIFICATE)).close('rst');
      for (const ca of ['', 'no PEM']) expect(await codeOf(dial(ca)), ca).to.equal('EINVAL');
      expect(await codeOf(dial('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'))).to.equal('EINVAL');
    });

    it('comes from the local address that it was given, and is kept alive as a plain one is', async () => {
      const keepAlive = { idleSeconds: 10, intervalSeconds: 30, retries: 3 };
      const to = { address: '127.0.0.1', port, localAddress: '127.0.0.77', keepAlive };
      const stream = await streams.connect({ ...to, tls: { servername: null, verify: false } }, new Knife());
      expect(stream.local.address).to.equal('127.0.0.77');
      expect(stream.remote).to.deep.equal({ address: '127.0.0.1', port });
      const timer = () => {
        const { stdout, error } = spawnSync('ss', ['-tnoH', `sport = :${stream.local.port}`], { encoding: 'utf8' });
        if (error !== undefined) throw new Error('this test needs ss (Debian: iproute2)');
        return stdout;
      };
      // Before it, the one that sends again what was not acknowledged yet.
      for (let waited = 0; !timer().includes('keepalive') && waited < 2000; waited += 50) await world.clock.sleep(50);
      expect(timer()).to.match(/timer:\(keepalive,([7-9]\.\d+m?s|10)/);
      stream.close('rst');
    });

    it('can ask for one name and want a certificate for another', async () => {
      const dial = (verifyName: string) =>
        connect({ servername: 'front.example', verify: true, verifyName, ca: CERTIFICATE });
      (await dial('real.example')).close('rst');
      expect(await codeOf(dial('192.0.2.1'))).to.equal('EPROTO');
    });

    it('tells what was agreed on, and whose certificate it is', async () => {
      const stream = await connect({ servername: 'real.example', verify: false, alpn: ['h2', 'echo'] });
      expect(stream.tls).to.deep.equal({
        protocol: 'TLSv1.3',
        alpn: 'echo',
        certificate: {
          subject: 'CN=real.example',
          issuer: 'CN=real.example',
          validFrom: Date.UTC(2000, 0, 1),
          validTo: Date.UTC(2100, 0, 1),
          names: ['real.example'],
        },
      });
      stream.close('rst');
      const silent = await connect({ servername: null, verify: false });
      expect(silent.tls?.alpn).to.equal(null);
      silent.close('rst');
    });

    it('shows the certificate that it was given, to a server that wants one', async () => {
      const wanting = createTlsServer(
        { cert: CERTIFICATE, key: KEY, ca: CERTIFICATE, requestCert: true, maxVersion: 'TLSv1.2' },
        (socket) => socket.on('error', () => {}).end(),
      );
      try {
        const at = { address: '127.0.0.1', port: await listening(wanting) };
        const dial = (certificate?: { cert: string; key: string }) => {
          const tls = { servername: null, verify: false, ...(certificate && { certificate }) };
          return streams.connect({ ...at, tls }, new Knife());
        };
        (await dial({ cert: CERTIFICATE, key: KEY })).close('rst');
        // With TLS 1.3 we hear of it only after the handshake: below.
        expect(await codeOf(dial())).to.match(/^E/);
        expect(await codeOf(dial({ cert: CERTIFICATE, key: 'no key' }))).to.equal('EINVAL');
      } finally {
        wanting.close();
      }
    });

    it('ends with the alert that the other side sent', async () => {
      const wanting = createTlsServer({ cert: CERTIFICATE, key: KEY, ca: CERTIFICATE, requestCert: true });
      wanting.on('tlsClientError', () => {});
      try {
        const tls = { servername: null, verify: false };
        const stream = await streams.connect(
          { address: '127.0.0.1', port: await listening(wanting), tls },
          new Knife(),
        );
        const closed: string[] = [];
        const nothing = { onData() {}, onDrain() {}, onEnd: () => closed.push('end') };
        stream.on({ ...nothing, onClose: (error) => closed.push(error?.message ?? 'in order') });
        for (let waited = 0; closed.length === 0 && waited < 2000; waited += 5) await world.clock.sleep(5);
        expect(closed).to.have.length(1);
        expect(closed[0]).to.match(/alert certificate required/);
      } finally {
        wanting.close();
      }
    });

    it('is reset at once when asked to', async () => {
      const before = peers.length;
      const stream = await connect({ servername: null, verify: false });
      for (let waited = 0; peers.length === before && waited < 2000; waited += 5) await world.clock.sleep(5);
      const peer = peers[before];
      const reset = new Promise<string>((resolve) => {
        peer?.removeAllListeners('error').on('error', (error) => resolve('code' in error ? String(error.code) : ''));
      });
      const seen = recorder(world, stream);
      stream.close('rst');
      await seen.until(() => seen.events.includes('close'));
      expect(await reset).to.equal('ECONNRESET');
    });

    it('to something that speaks no TLS, or closes at once, fails', async () => {
      const plain = createServer((socket) => socket.on('error', () => {}).end('220 not TLS at all, sorry\r\n'));
      const closing = createServer((socket) => socket.on('error', () => {}).destroy());
      try {
        const tls = { servername: null, verify: false };
        const plainAt = { address: '127.0.0.1', port: await listening(plain), tls };
        expect(await codeOf(streams.connect(plainAt, new Knife()))).to.equal('EPROTO');
        const closingAt = { address: '127.0.0.1', port: await listening(closing), tls };
        expect(await codeOf(streams.connect(closingAt, new Knife()))).to.equal('ECONNRESET');
      } finally {
        plain.close();
        closing.close();
      }
    });

    it('whose handshake hangs is let go when cut', async () => {
      const held: Socket[] = [];
      const silent = createServer((socket) => held.push(socket.on('error', () => {})));
      try {
        const knife = new Knife();
        const options = {
          address: '127.0.0.1',
          port: await listening(silent),
          tls: { servername: null, verify: false },
        };
        setTimeout(() => knife.abort(), 50);
        expect(await codeOf(streams.connect(options, knife))).to.equal('ECANCELED');
      } finally {
        for (const socket of held) socket.destroy();
        silent.close();
      }
    });
  });

for (const [kind, streams] of kinds)
  describe(`A stream ${kind} that begins TLS later`, () => {
    const heard: string[] = [];
    const sockets: Socket[] = [];
    const context = createSecureContext({ cert: CERTIFICATE, key: KEY });
    const server = createServer((raw) => {
      sockets.push(raw.on('error', () => {}));
      raw.write('220 hello\r\n');
      raw.once('data', (bytes) => {
        heard.push(String(bytes));
        raw.write('220 go ahead\r\n');
        const secured = new TLSSocket(raw, { isServer: true, secureContext: context });
        secured.on('error', () => {});
        secured.on('data', (said) => secured.write(`you said ${said}`));
      });
    });
    let port = 0;
    before(async () => {
      port = await listening(server);
    });
    after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const tls = { servername: 'real.example', verify: true, ca: CERTIFICATE };

    it('goes on as another one, and says nothing more itself', async () => {
      const plain = await streams.connect({ address: '127.0.0.1', port }, new Knife());
      const seen = recorder(world, plain);
      await seen.until(() => seen.received() === '220 hello\r\n');
      plain.write(new Uint8Array(Buffer.from('STARTTLS\r\n')));
      await seen.until(() => seen.received().endsWith('go ahead\r\n'));
      const stream = await streams.secure(plain, tls, new Knife());
      expect(stream.tls?.protocol).to.equal('TLSv1.3');
      expect(stream.remote).to.deep.equal(plain.remote);
      const secured = recorder(world, stream);
      plain.write(new Uint8Array(Buffer.from('in the clear')));
      plain.close('rst');
      stream.write(new Uint8Array(Buffer.from('hi')));
      await secured.until(() => secured.received() === 'you said hi');
      stream.close('rst');
      await secured.until(() => secured.events.includes('close'));
      expect(heard).to.deep.equal(['STARTTLS\r\n']);
      expect(seen.events).to.deep.equal(['data']);
    });

    it('can do so only once, and only while it is there', async () => {
      const closed = await streams.connect({ address: '127.0.0.1', port }, new Knife());
      closed.close('rst');
      expect(await codeOf(streams.secure(closed, tls, new Knife()))).to.equal('ECONNRESET');
      const plain = await streams.connect({ address: '127.0.0.1', port }, new Knife());
      plain.write(new Uint8Array(Buffer.from('now')));
      const seen = recorder(world, plain);
      await seen.until(() => seen.received().endsWith('go ahead\r\n'));
      const stream = await streams.secure(plain, tls, new Knife());
      expect(await codeOf(streams.secure(plain, tls, new Knife()))).to.equal('ECONNRESET');
      expect(await codeOf(streams.secure(stream, tls, new Knife()))).to.equal('ECONNRESET');
      stream.close('rst');
    });

    it('is closed when the certificate is not the one wanted, or when cut', async () => {
      const open = async () => {
        const plain = await streams.connect({ address: '127.0.0.1', port }, new Knife());
        plain.write(new Uint8Array(Buffer.from('now')));
        const seen = recorder(world, plain);
        await seen.until(() => seen.received().endsWith('go ahead\r\n'));
        return plain;
      };
      expect(await codeOf(streams.secure(await open(), { ...tls, servername: 'x' }, new Knife()))).to.equal('EPROTO');
      const knife = new Knife();
      knife.abort();
      expect(await codeOf(streams.secure(await open(), tls, knife))).to.equal('ECANCELED');
      const silent = createServer((socket) => sockets.push(socket.on('error', () => {})));
      const at = { address: '127.0.0.1', port: await listening(silent) };
      const waiting = streams.secure(await streams.connect(at, new Knife()), tls, knifeIn(30));
      expect(await codeOf(waiting)).to.equal('ECANCELED');
      silent.close();
    });

    it('can have a preface before TLS', async () => {
      let first = '';
      const closing = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', (bytes) => {
          first = bytes.toString('latin1');
          socket.destroy();
        });
      });
      const at = { address: '127.0.0.1', port: await listening(closing) };
      const preface = new Uint8Array(Buffer.from('PROXY UNKNOWN\r\n'));
      expect(await codeOf(streams.connect({ ...at, preface, tls }, new Knife()))).to.equal('ECONNRESET');
      // Perhaps together with the first byte of TLS.
      expect(first).to.match(/^PROXY UNKNOWN\r\n(\x16|$)/);
      closing.close();
    });
  });

/** Cut after a while. */
function knifeIn(ms: number): Knife {
  const knife = new Knife();
  setTimeout(() => knife.abort(), ms);
  return knife;
}

for (const [kind, streams] of kinds)
  describe(`A TCP stream ${kind}`, () => {
    const dial =
      kind === 'of Node' ? () => null : (options: SocketOptions, lingerMs?: number) => openQuickDial(options, lingerMs);
    const peers: Socket[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => peers.push(socket.on('error', () => {})));
    let port = 0;
    before(async () => {
      port = await listening(server);
    });
    after(() => {
      for (const peer of peers) peer.destroy();
      server.close();
    });

    it('sends keep-alive probes as often as asked for', async () => {
      const asked: string[] = [];
      const options = openSocketOptions();
      const spy: SocketOptions = {
        ...options,
        setKeepAlive(fd, intervalSeconds, retries) {
          options.setKeepAlive(fd, intervalSeconds, retries);
          asked.push(`every ${intervalSeconds} s, ${retries} times`);
        },
      };
      const spied = createStreams(AUTHORITIES, spy, dial(spy));
      const keepAlive = { idleSeconds: 10, intervalSeconds: 30, retries: 3 };
      const stream = await spied.connect({ address: '127.0.0.1', port, keepAlive }, new Knife());
      const { stdout, error } = spawnSync('ss', ['-tnoH', `sport = :${stream.local.port}`], { encoding: 'utf8' });
      stream.close('rst');
      if (error !== undefined) throw new Error('this test needs ss (Debian: iproute2)');
      // The kernel shows the timer that runs: the idle time before the first probe (`9.992ms` is 9.992 s).
      expect(stdout).to.match(/timer:\(keepalive,(9\.\d+m?s|10)/);
      expect(asked).to.deep.equal(['every 30 s, 3 times']);
    });

    it('has the TTL that it was given, from its SYN on', async () => {
      const stream = await streams.connect({ address: '127.0.0.1', port, tcp: { ttl: 255 } }, new Knife());
      expect(stream.remote.port).to.equal(port);
      stream.close('rst');
      expect(await codeOf(streams.connect({ address: '127.0.0.1', port, tcp: { ttl: 300 } }, new Knife()))).to.equal(
        'EINVAL',
      );
    });

    it('whose TTL can not be set is not opened', async () => {
      const without = createStreams(AUTHORITIES, null);
      expect(await codeOf(without.connect({ address: '127.0.0.1', port, tcp: { ttl: 255 } }, new Knife()))).to.equal(
        'ENOTSUP',
      );
    });

    it('has its mark before its first packet, or is not opened', async () => {
      const options = openSocketOptions();
      const marked: (number | undefined)[] = [];
      const spy: SocketOptions = { ...options, apply: (_fd, _family, _address, { mark }) => void marked.push(mark) };
      const spied = createStreams(AUTHORITIES, spy, dial(spy));
      const connected = await spied.connect({ address: '127.0.0.1', port, tcp: { mark: 0x0a000001 } }, new Knife());
      connected.close('rst');
      expect(marked).to.deep.equal([0x0a000001]);
      const refusal: SocketOptions = {
        ...options,
        apply() {
          throw new SystemError('EPERM', 'set the mark of a socket', 'CAP_NET_ADMIN is needed');
        },
      };
      const refusing = createStreams(AUTHORITIES, refusal, dial(refusal));
      const refused = refusing.connect({ address: '127.0.0.1', port, tcp: { mark: 7 } }, new Knife());
      expect(await codeOf(refused)).to.equal('EPERM');
    });

    it('comes from the local address that it was given', async () => {
      const stream = await streams.connect({ address: '127.0.0.1', port, localAddress: '127.0.0.77' }, new Knife());
      expect(stream.local.address).to.equal('127.0.0.77');
      stream.close('rst');
      const foreign = { address: '127.0.0.1', port, localAddress: '192.0.2.1' };
      expect(await codeOf(streams.connect(foreign, new Knife()))).to.equal('EADDRNOTAVAIL');
    });

    it('that lingers after our FIN is ended in the end', async () => {
      const impatient = createStreams(AUTHORITIES, openSocketOptions(), dial(openSocketOptions(), 100), 100);
      const stream = await impatient.connect({ address: '127.0.0.1', port }, new Knife());
      const started = performance.now();
      const seen = recorder(world, stream);
      // The other side keeps its half open and talks on.
      stream.close('fin');
      for (let waited = 0; seen.events.length === 0 && waited < 1500; waited += 10) await world.clock.sleep(10);
      expect(seen.events).to.deep.equal(['close']);
      expect(performance.now() - started).to.be.within(99, 1500);
    });

    it('is accepted on :: from both families, with addresses as the peer knows them', async () => {
      const accepted: string[] = [];
      const listener = await streams.listen({ address: '::', port: 0 }, (stream) => {
        accepted.push(`${stream.remote.address} to ${stream.local.address}`);
        stream.on({ onData() {}, onEnd: () => stream.close('fin'), onDrain() {}, onClose() {} });
      });
      for (const address of ['127.0.0.1', '::1']) {
        const stream = await streams.connect({ address, port: listener.local.port }, new Knife());
        await recorder(world, stream).until(() => accepted.length === (address === '::1' ? 2 : 1));
        stream.close('rst');
      }
      await listener.close();
      expect(accepted).to.deep.equal(['127.0.0.1 to 127.0.0.1', '::1 to ::1']);
    });

    it('on another IPv6 address is accepted from IPv6 only', async () => {
      const six = await streams.listen({ address: '::1', port: 0 }, (stream) => stream.close('rst'));
      const four = await streams.listen({ address: '127.0.0.1', port: six.local.port }, (stream) =>
        stream.close('rst'),
      );
      await six.close();
      await four.close();
    });

    it('of which a port number is impossible is EINVAL', async () => {
      for (const bad of [0, -1, 65_536, 1.5, Number.NaN]) {
        expect(await codeOf(streams.connect({ address: '127.0.0.1', port: bad }, new Knife()))).to.equal('EINVAL');
      }
    });
  });
