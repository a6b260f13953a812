// What every world's streams must do.

import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import type { Endpoint, Listener, Stream, World } from '../../../src/world/world.ts';
import { type Bench, bytesOf, type Case, codeOf, text } from './bench.ts';

/** Everything that happened on a stream, in order, and a wait for one of its events. */
export function recorder(world: World, stream: Stream) {
  const events: string[] = [];
  let bytes = '';
  let drains = 0;
  stream.on({
    onData(chunk) {
      bytes += text(chunk);
      if (events.at(-1) !== 'data') events.push('data');
    },
    onEnd: () => void events.push('end'),
    onDrain: () => {
      drains++;
      events.push('drain');
    },
    onClose: (error) => void events.push(error === null ? 'close' : `close ${error.code}`),
  });
  return {
    events,
    received: () => bytes,
    drains: () => drains,
    /** Until `done`, for at most 5 s. */
    async until(done: () => boolean): Promise<void> {
      for (let waited = 0; !done(); waited += 5) {
        if (waited > 5000) throw new Error(`still only ${events.join(', ')} after 5 s`);
        await world.clock.sleep(5);
      }
    },
  };
}

/** A connected pair over a listener of its own. */
async function pair({ world, address }: Bench) {
  const accepted: Stream[] = [];
  const listener = await world.streams.listen({ address, port: 0 }, (stream) => accepted.push(stream));
  const client = await world.streams.connect({ ...listener.local }, new Knife());
  for (let waited = 0; accepted.length === 0 && waited < 5000; waited += 5) await world.clock.sleep(5);
  const [server] = accepted;
  if (server === undefined) throw new Error('never accepted');
  return { listener, client, server };
}

export const streamsCases: readonly Case[] = [
  {
    title: 'a source port is taken as asked for, shared between destinations, and once at a time towards each of them',
    async run({ world, address, port }) {
      const accepted: Stream[] = [];
      const listen = () => world.streams.listen({ address, port: 0 }, (stream) => void accepted.push(stream));
      const listeners = [await listen(), await listen()] as const;
      const from = (listener: Listener) =>
        world.streams.connect({ ...listener.local, localAddress: address, localPort: port }, new Knife());
      const first = await from(listeners[0]);
      expect(first.local).to.deep.equal({ address, port });
      const second = await from(listeners[1]);
      expect(second.local.port).to.equal(port);
      expect(await codeOf(from(listeners[0]))).to.be.oneOf(['EADDRNOTAVAIL', 'EADDRINUSE']);
      first.close('rst');
      await world.clock.sleep(20);
      const again = await from(listeners[0]);
      for (const stream of [second, again, ...accepted]) stream.close('rst');
      for (const listener of listeners) await listener.close();
    },
  },
  {
    title: 'bytes arrive in both directions, whole and in order',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const [a, b] = [recorder(bench.world, client), recorder(bench.world, server)];
      client.write(bytesOf('ping '));
      client.write(bytesOf('pong'));
      server.write(bytesOf('answer'));
      await b.until(() => b.received() === 'ping pong');
      await a.until(() => a.received() === 'answer');
      client.close('rst');
      server.close('rst');
      await listener.close();
    },
  },
  {
    title: 'a preface comes before everything else',
    async run(bench) {
      const accepted: Stream[] = [];
      const listener = await bench.world.streams.listen({ address: bench.address, port: 0 }, (stream) => {
        accepted.push(stream);
      });
      const preface = bytesOf('PROXY UNKNOWN\r\n');
      const client = await bench.world.streams.connect({ ...listener.local, preface }, new Knife());
      client.write(bytesOf('hello'));
      for (let waited = 0; accepted.length === 0 && waited < 5000; waited += 5) await bench.world.clock.sleep(5);
      const [server] = accepted;
      if (server === undefined) throw new Error('never accepted');
      const seen = recorder(bench.world, server);
      await seen.until(() => seen.received() === 'PROXY UNKNOWN\r\nhello');
      client.close('rst');
      server.close('rst');
      await listener.close();
    },
  },
  {
    title: 'both ends know their addresses, and they agree',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      expect(listener.local.port).to.be.greaterThan(0);
      expect(client.remote).to.deep.equal(listener.local);
      expect(server.local).to.deep.equal(listener.local);
      expect(server.remote).to.deep.equal(client.local);
      client.close('rst');
      server.close('rst');
      await listener.close();
    },
  },
  {
    title: 'what came before `on` waits for it, the FIN behind it too',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      server.write(bytesOf('early'));
      server.close('fin');
      await bench.world.clock.sleep(30);
      const seen = recorder(bench.world, client);
      await seen.until(() => seen.events.includes('end'));
      expect(seen.received()).to.equal('early');
      expect(seen.events).to.deep.equal(['data', 'end']);
      client.close('fin');
      await seen.until(() => seen.events.includes('close'));
      await listener.close();
    },
  },
  {
    title: "after the other side's FIN one may still write, and both closing in order is a close without error",
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const [a, b] = [recorder(bench.world, client), recorder(bench.world, server)];
      client.write(bytesOf('question'));
      await b.until(() => b.received() === 'question');
      server.write(bytesOf('last words'));
      server.close('fin');
      await a.until(() => a.events.includes('end'));
      expect(a.received()).to.equal('last words');
      client.close('fin');
      await a.until(() => a.events.includes('close'));
      await b.until(() => b.events.includes('close'));
      expect(a.events).to.deep.equal(['data', 'end', 'close']);
      expect(b.events).to.deep.equal(['data', 'close']);
      await listener.close();
    },
  },
  {
    title: 'after `end` one still reads, and writing does nothing',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const [a, b] = [recorder(bench.world, client), recorder(bench.world, server)];
      client.write(bytesOf('question'));
      client.end();
      client.end();
      client.write(bytesOf('lost'));
      await b.until(() => b.events.includes('end'));
      expect(b.received()).to.equal('question');
      server.write(bytesOf('answer'));
      await a.until(() => a.received() === 'answer');
      server.end();
      await a.until(() => a.events.includes('close'));
      await b.until(() => b.events.includes('close'));
      expect(a.events).to.deep.equal(['data', 'end', 'close']);
      expect(b.events).to.deep.equal(['data', 'end', 'close']);
      await listener.close();
    },
  },
  {
    title: 'a paused stream reports nothing until it is resumed, and its sender feels it',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const [a, b] = [recorder(bench.world, client), recorder(bench.world, server)];
      client.write(bytesOf('one'));
      await b.until(() => b.received() === 'one');
      server.pause();
      const chunk = new Uint8Array(64 * 1024).fill(97);
      let written = 0;
      let stuck = false;
      // 64 MiB is more than any socket buffers: without back-pressure all of it would be taken.
      while (!stuck && written < 64 * 1024 * 1024) {
        const drains = a.drains();
        written += chunk.length;
        if (client.write(chunk)) continue;
        for (let waited = 0; a.drains() === drains && waited < 100; waited += 5) await bench.world.clock.sleep(5);
        stuck = a.drains() === drains;
      }
      expect(stuck, 'the sender was never held back').to.equal(true);
      client.end();
      await bench.world.clock.sleep(20);
      expect(b.received().length).to.equal(3);
      expect(b.events).to.deep.equal(['data']);
      server.resume();
      await b.until(() => b.events.includes('end'));
      expect(b.received().length).to.equal(3 + written);
      client.close('rst');
      server.close('rst');
      await listener.close();
    },
  },
  {
    title: 'a reset is ECONNRESET for the other side, and a close without error for who did it',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const [a, b] = [recorder(bench.world, client), recorder(bench.world, server)];
      server.close('rst');
      await a.until(() => a.events.length > 0);
      await b.until(() => b.events.length > 0);
      expect(a.events).to.deep.equal(['close ECONNRESET']);
      expect(b.events).to.deep.equal(['close']);
      await listener.close();
    },
  },
  {
    title: 'closing twice, and writing after it, does nothing',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const [a, b] = [recorder(bench.world, client), recorder(bench.world, server)];
      client.close('rst');
      client.close('rst');
      client.close('fin');
      client.write(bytesOf('lost'));
      await b.until(() => b.events.length > 0);
      await a.until(() => a.events.length > 0);
      await bench.world.clock.sleep(20);
      expect(a.events).to.deep.equal(['close']);
      expect(b.received()).to.equal('');
      server.close('rst');
      await listener.close();
    },
  },
  {
    title: 'a writer is told to stop and when to go on, and nothing is lost',
    async run(bench) {
      const { listener, client, server } = await pair(bench);
      const chunk = new Uint8Array(64 * 1024).fill(97);
      const a = recorder(bench.world, client);
      let written = 0;
      let room = true;
      while (room && written < 512) {
        room = client.write(chunk);
        written++;
      }
      expect(room, 'write never returned false').to.equal(false);
      let received = 0;
      server.on({
        onData: (bytes) => {
          received += bytes.length;
        },
        onEnd: () => {},
        onDrain: () => {},
        onClose: () => {},
      });
      await a.until(() => a.events.includes('drain'));
      await a.until(() => received === written * chunk.length);
      client.close('rst');
      server.close('rst');
      await listener.close();
    },
  },
  {
    title: 'a port where nobody listens is ECONNREFUSED',
    async run({ world, address }) {
      const listener = await world.streams.listen({ address, port: 0 }, () => {});
      const local: Endpoint = listener.local;
      await listener.close();
      expect(await codeOf(world.streams.connect({ ...local }, new Knife()))).to.equal('ECONNREFUSED');
    },
  },
  {
    title: 'a taken port is EADDRINUSE, and it is free again after close',
    async run({ world, address }) {
      const first = await world.streams.listen({ address, port: 0 }, () => {});
      expect(await codeOf(world.streams.listen(first.local, () => {}))).to.equal('EADDRINUSE');
      await first.close();
      const second: Listener = await world.streams.listen(first.local, () => {});
      expect(second.local).to.deep.equal(first.local);
      await second.close();
    },
  },
  {
    title: 'a cut before connecting is ECANCELED',
    async run({ world, address }) {
      const knife = new Knife();
      knife.abort();
      const listener = await world.streams.listen({ address, port: 0 }, () => {});
      expect(await codeOf(world.streams.connect({ ...listener.local }, knife))).to.equal('ECANCELED');
      await listener.close();
    },
  },
  {
    title: 'a name instead of a literal address is EINVAL',
    async run({ world }) {
      expect(await codeOf(world.streams.connect({ address: 'localhost', port: 1 }, new Knife()))).to.equal('EINVAL');
    },
  },
];
