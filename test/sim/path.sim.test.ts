// The simulated path by itself: marks, IPVS' connection table with its pitfall, and UDP as clients send it.

import { expect } from 'chai';
import { Knife } from '../../src/lib/cut.ts';
import { SystemError } from '../../src/lib/errors.ts';
import { fwmarkKey, type ForwardMethod } from '../../src/ipvs/table.ts';
import type { ConnectOptions, Stream, World } from '../../src/world/world.ts';
import { fakeMark } from '../support/health-lab.ts';
import { Machine } from './machine.ts';
import { RealServer } from './server.ts';
import { type Site, makeSite } from './site.ts';
import { octets, speakerFor, text } from './speakers.ts';
import { End } from './tcp.ts';

const VIP = { address: '192.0.2.1', port: 80 } as const;
const MINUTE = 60_000;

describe('A simulated path', () => {
  let site: Site;
  let director: Machine;
  let world: World;
  let servers: readonly RealServer[];

  beforeEach(async () => {
    site = makeSite(3);
    director = new Machine(site, {
      name: 'd1',
      addresses: ['10.0.0.11'],
      programs: new Map(),
      monitors: new Map(),
      watcher: { wrote: () => {}, read: () => {} },
    });
    servers = [1, 2].map(
      (number) =>
        new RealServer(site, { host: `cp${number}`, address: `10.0.2.${number}`, address6: `2001:db8::${number}` }),
    );
    for (const server of servers) server.serve(VIP.port, speakerFor(['TCP']));
    mark(1, 'dr');
    mark(2, 'dr');
    director.start((started) => {
      world = started;
    });
    await site.scheduler.run(10);
  });

  /** Mark n leads to server n. */
  function mark(number: number, forward: ForwardMethod): void {
    const { service, destinations } = fakeMark(number, `10.0.2.${number}`);
    director.kernel.setService(service);
    for (const one of destinations.values())
      director.kernel.setDestination(service.key, { ...one, forward, port: forward === 'nat' ? VIP.port : 0 });
  }

  const after = (ms: number): Promise<void> => site.scheduler.run(site.scheduler.now + ms);

  const options = (number: number, localPort: number): ConnectOptions => ({ ...VIP, localPort, tcp: { mark: number } });

  /** The name of the server that a connection gets to, or the error that it gets; `nothing` after 5 s. */
  async function reached(number: number, localPort: number, close: 'rst' | null = 'rst'): Promise<string> {
    let seen: Stream | string = 'nothing';
    const cut = new Knife();
    world.streams.connect(options(number, localPort), cut).then(
      (stream) => (seen = stream),
      (error: unknown) => (seen = error instanceof SystemError ? error.code : String(error)),
    );
    for (let ms = 0; ms < 5000 && seen === 'nothing'; ms += 5) await after(5);
    cut.abort();
    if (typeof seen === 'string') return seen;
    const stream: Stream = seen;
    const name = stream instanceof End ? stream.other?.host.name : undefined;
    if (close !== null) stream.close(close);
    await after(5);
    return name ?? 'nobody';
  }

  it('leads where the mark says', async () => {
    expect([await reached(1, 5001), await reached(2, 5002)]).to.deep.equal(['cp1', 'cp2']);
  });

  it('leads another mark from the same port to the old server for as long as an entry lives', async () => {
    servers[0]?.set('silent');
    expect(await reached(1, 5001)).to.equal('nothing');
    servers[0]?.set('serving');
    await after(30_000);
    expect(await reached(2, 5001), 'SYN_RECV lives for a minute').to.equal('cp1');
    await after(5000);
    expect(await reached(2, 5001), 'a reset leaves ten seconds').to.equal('cp1');
    await after(11_000);
    expect(await reached(2, 5001)).to.equal('cp2');
  });

  it('keeps what is established, and drops its packets while its destination is gone', async () => {
    expect(await reached(1, 5001, null)).to.equal('cp1');
    director.kernel.deleteService(fwmarkKey(1, 4));
    await after(14 * MINUTE);
    expect(await reached(2, 5001), 'somebody has this port').to.equal('EADDRNOTAVAIL');
    for (const end of director.host.ends) end.close('rst');
    await after(10);
    expect(await reached(2, 5001), 'not even the reset got through').to.equal('nothing');
    mark(1, 'dr');
    expect(await reached(2, 5001)).to.equal('cp1');
    await after(20 * MINUTE);
    expect(await reached(2, 5001)).to.equal('cp2');
  });

  it('forgets all at a loss of power', async () => {
    expect(await reached(1, 5001)).to.equal('cp1');
    director.host.connections.clear();
    expect(await reached(2, 5001)).to.equal('cp2');
  });

  it('is closed to a server without the VIP, not with NAT', async () => {
    const [one] = servers;
    if (one === undefined) throw new Error('no server');
    for (const [fault, forward, way] of [
      ['no VIP on lo', 'dr', 'nothing'],
      ['filter for the VIP', 'tunnel', 'nothing'],
      ['no tunnel', 'tunnel', 'nothing'],
      ['no tunnel', 'dr', 'cp1'],
      ['no VIP on lo', 'nat', 'cp1'],
    ] as const) {
      director.host.connections.clear();
      mark(1, 'dr');
      director.kernel.deleteService(fwmarkKey(1, 4));
      mark(1, forward);
      site.network.breakVipPath(one.host, fault);
      expect(await reached(1, 5001), `${fault}, ${forward}`).to.equal(way);
    }
  });

  describe('for UDP', () => {
    async function asked(number: number, localPort: number): Promise<string> {
      const seen: string[] = [];
      const socket = await settled(
        world.udp.open(
          { ...VIP, localPort, mark: number },
          { onDatagram: (bytes) => seen.push(text(bytes)), onError: (error) => seen.push(error.code) },
        ),
      );
      socket.send(octets('ping'));
      await after(20);
      socket.close();
      return seen.join(' ');
    }

    async function settled<T>(promise: Promise<T>): Promise<T> {
      await after(1);
      return promise;
    }

    it('answers come from the VIP, whatever the method', async () => {
      for (const forward of ['dr', 'tunnel', 'nat'] as const) {
        director.kernel.deleteService(fwmarkKey(1, 4));
        mark(1, forward);
        expect(await asked(1, 6001), forward).to.equal('pong');
      }
    });

    it('ICMP tells of a process that is gone, and nobody of a lost VIP', async () => {
      servers[0]?.set('refusing');
      expect(await asked(1, 6001)).to.equal('ECONNREFUSED');
      servers[0]?.set('serving');
      const host = servers[0]?.host;
      if (host !== undefined) site.network.breakVipPath(host, 'no VIP on lo');
      expect(await asked(1, 6001)).to.equal('');
    });

    it('an entry leads to the old server for five minutes', async () => {
      servers[0]?.set('erring');
      expect(await asked(1, 6001)).to.equal('p');
      expect(await asked(2, 6001)).to.equal('p');
      await after(6 * MINUTE);
      expect(await asked(2, 6001)).to.equal('pong');
    });

    it('a port that is taken is EADDRINUSE', async () => {
      const handlers = { onDatagram: () => {}, onError: () => {} };
      await settled(world.udp.open({ ...VIP, localPort: 6001, mark: 1 }, handlers));
      const second = world.udp.open({ ...VIP, localPort: 6001, mark: 2 }, handlers);
      const code = await settled(
        second.then(
          () => 'opened',
          (error: unknown) => (error instanceof SystemError ? error.code : '?'),
        ),
      );
      expect(code).to.equal('EADDRINUSE');
    });
  });
});
