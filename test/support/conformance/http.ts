// What every world's HTTP must do.

import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import type { ServedRequest, ServedResponse } from '../../../src/world/world.ts';
import { type Bench, type Case, codeOf, text } from './bench.ts';

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
