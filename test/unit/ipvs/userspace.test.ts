import { expect } from 'chai';
import fc from 'fast-check';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, rootCertificates } from 'node:tls';
import { choose, type UserspaceIpvs, userspaceIpvs } from '../../../src/ipvs/userspace.ts';
import { destinationKey, type IpvsDestination, type IpvsService, serviceKey } from '../../../src/ipvs/table.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { createStreams } from '../../../src/world/real/streams.ts';
import { listenSomewhere } from '../../support/listen.ts';

const VIP = '127.81.7.1';

const serviceAt = (address: string, port: number, scheduler = 'rr'): IpvsService => ({
  key: serviceKey('tcp', address, port),
  protocol: 'tcp',
  address,
  port,
  fwmark: 0,
  scheduler,
  flags: 0,
  persistenceSeconds: 0,
  persistencePrefix: 32,
});

const destinationAt = (address: string, port: number, weight = 1): IpvsDestination => ({
  key: destinationKey(address, port),
  address,
  port,
  forward: 'dr',
  weight,
  upperThreshold: 0,
  lowerThreshold: 0,
});

/** Everything that the socket gets, until its end. */
function received(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('data', (bytes) => (text += bytes.toString('latin1')));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

const event = (socket: Socket, name: string): Promise<unknown> =>
  new Promise((resolve) => socket.once(name, (value: unknown) => resolve(value)));

describe('ipvs/userspace', () => {
  let forwarder: UserspaceIpvs;
  let logged: LogRecord[];
  const servers: Server[] = [];

  beforeEach(() => {
    logged = [];
    const authorities = () => createSecureContext({ ca: rootCertificates.slice(0, 1) });
    const streams = createStreams(authorities, null);
    forwarder = userspaceIpvs({
      streams,
      clock: createClock(),
      log: (record) => logged.push(record),
      maxConnections: 4,
    });
  });
  afterEach(async () => {
    await forwarder.close();
    for (const server of servers.splice(0)) server.close();
  });

  /** A real server on a free port of `address`. */
  async function realServer(address: string, serve: (socket: Socket) => void): Promise<IpvsDestination> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      serve(socket);
    });
    servers.push(server);
    return destinationAt(address, await listenSomewhere(server, address));
  }

  /** Set up a service on a free port. */
  async function serve(destinations: readonly IpvsDestination[], scheduler = 'rr', vip = VIP): Promise<IpvsService> {
    for (let port = 20_080; port < 20_180; port++) {
      const service = serviceAt(vip, port, scheduler);
      const [error] = await forwarder.apply([{ do: 'add-service', service }]);
      if (error?.code === 'EADDRINUSE') continue;
      expect(error).to.equal(null);
      const ops = destinations.map((destination) => ({ do: 'add-destination', service, destination }) as const);
      expect(await forwarder.apply(ops)).to.deep.equal(destinations.map(() => null));
      return service;
    }
    throw new Error('no free port');
  }

  const get = (service: IpvsService): Promise<string> =>
    received(connect({ host: service.address, port: service.port }));

  it('leaves a table that it has listed as it was, whatever comes then', async () => {
    const [one, two] = [destinationAt('127.0.0.1', 1), destinationAt('127.0.0.1', 2)];
    const service = await serve([one]);
    const listed = await forwarder.list();
    await forwarder.apply([
      { do: 'add-destination', service, destination: two },
      { do: 'delete-destination', service, destination: one },
    ]);
    expect([...(listed.get(service.key)?.destinations.keys() ?? [])]).to.deep.equal([one.key]);
    expect([...((await forwarder.list()).get(service.key)?.destinations.keys() ?? [])]).to.deep.equal([two.key]);
  });

  it('forwards to the real servers in turn and gives weight 0 nothing', async () => {
    const named = (name: string) => realServer('127.0.0.1', (socket) => socket.end(name));
    const [a, b, c] = [await named('a'), await named('b'), await named('c')];
    const service = await serve([a, { ...b, weight: 0 }, c]);
    const seen: string[] = [];
    for (let i = 0; i < 6; i++) seen.push(await get(service));
    expect(seen.sort().join('')).to.equal('aaaccc');
  });

  it('carries a half-close through: the answer comes after the end of the question', async () => {
    const echo = await realServer('127.0.0.1', (socket) => {
      let question = '';
      socket.on('data', (bytes) => (question += bytes.toString()));
      socket.on('end', () => socket.end(`you said ${question}`));
    });
    const service = await serve([echo]);
    const client = connect({ host: VIP, port: service.port, allowHalfOpen: true });
    const answer = received(client);
    client.end('hello');
    expect(await answer).to.equal('you said hello');
  });

  it('forwards IPv6', async () => {
    const real = await realServer('::1', (socket) => socket.end('six'));
    const service = await serve([real], 'wrr', '::1');
    expect(await get(service)).to.equal('six');
  });

  it('holds the sender back when the reader stops, and loses nothing', async () => {
    const total = 64 << 20;
    let sent = 0;
    const chunk = Buffer.alloc(1 << 16, 'x');
    const source = await realServer('127.0.0.1', (socket) => {
      const pump = () => {
        while (sent < total) {
          sent += chunk.length;
          if (!socket.write(chunk)) return void socket.once('drain', pump);
        }
        socket.end();
      };
      pump();
    });
    const service = await serve([source]);
    const client = connect({ host: VIP, port: service.port });
    client.pause();
    let last = -1;
    while (sent !== last) {
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(sent).to.be.lessThan(total / 2); // It stands still: buffers of kernels are full, ours is small.
    let got = 0;
    client.on('data', (bytes) => (got += bytes.length));
    client.resume();
    await event(client, 'end');
    expect(got).to.equal(total);
  });

  it('keeps established connections when their service is deleted, and refuses new ones', async () => {
    const echo = await realServer('127.0.0.1', (socket) => socket.pipe(socket));
    const service = await serve([echo]);
    const client = connect({ host: VIP, port: service.port });
    client.write('one');
    expect(String(await event(client, 'data'))).to.equal('one');
    expect(await forwarder.apply([{ do: 'delete-service', service }])).to.deep.equal([null]);
    expect((await forwarder.list()).size).to.equal(0);
    const refused = connect({ host: VIP, port: service.port });
    expect(await event(refused, 'error')).to.include({ code: 'ECONNREFUSED' });
    client.write('two');
    expect(String(await event(client, 'data'))).to.equal('two');
    const answer = received(client);
    client.end();
    expect(await answer).to.equal('');
  });

  it('resets connections that no real server takes', async () => {
    const service = await serve([]);
    expect(await event(connect({ host: VIP, port: service.port }), 'error')).to.include({ code: 'ECONNRESET' });
    const dead = await realServer('127.0.0.1', () => {});
    await new Promise((resolve) => servers.pop()?.close(resolve));
    await forwarder.apply([{ do: 'add-destination', service, destination: dead }]);
    expect(await event(connect({ host: VIP, port: service.port }), 'error')).to.include({ code: 'ECONNRESET' });
  });

  it('resets what is above the limit and says so once', async () => {
    const holding = await realServer('127.0.0.1', (socket) => socket.write('!'));
    const service = await serve([holding]);
    const clients: Socket[] = [];
    for (let i = 0; i < 4; i++) {
      const client = connect({ host: VIP, port: service.port });
      clients.push(client);
      await event(client, 'data');
    }
    for (let i = 0; i < 2; i++) {
      expect(await event(connect({ host: VIP, port: service.port }), 'error')).to.include({ code: 'ECONNRESET' });
    }
    expect(logged.map(({ text }) => text)).to.deep.equal(['4 connections: new ones are reset']);
    for (const client of clients) client.destroy();
  });

  it('answers with the error of a port that is taken and keeps no service', async () => {
    const taken = await realServer(VIP, () => {});
    const service = serviceAt(VIP, taken.port);
    const [error] = await forwarder.apply([{ do: 'add-service', service }]);
    expect(error?.code).to.equal('EADDRINUSE');
    expect((await forwarder.list()).size).to.equal(0);
  });

  it('refuses UDP', async () => {
    const udp: IpvsService = { ...serviceAt(VIP, 53), key: serviceKey('udp', VIP, 53), protocol: 'udp' };
    const [error] = await forwarder.apply([{ do: 'add-service', service: udp }]);
    expect(error?.code).to.equal('ENOTSUP');
    expect(error?.message).to.contain('TCP only');
  });

  it('warns when it stands in for another scheduler, once per change', async () => {
    const service = await serve([], 'sh');
    await forwarder.apply([{ do: 'set-service', service }]);
    await forwarder.apply([{ do: 'set-service', service: { ...service, scheduler: 'rr' } }]);
    expect(logged.map(({ level, text }) => `${level} ${text}`)).to.deep.equal([
      `warn ${service.key}: the userspace backend has no scheduler sh and uses wrr`,
    ]);
  });

  it('chooses in exact proportion to the weights over a whole turn, and never weight 0', () => {
    const weights = fc.array(fc.nat(9), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(weights, fc.nat(3), (given, turns) => {
        const all = given.map((weight, i) => destinationAt(`10.0.0.${i}`, 80, weight));
        const total = given.reduce((sum, weight) => sum + weight, 0);
        const owed = new Map<string, number>();
        const counts = given.map(() => 0);
        for (let i = 0; i < total * turns; i++) {
          const chosen = choose(all, false, owed);
          const index = all.findIndex(({ key }) => key === chosen?.key);
          counts[index] = (counts[index] ?? 0) + 1;
        }
        expect(counts).to.deep.equal(given.map((weight) => weight * turns));
        if (total === 0) expect(choose(all, false, owed)).to.equal(null);
      }),
    );
  });
});
