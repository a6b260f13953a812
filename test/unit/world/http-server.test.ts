import { expect } from 'chai';
import { lstat, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogRecord } from '../../../src/log/record.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import { createHttp } from '../../../src/world/real/http.ts';
import { createNames } from '../../../src/world/real/names.ts';
import { getOverUnixSocket } from '../../../src/world/real/unix-http.ts';
import { codeOf } from '../../support/world-conformance.ts';

const logged: LogRecord[] = [];
const names = createNames();
const http = createHttp(names, systemAuthorities(), (record) => logged.push(record));
const ok = (body: string) => ({ status: 200, headers: {}, body });

describe('An HTTP server', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-http-'));
  });
  after(() => rm(folder, { recursive: true }));

  it('on a Unix socket can be asked by user and group only, and takes its file away', async () => {
    const path = join(folder, 'deep', 'a.sock');
    const server = await http.serve({ path }, ({ url }) => ok(`you asked for ${url}`));
    expect((await lstat(path)).mode & 0o777).to.equal(0o660);
    const { status, body } = await getOverUnixSocket(path, '/v1/status', 2000, 1000);
    expect([status, Buffer.from(body).toString()]).to.deep.equal([200, 'you asked for /v1/status']);
    await server.close();
    expect(await codeOf(getOverUnixSocket(path, '/', 2000, 1000))).to.equal('ENOENT');
  });

  it('replaces the socket file that a crash left, and not that of a living one', async () => {
    const path = join(folder, 'b.sock');
    // A socket file whose listener is gone, as after kill -9.
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(path, resolve));
    await rename(path, `${path}.kept`);
    await new Promise((resolve) => dead.close(resolve));
    await rename(`${path}.kept`, path);
    expect(await codeOf(getOverUnixSocket(path, '/', 2000, 1000))).to.equal('ECONNREFUSED');
    const first = await http.serve({ path }, () => ok('first'));
    expect(await codeOf(http.serve({ path }, () => ok('second')))).to.equal('EADDRINUSE');
    expect(Buffer.from((await getOverUnixSocket(path, '/', 2000, 1000)).body).toString()).to.equal('first');
    await first.close();
  });

  it('does not replace a file that is no socket', async () => {
    const path = join(folder, 'precious');
    await writeFile(path, 'data');
    expect(await codeOf(http.serve({ path }, () => ok('')))).to.equal('EADDRINUSE');
    expect(await readFile(path, 'utf8')).to.equal('data');
  });

  it('answers 500 in JSON for a handler that throws, logs it, and tells nothing', async () => {
    const path = join(folder, 'c.sock');
    const server = await http.serve({ path }, () => {
      throw new Error('secret');
    });
    const { status, headers, body } = await getOverUnixSocket(path, '/x', 2000, 1000);
    expect([status, headers['content-type']]).to.deep.equal([500, 'application/json']);
    expect(JSON.parse(Buffer.from(body).toString())).to.deep.equal({ error: 'internal error' });
    expect(logged.at(-1)).to.include({ level: 'error', system: 'http', text: 'GET /x: secret' });
    await server.close();
  });

  it('closes while a client that asks nothing is connected', async () => {
    const path = join(folder, 'd.sock');
    const server = await http.serve({ path }, () => ok(''));
    const idle = connect(path).on('error', () => {});
    await new Promise((resolve) => idle.on('connect', resolve));
    const started = performance.now();
    await server.close();
    expect(performance.now() - started).to.be.below(1500);
    idle.destroy();
  });

  it('answers whoever asks, however many clients are connected that ask nothing', async () => {
    const path = join(folder, 'idle.sock');
    const server = await http.serve({ path }, () => ok('here'));
    const idle: Socket[] = [];
    for (let i = 0; i < 200; i++) {
      const socket = connect(path).on('error', () => {});
      idle.push(socket);
      await new Promise((resolve) => socket.once('connect', resolve));
    }
    const { body } = await getOverUnixSocket(path, '/', 2000, 1000);
    expect(Buffer.from(body).toString()).to.equal('here');
    expect(idle.filter(({ destroyed }) => destroyed).length).to.be.within(72, 74);
    for (const socket of idle) socket.destroy();
    await server.close();
  });

  it('hangs up on no client that waits for its answer to make room for others', async () => {
    const path = join(folder, 'busy.sock');
    const answers: (() => void)[] = [];
    const server = await http.serve({ path }, async ({ url }) => {
      if (url === '/slow') await new Promise<void>((resolve) => answers.push(resolve));
      return ok(url);
    });
    const slow = getOverUnixSocket(path, '/slow', 5000, 1000);
    const idle: Socket[] = [];
    for (let i = 0; i < 150; i++) {
      const socket = connect(path).on('error', () => {});
      idle.push(socket);
      await new Promise((resolve) => socket.once('connect', resolve));
    }
    for (const answer of answers) answer();
    expect(Buffer.from((await slow).body).toString()).to.equal('/slow');
    for (const socket of idle) socket.destroy();
    await server.close();
  });

  /** All that comes of what a client sends at once, until it is hung up on. */
  async function saidTo(path: string, sent: string): Promise<string> {
    const client = connect(path);
    let said = '';
    client.on('data', (bytes) => (said += bytes.toString()));
    const closed = new Promise<string>((resolve) => client.on('error', () => {}).on('close', () => resolve(said)));
    client.write(sent);
    return closed;
  }

  for (const [when, pause] of [
    ['at once', null],
    ['later', () => new Promise((resolve) => setTimeout(resolve, 50))],
  ] as const) {
    it(`that answers ${when} does so to the first of many requests that come together, and hangs up`, async () => {
      const path = join(folder, 'many.sock');
      const asked: string[] = [];
      const server = await http.serve({ path }, async ({ url }) => {
        asked.push(url);
        await pause?.();
        return ok(url);
      });
      const said = await saidTo(path, 'GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
      expect(said).to.match(/^HTTP\/1.1 200 OK\r\n(.*\r\n)*connection: close\r\n(.*\r\n)*\r\n\/1$/i);
      // More than is read at once.
      await saidTo(path, 'GET /3 HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(30_000));
      expect(asked).to.deep.equal(['/1', '/3']);
      await server.close();
    });
  }

  it('hangs up on a client that asks again before it has read its answer', async () => {
    const path = join(folder, 'unread.sock');
    const asked: string[] = [];
    const large = 'x'.repeat(20_000_000);
    const server = await http.serve({ path }, ({ url }) => {
      asked.push(url);
      return ok(large);
    });
    const client = connect(path).on('error', () => {});
    client.write('GET /1 HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => client.once('readable', resolve));
    client.write('GET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    let length = 0;
    client.on('data', (bytes) => (length += bytes.length));
    await new Promise((resolve) => client.once('close', resolve));
    expect(asked).to.deep.equal(['/1']);
    expect(length, 'the answer is whole').to.be.within(large.length, large.length + 1000);
    await server.close();
  });

  it('answers requests of one connection that come one after the other', async () => {
    const path = join(folder, 'kept.sock');
    let connections = 0;
    const server = await http.serve({ path }, ({ url }) => ok(url.padEnd(2_000_000, '.')));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = (url: string) =>
      new Promise<string>((resolve, reject) => {
        const asked = request({ socketPath: path, path: url, agent }, (response) => {
          let body = '';
          response.on('data', (bytes: Buffer) => (body += bytes.toString())).on('end', () => resolve(body));
        });
        asked.on('socket', (socket) => (connections += socket.connecting ? 1 : 0)).on('error', reject);
        asked.end();
      });
    for (let i = 0; i < 20; i++) expect((await ask(`/${i}`)).replace(/\.+$/, '')).to.equal(`/${i}`);
    expect(connections).to.equal(1);
    agent.destroy();
    await server.close();
  });

  it('hangs up on a client that reads its answer for too long', async () => {
    const path = join(folder, 'slow.sock');
    const impatient = createHttp(names, systemAuthorities(), () => {}, 200);
    const size = 50_000_000;
    const server = await impatient.serve({ path }, () => ok('x'.repeat(size)));
    const client = connect(path).on('error', () => {});
    client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    let length = 0;
    client.on('data', (bytes) => {
      length += bytes.length;
      client.pause();
      setTimeout(() => client.resume(), 20);
    });
    await new Promise((resolve) => client.once('close', resolve));
    expect(length).to.be.below(size);
    await server.close();
  });

  it('hangs up on a client that sends a large body', async () => {
    const path = join(folder, 'e.sock');
    const server = await http.serve({ path }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return ok('');
    });
    const client = connect(path);
    const closed = new Promise<void>((resolve) => client.on('close', () => resolve()).on('error', () => {}));
    client.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n${'x'.repeat(200_000)}`);
    await closed;
    await server.close();
  });

  it('gives the answer of a large body to a client on the socket only up to its limit', async () => {
    const path = join(folder, 'f.sock');
    const server = await http.serve({ path }, () => ok('x'.repeat(5000)));
    expect(await codeOf(getOverUnixSocket(path, '/', 2000, 1000))).to.equal('EFBIG');
    await server.close();
  });

  it('that hangs costs its client no more than its time', async () => {
    const path = join(folder, 'g.sock');
    const server = await http.serve({ path }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 400));
      return ok('');
    });
    expect(await codeOf(getOverUnixSocket(path, '/', 50, 1000))).to.equal('ETIMEDOUT');
    await server.close();
  });
});
