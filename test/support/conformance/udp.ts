// What every world's connected UDP sockets and pings must do.

import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import type { SystemError } from '../../../src/lib/errors.ts';
import type { UdpOptions, UdpSocket, World } from '../../../src/world/world.ts';
import { bytesOf, type Case, codeOf, text } from './bench.ts';

/** A socket, and everything that happened on it. */
async function opened(world: World, options: UdpOptions) {
  const got: string[] = [];
  const socket = await world.udp.open(options, {
    onDatagram: (bytes) => got.push(text(bytes)),
    onError: (error: SystemError) => got.push(error.code),
  });
  return { socket, got };
}

async function until(world: World, done: () => boolean): Promise<void> {
  for (let waited = 0; !done(); waited += 5) {
    if (waited > 5000) throw new Error('not after 5 s');
    await world.clock.sleep(5);
  }
}

/** Any port but 0, where nobody listens for UDP. */
const PORT = 29_317;

export const udpCases: readonly Case[] = [
  {
    title: 'datagrams arrive as they were sent, empty ones too',
    async run({ world, address }) {
      const a = await opened(world, { address, port: PORT + 1, localAddress: address, localPort: PORT });
      const b = await opened(world, { address, port: PORT, localAddress: address, localPort: PORT + 1 });
      a.socket.send(bytesOf('one'));
      a.socket.send(bytesOf(''));
      a.socket.send(bytesOf('three'));
      await until(world, () => b.got.length === 3);
      b.socket.send(bytesOf('answer'));
      await until(world, () => a.got.length === 1);
      expect(b.got).to.deep.equal(['one', '', 'three']);
      expect(a.got).to.deep.equal(['answer']);
      expect(a.socket.local).to.deep.equal({ address, port: PORT });
      a.socket.close();
      b.socket.close();
    },
  },
  {
    title: 'nobody but the one that it is connected to is heard',
    async run({ world, address }) {
      const a = await opened(world, { address, port: PORT + 1, localAddress: address, localPort: PORT });
      const b = await opened(world, { address, port: PORT, localAddress: address, localPort: PORT + 1 });
      const stranger = await opened(world, { address, port: PORT, localAddress: address, localPort: PORT + 2 });
      stranger.socket.send(bytesOf('forged'));
      b.socket.send(bytesOf('real'));
      await until(world, () => a.got.length > 0 && stranger.got.length > 0);
      expect(a.got).to.deep.equal(['real']);
      expect(stranger.got).to.deep.equal(['ECONNREFUSED']);
      for (const { socket } of [a, b, stranger]) socket.close();
    },
  },
  {
    title: 'where nobody listens each datagram is refused, and the socket goes on',
    async run({ world, address }) {
      const { socket, got } = await opened(world, { address, port: PORT });
      socket.send(bytesOf('one'));
      await until(world, () => got.length === 1);
      socket.send(bytesOf('two'));
      await until(world, () => got.length === 2);
      expect(got).to.deep.equal(['ECONNREFUSED', 'ECONNREFUSED']);
      socket.close();
    },
  },
  {
    title: 'after close nothing is heard, and sending does nothing',
    async run({ world, address }) {
      const { socket, got } = await opened(world, { address, port: PORT });
      socket.send(bytesOf('one'));
      socket.close();
      socket.send(bytesOf('two'));
      socket.close();
      await world.clock.sleep(50);
      expect(got).to.deep.equal([]);
    },
  },
  {
    title: 'a source that is not ours, and an address that is none, are refused',
    async run({ world, address }) {
      const open = (options: UdpOptions): Promise<UdpSocket> =>
        world.udp.open(options, { onDatagram: () => {}, onError: () => {} });
      expect(await codeOf(open({ address, port: PORT, localAddress: '203.0.113.9' }))).to.equal('EADDRNOTAVAIL');
      expect(await codeOf(open({ address: 'localhost', port: PORT }))).to.equal('EINVAL');
    },
  },
];

export const icmpCases: readonly Case[] = [
  {
    title: 'a ping of an own address comes back at once',
    async run({ world, address }) {
      const pings = Array.from({ length: 20 }, () => world.icmp.ping({ address, timeoutMs: 3000 }, new Knife()));
      for (const { roundTripMs } of await Promise.all(pings)) expect(roundTripMs).to.be.within(0, 1000);
    },
  },
  {
    title: 'a ping that is cut ends with ECANCELED, also one that is cut before it began',
    async run({ world, address }) {
      const knife = new Knife();
      const under = codeOf(world.icmp.ping({ address }, knife));
      knife.abort();
      expect(await under).to.equal('ECANCELED');
      expect(await codeOf(world.icmp.ping({ address }, knife))).to.equal('ECANCELED');
    },
  },
  {
    title: 'a ping of what is no address, or from a source that is not ours, is refused',
    async run({ world, address }) {
      expect(await codeOf(world.icmp.ping({ address: 'localhost' }, new Knife()))).to.equal('EINVAL');
      const foreign = world.icmp.ping({ address, localAddress: '203.0.113.9' }, new Knife());
      expect(await codeOf(foreign)).to.equal('EADDRNOTAVAIL');
    },
  },
];
