// What every World must do, port by port: run against the operating system's world in test/unit/world, and against the
// simulator's, so that the simulator does not test a fiction. A case waits only by the world that it is given, so that it
// also runs in virtual time.

import { expect } from 'chai';
import { Knife } from '../../src/lib/cut.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { Endpoint, Listener, ServedRequest, ServedResponse, Stream, World } from '../../src/world/world.ts';

/** What a case is run on. `address` can be listened on, `port` is free there; `folder` is empty and may be written to. */
export interface Bench {
  readonly world: World;
  readonly address: string;
  readonly port: number;
  readonly folder: string;
}

export interface Case {
  readonly title: string;
  run(bench: Bench): Promise<void>;
}

/** The code of the SystemError that `promise` rejects with; fails if it does not reject with one. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    expect(error, String(error)).to.be.instanceOf(SystemError);
    return error instanceof SystemError ? error.code : '';
  }
  throw new Error('resolved, though it should have failed');
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const bytesOf = (string: string) => new Uint8Array(Buffer.from(string));

export const clockCases: readonly Case[] = [
  {
    title: 'a timer fires once, not early, and in order of its time',
    async run({ world: { clock } }) {
      const start = clock.now();
      const seen: [string, number][] = [];
      clock.at(30, () => seen.push(['late', clock.now() - start]));
      clock.at(10, () => seen.push(['early', clock.now() - start]));
      await clock.sleep(80);
      expect(seen.map(([name]) => name)).to.deep.equal(['early', 'late']);
      expect(seen[0]?.[1]).to.be.at.least(10);
      expect(seen[1]?.[1]).to.be.at.least(30);
    },
  },
  {
    title: 'a cancelled timer never fires, and cancelling again is harmless',
    async run({ world: { clock } }) {
      let fired = 0;
      const cancel = clock.at(10, () => fired++);
      cancel();
      cancel();
      await clock.sleep(30);
      expect(fired).to.equal(0);
    },
  },
  {
    title: 'a timer never fires inside the call that sets it',
    async run({ world: { clock } }) {
      let fired = false;
      clock.at(0, () => {
        fired = true;
      });
      expect(fired).to.equal(false);
      await clock.sleep(10);
      expect(fired).to.equal(true);
    },
  },
  {
    title: 'a timer longer than 25 days does not fire at once',
    async run({ world: { clock } }) {
      let fired = false;
      const cancel = clock.at(40 * 86_400_000, () => {
        fired = true;
      });
      await clock.sleep(20);
      cancel();
      expect(fired).to.equal(false);
    },
  },
  {
    title: 'a cut ends a sleep early, before or during it',
    async run({ world: { clock } }) {
      const knife = new Knife();
      const start = clock.now();
      clock.at(10, () => knife.abort());
      await clock.sleep(60_000, knife);
      expect(clock.now() - start).to.be.within(10, 5000);
      await clock.sleep(60_000, knife);
      expect(clock.now() - start).to.be.below(5000);
    },
  },
  {
    title: 'monotonic time and wall time pass at the same rate',
    async run({ world: { clock } }) {
      const [mono, wall] = [clock.now(), clock.wall()];
      await clock.sleep(50);
      expect(clock.now() - mono - (clock.wall() - wall)).to.be.within(-20, 20);
    },
  },
];

export const filesCases: readonly Case[] = [
  {
    title: 'what was put in place is read back, and replacing is whole',
    async run({ world: { files }, folder }) {
      const path = `${folder}/a`;
      await files.replace(path, bytesOf('first, and long'));
      await files.replace(path, bytesOf('second'));
      expect(text(await files.read(path, 100))).to.equal('second');
      expect((await files.stat(path)).size).to.equal(6);
    },
  },
  {
    title: 'missing folders are made',
    async run({ world: { files }, folder }) {
      const path = `${folder}/x/y/z`;
      await files.replace(path, bytesOf('deep'));
      expect(text(await files.read(path, 100))).to.equal('deep');
    },
  },
  {
    title: 'replacing gives the name a new inode',
    async run({ world: { files }, folder }) {
      const path = `${folder}/inode`;
      await files.replace(path, bytesOf('1'));
      const before = await files.stat(path);
      await files.replace(path, bytesOf('2'));
      expect((await files.stat(path)).inode).to.not.equal(before.inode);
    },
  },
  {
    title: 'a file that is not there is ENOENT, for read and stat',
    async run({ world: { files }, folder }) {
      expect(await codeOf(files.read(`${folder}/none`, 10))).to.equal('ENOENT');
      expect(await codeOf(files.stat(`${folder}/none`))).to.equal('ENOENT');
    },
  },
  {
    title: 'a file longer than the limit is EFBIG, one just as long is read',
    async run({ world: { files }, folder }) {
      const path = `${folder}/ten`;
      await files.replace(path, bytesOf('0123456789'));
      expect(await codeOf(files.read(path, 9))).to.equal('EFBIG');
      expect((await files.read(path, 10)).length).to.equal(10);
    },
  },
  {
    title: 'an empty file is read as nothing',
    async run({ world: { files }, folder }) {
      await files.replace(`${folder}/empty`, new Uint8Array());
      expect((await files.read(`${folder}/empty`, 10)).length).to.equal(0);
    },
  },
];

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

/** Serve `handle` while `use` runs; it is given the base URL. */
async function serving(
  { world, address, port }: Bench,
  handle: (request: ServedRequest) => ServedResponse | Promise<ServedResponse>,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server = await world.http.serve({ address, port }, handle);
  try {
    await use(`http://${address}:${port}`);
  } finally {
    await server.close();
  }
}

const ok = (body: string): ServedResponse => ({ status: 200, headers: { 'content-type': 'text/plain' }, body });
const asking = (url: string) => ({ url, timeoutMs: 5000, maxBytes: 1000 });

export const httpCases: readonly Case[] = [
  {
    title: 'status, headers in lower case, and body arrive',
    run: (bench) =>
      serving(
        bench,
        ({ method, url }) => ({ status: 203, headers: { 'X-Name': 'Value', ETag: '"1"' }, body: `${method} ${url}` }),
        async (url) => {
          const { status, headers, body } = await bench.world.http.get(asking(`${url}/a/b?c=d`), new Knife());
          expect(status).to.equal(203);
          expect(headers['x-name']).to.equal('Value');
          expect(headers['etag']).to.equal('"1"');
          expect(text(body)).to.equal('GET /a/b?c=d');
        },
      ),
  },
  {
    title: 'the headers of a request arrive in lower case',
    run: (bench) =>
      serving(
        bench,
        ({ headers }) => ok(headers['if-none-match'] ?? 'none'),
        async (url) => {
          const request = { ...asking(url), headers: { 'If-None-Match': '"7"' } };
          expect(text((await bench.world.http.get(request, new Knife())).body)).to.equal('"7"');
        },
      ),
  },
  {
    title: 'a redirect is an answer and not followed',
    run: (bench) =>
      serving(
        bench,
        () => ({ status: 302, headers: { location: '/elsewhere' }, body: '' }),
        async (url) => {
          const { status, headers } = await bench.world.http.get(asking(url), new Knife());
          expect([status, headers['location']]).to.deep.equal([302, '/elsewhere']);
        },
      ),
  },
  {
    title: 'a body of just the limit is taken, a longer one is EFBIG',
    run: (bench) =>
      serving(
        bench,
        ({ url }) => ok('x'.repeat(Number(url.slice(1)))),
        async (url) => {
          expect((await bench.world.http.get(asking(`${url}/1000`), new Knife())).body.length).to.equal(1000);
          expect(await codeOf(bench.world.http.get(asking(`${url}/1001`), new Knife()))).to.equal('EFBIG');
        },
      ),
  },
  {
    title: 'an answer that does not come in time is ETIMEDOUT',
    run: (bench) =>
      serving(
        bench,
        async () => {
          await bench.world.clock.sleep(300);
          return ok('late');
        },
        async (url) => {
          const start = bench.world.clock.now();
          const request = { ...asking(url), timeoutMs: 50 };
          expect(await codeOf(bench.world.http.get(request, new Knife()))).to.equal('ETIMEDOUT');
          expect(bench.world.clock.now() - start).to.be.within(49, 290);
        },
      ),
  },
  {
    title: 'a cut is ECANCELED, before and during the request',
    run: (bench) =>
      serving(
        bench,
        async () => {
          await bench.world.clock.sleep(300);
          return ok('late');
        },
        async (url) => {
          const knife = new Knife();
          bench.world.clock.at(30, () => knife.abort());
          expect(await codeOf(bench.world.http.get(asking(url), knife))).to.equal('ECANCELED');
          expect(await codeOf(bench.world.http.get(asking(url), knife))).to.equal('ECANCELED');
        },
      ),
  },
  {
    title: 'nobody there is ECONNREFUSED',
    run: async ({ world, address, port }) => {
      expect(await codeOf(world.http.get(asking(`http://${address}:${port}/`), new Knife()))).to.equal('ECONNREFUSED');
    },
  },
  {
    title: 'something else than an HTTP URL is EINVAL',
    run: async ({ world }) => {
      expect(await codeOf(world.http.get(asking('ftp://example.net/'), new Knife()))).to.equal('EINVAL');
      expect(await codeOf(world.http.get(asking('not a URL'), new Knife()))).to.equal('EINVAL');
    },
  },
  {
    title: 'a taken port is EADDRINUSE, and it is free again after close',
    run: (bench) =>
      serving(
        bench,
        () => ok('first'),
        async () => {
          const at = { address: bench.address, port: bench.port };
          expect(await codeOf(bench.world.http.serve(at, () => ok('second')))).to.equal('EADDRINUSE');
        },
      ).then(() =>
        serving(
          bench,
          () => ok('again'),
          async (url) => {
            expect(text((await bench.world.http.get(asking(url), new Knife())).body)).to.equal('again');
          },
        ),
      ),
  },
  {
    title: 'a handler that throws is a 500, and the server goes on',
    run: (bench) =>
      serving(
        bench,
        ({ url }) => {
          if (url === '/bad') throw new Error('a bug');
          return ok('good');
        },
        async (url) => {
          expect((await bench.world.http.get(asking(`${url}/bad`), new Knife())).status).to.equal(500);
          expect((await bench.world.http.get(asking(url), new Knife())).status).to.equal(200);
        },
      ),
  },
];
