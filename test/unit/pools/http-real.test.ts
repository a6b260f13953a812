// Pool sources over HTTP through the operating system's world, against a web server that misbehaves on a real socket.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import { openSource } from '../../../src/pools/open.ts';
import { parsePool } from '../../../src/pools/parse.ts';
import { Pools } from '../../../src/pools/pools.ts';
import type { Answer, Source } from '../../../src/pools/source.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { createFiles } from '../../../src/world/real/files.ts';
import { createHttp } from '../../../src/world/real/http.ts';
import { createNames } from '../../../src/world/real/names.ts';
import type { Mono, World } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { listenSomewhere } from '../../support/listen.ts';
import { serviceConfig } from '../../support/service-config.ts';

const POOL =
  "{'host': '10.0.0.2', 'weight': 10, 'enabled': True}\n{'host': '10.0.0.3', 'weight': 10, 'enabled': True}\n";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

describe('pool sources on a real socket', () => {
  let handle: Handler;
  let url: string;
  let world: World;
  let source: Source;
  /** For each question. */
  let timeoutMs: number;
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => handle(request, response));
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });

  before(async () => {
    url = `http://127.0.0.1:${await listenSomewhere(server)}/text`;
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  beforeEach(() => {
    const names = createNames();
    const never = () => {
      throw new Error('no TLS here');
    };
    const http = createHttp(names, never, () => {});
    timeoutMs = 5000;
    const get: World['http']['get'] = (request, cut) => http.get({ ...request, timeoutMs }, cut);
    world = {
      ...new FakeWorld().world,
      clock: createClock(),
      names,
      files: createFiles(),
      http: { ...http, get },
    };
    const opened = openSource(world, serviceConfig({ source: url }));
    if (typeof opened === 'string') throw new Error(opened);
    source = opened;
    handle = (_request, response) => response.end(POOL);
  });

  const ask = (): Promise<Answer> => source.ask(false, new Knife());
  const reason = async () => {
    const answer = await ask();
    return answer.is === 'failed' ? answer.reason : answer.is;
  };

  it('A pool is served.', async () => {
    const answer = await ask();
    expect(answer.is).to.equal('content');
    const bytes = answer.is === 'content' ? answer.bytes : new Uint8Array();
    expect(parsePool({ url, bytes, previous: [] })).to.deep.include({ is: 'list', complaints: [] });
  });

  const failures: readonly (readonly [string, Handler, RegExp])[] = [
    ['A server that accepts and says nothing', () => {}, /ETIMEDOUT/],
    [
      'A server that stops in the middle and keeps the connection',
      (_request, response) => {
        response.writeHead(200, { 'content-length': POOL.length });
        response.write(POOL.slice(0, 70));
      },
      /ETIMEDOUT/,
    ],
    [
      'A body shorter than its length',
      (_request, response) => {
        response.writeHead(200, { 'content-length': POOL.length });
        response.write(POOL.slice(0, 70), () => response.destroy());
      },
      /ECONNRESET/,
    ],
    [
      'A chunked body without its end',
      (_request, response) => {
        response.writeHead(200);
        response.write(POOL.slice(0, 70), () => response.destroy());
      },
      /ECONNRESET/,
    ],
    ['A reset before the answer', (request) => request.socket.resetAndDestroy(), /ECONNRESET/],
    [
      'A redirect, also to the pool itself',
      (_request, response) => response.writeHead(302, { location: '/text' }).end(POOL),
      /^HTTP 302: redirected to "\/text", and redirects are not followed$/,
    ],
    ['An error page', (_request, response) => response.writeHead(500).end(POOL), /^HTTP 500$/],
    [
      'An endless body',
      (_request, response) => {
        const chunk = Buffer.alloc(1 << 20, 'x');
        const more = () => {
          while (response.write(chunk));
        };
        response.on('drain', more);
        more();
      },
      /EFBIG/,
    ],
    [
      'A compressed body',
      (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(POOL)),
      /content-encoding gzip/,
    ],
    ['Something that is no HTTP', (request) => request.socket.end('SSH-2.0-OpenSSH_9.2\r\n'), /GET http/],
    ['304 out of the blue', (_request, response) => response.writeHead(304).end(), /^HTTP 304 although/],
  ];
  for (const [what, handler, expected] of failures) {
    it(`${what} is a failure, and the next good answer counts again.`, async () => {
      handle = handler;
      // As ever, but nobody waits five seconds for what never comes.
      if (expected.test('ETIMEDOUT')) timeoutMs = 300;
      expect(await reason()).to.match(expected);
      timeoutMs = 5000;
      handle = (_request, response) => response.end(POOL);
      expect(await reason()).to.equal('content');
    });
  }

  it('Nobody listening is a failure.', async () => {
    const opened = openSource(world, serviceConfig({ source: 'http://127.0.0.1:1/text' }));
    if (typeof opened === 'string') throw new Error(opened);
    expect(await opened.ask(false, new Knife())).to.deep.include({ is: 'failed' });
  });

  it('200 with nothing in it is an empty list: the guard holds it back, not the source.', async () => {
    handle = (_request, response) => response.end();
    const answer = await ask();
    expect(answer).to.deep.equal({ is: 'content', bytes: new Uint8Array() });
  });

  it('A list that stays the same is asked for with its tag, and 304 is the answer.', async () => {
    let now = 0;
    const clock = { ...world.clock, now: () => now as Mono };
    const opened = openSource({ ...world, clock }, serviceConfig({ source: url }));
    if (typeof opened === 'string') throw new Error(opened);
    const statuses: number[] = [];
    handle = (request, response) => {
      const known = request.headers['if-none-match'] === '"1"';
      statuses.push(known ? 304 : 200);
      response.writeHead(known ? 304 : 200, { etag: '"1"' }).end(known ? undefined : POOL);
    };
    for (const expected of ['content', 'unchanged', 'unchanged']) {
      expect((await opened.ask(false, new Knife())).is).to.equal(expected);
      now += 2000;
    }
    expect(statuses).to.deep.equal([200, 200, 304]);
  });

  it('A question that is cut ends at once.', async () => {
    handle = () => {};
    const knife = new Knife();
    const answer = source.ask(false, knife);
    knife.abort();
    expect(await answer).to.deep.include({ is: 'failed' });
  });

  it('A whole pool lives through edits, garbage and an empty body, and its list is on disk in the end.', async () => {
    const stateDirectory = await mkdtemp(join(tmpdir(), 'pools-http-'));
    const lists: string[] = [];
    const seen = (text: string) =>
      new Promise<void>((resolve, reject) => {
        const stop = world.clock.at(2000, () => reject(new Error(`not seen: ${text}, but ${lists.join(' | ')}`)));
        const look = () => {
          if (!lists.includes(text)) return void world.clock.at(20, look);
          stop();
          resolve();
        };
        look();
      });
    const pools = new Pools(
      world,
      (fact) => {
        if (fact.is === 'pool') lists.push(`${fact.list.hosts.map(({ weight }) => weight).join()} ${fact.list.note}`);
      },
      () => {},
    );
    try {
      const settings = { stateDirectory, resolveIntervalSeconds: 60 };
      pools.configure([serviceConfig({ source: url, poolShrinkConfirmSeconds: 600 })], settings);
      await seen('10,10 null');
      handle = (_request, response) => response.end(POOL.replace('10,', '20,'));
      pools.reread();
      await seen('20,10 null');
      handle = (_request, response) => response.end();
      pools.reread();
      await seen('20,10 suspect: the list is empty, 2 servers in the last one');
      handle = (_request, response) => response.end('<html>maintenance</html>');
      pools.reread();
      await seen('20,10 unparsable: an HTML or XML page, not a pool');
    } finally {
      await pools.stop();
    }
    const kept = JSON.parse(await readFile(join(stateDirectory, 'pools', 'text.json'), 'utf8'));
    expect(kept.hosts).to.deep.equal([
      { host: '10.0.0.2', weight: 20, enabled: true, address: '10.0.0.2' },
      { host: '10.0.0.3', weight: 10, enabled: true, address: '10.0.0.3' },
    ]);
    await rm(stateDirectory, { recursive: true });
  });
});
