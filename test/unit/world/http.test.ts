import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer } from 'node:tls';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Knife } from '../../../src/lib/cut.ts';
import { errorText } from '../../../src/lib/errors.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import { createHttp } from '../../../src/world/real/http.ts';
import { createNames, NAMES_DEFAULTS } from '../../../src/world/real/names.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { listenSomewhere } from '../../support/listen.ts';
import type { HttpTls, Names } from '../../../src/world/world.ts';
import { codeOf } from '../../support/world-conformance.ts';

// Nobody serves names there: what the hosts file does not know is refused at once.
const names = createNames({
  ...NAMES_DEFAULTS,
  resolvFile: '/dev/null',
  timeoutMs: 200,
  tries: 1,
  servers: ['127.0.0.1:9'],
});
const http = createHttp(names, systemAuthorities(), () => {});
const ok = (body: string) => ({ status: 200, headers: {}, body });

/** A server that sends `pieces`, one every 30 ms, and then does what `end` says; answers with its URL's host and port. */
async function rawServer(pieces: readonly string[], end: 'end' | 'destroy' | 'hold', tls = false) {
  const held = new Set<Socket>();
  const serve = (socket: Socket) => {
    held.add(socket.on('error', () => {}));
    const send = async () => {
      for (const piece of pieces) {
        if (socket.destroyed) return;
        socket.write(piece);
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      if (end === 'end') socket.end();
      if (end === 'destroy') socket.destroy();
    };
    socket.once('data', () => void send());
  };
  const server: Server = tls ? createTlsServer({ cert: CERTIFICATE, key: KEY }, serve) : createServer(serve);
  const port = await listenSomewhere(server);
  return {
    host: `127.0.0.1:${port}`,
    close() {
      for (const socket of held) socket.destroy();
      server.close();
    },
  };
}

async function codeFrom(pieces: readonly string[], end: 'end' | 'destroy' | 'hold', timeoutMs = 2000): Promise<string> {
  const server = await rawServer(pieces, end);
  try {
    return await codeOf(http.get({ url: `http://${server.host}/`, timeoutMs, maxBytes: 1000 }, new Knife()));
  } finally {
    server.close();
  }
}

describe('An HTTP request', () => {
  it('whose body ends before its Content-Length is ECONNRESET', async () => {
    expect(await codeFrom(['HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort'], 'end')).to.equal('ECONNRESET');
    expect(await codeFrom(['HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort'], 'destroy')).to.equal('ECONNRESET');
  });

  it('whose chunks end without the last one is ECONNRESET', async () => {
    const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
    expect(await codeFrom([`${head}5\r\nshort\r\n`], 'end')).to.equal('ECONNRESET');
  });

  it('whose answer trickles in for ever is over in time', async () => {
    // Ten seconds of them.
    const pieces = ['HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n', ...'abcdefghij'.repeat(33)];
    const started = performance.now();
    expect(await codeFrom(pieces, 'hold', 150)).to.equal('ETIMEDOUT');
    expect(performance.now() - started).to.be.below(5000);
  });

  it('that is closed without an answer is ECONNRESET', async () => {
    expect(await codeFrom([], 'end')).to.equal('ECONNRESET');
  });

  it('that is answered by something else than HTTP is EPROTO', async () => {
    expect(await codeFrom(['SSH-2.0-OpenSSH_9.2\r\n'], 'hold')).to.equal('EPROTO');
  });

  it('whose headers never end is refused', async () => {
    const pieces = ['HTTP/1.1 200 OK\r\n', `x: ${'y'.repeat(20_000)}\r\n`];
    expect(await codeFrom(pieces, 'hold')).to.be.oneOf(['EFBIG', 'EPROTO']);
  });

  it('to a certificate that no known authority signed is EPROTO', async () => {
    const server = await rawServer(['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'], 'end', true);
    try {
      const url = `https://${server.host}/`;
      expect(await codeOf(http.get({ url, timeoutMs: 2000, maxBytes: 10 }, new Knife()))).to.equal('EPROTO');
    } finally {
      server.close();
    }
  });

  it('to a certificate of a known authority is made, if it is for that name', async () => {
    const server = await rawServer(['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'], 'end', true);
    const folder = await mkdtemp(join(tmpdir(), 'anybal-https-'));
    try {
      const hostsFile = join(folder, 'hosts');
      await writeFile(hostsFile, '127.0.0.1 real.example other.example\n');
      const trusting = createHttp(
        createNames({ ...NAMES_DEFAULTS, hostsFile }),
        () => createSecureContext({ ca: CERTIFICATE }),
        () => {},
      );
      const ask = (name: string) => {
        const url = `https://${server.host.replace('127.0.0.1', name)}/`;
        return trusting.get({ url, timeoutMs: 2000, maxBytes: 10 }, new Knife());
      };
      expect(Buffer.from((await ask('real.example')).body).toString()).to.equal('hi');
      expect(await codeOf(ask('other.example'))).to.equal('EPROTO');
      expect(await codeOf(ask('127.0.0.1'))).to.equal('EPROTO');
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });

  it('to a literal IPv6 address is made', async () => {
    const probe = createServer();
    const port = await listenSomewhere(probe, '::1');
    await new Promise((resolve) => probe.close(resolve));
    const server = await http.serve({ address: '::1', port }, () => ok('six'));
    try {
      const { body } = await http.get({ url: `http://[::1]:${port}/`, timeoutMs: 2000, maxBytes: 10 }, new Knife());
      expect(Buffer.from(body).toString()).to.equal('six');
    } finally {
      await server.close();
    }
  });

  it('finds its host in the hosts file', async () => {
    const server = await rawServer(['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'], 'end');
    try {
      const url = `http://${server.host.replace('127.0.0.1', 'localhost')}/`;
      const { body } = await http.get({ url, timeoutMs: 2000, maxBytes: 10 }, new Knife());
      expect(Buffer.from(body).toString()).to.equal('hi');
    } finally {
      server.close();
    }
  });

  for (const [answered, address] of [
    [4, '127.0.0.1'],
    [6, '::1'],
  ] as const)
    it(`to a name is made though nobody answers for its IPv${answered === 4 ? 6 : 4} addresses`, async () => {
      let ended = 0;
      const half: Names = {
        ...names,
        resolve: (_, family, cut) =>
          family === answered
            ? Promise.resolve([address])
            : new Promise((__, reject) => cut.onAbort(() => reject(new Error(`cut ${++ended}`)))),
      };
      const server = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'));
      const url = `http://half.example:${await listenSomewhere(server, address)}/`;
      try {
        const asking = createHttp(half, systemAuthorities(), () => {});
        expect(await asking.get({ url, timeoutMs: 4000, maxBytes: 10 }, new Knife())).to.have.property('status', 200);
        expect(ended, 'questions that were given up').to.equal(1);
      } finally {
        server.close();
      }
    });

  it('whose handshake hangs is let go when its time is over', async () => {
    const closed: string[] = [];
    const silent = createServer((socket) =>
      socket
        .on('error', () => {})
        .on('close', () => closed.push('closed'))
        .resume(),
    );
    const url = `https://127.0.0.1:${await listenSomewhere(silent)}/`;
    try {
      expect(await codeOf(http.get({ url, timeoutMs: 200, maxBytes: 10 }, new Knife()))).to.equal('ETIMEDOUT');
      for (let waited = 0; closed.length === 0 && waited < 2000; waited += 10)
        await new Promise((resolve) => setTimeout(resolve, 10));
      expect(closed).to.deep.equal(['closed']);
    } finally {
      silent.close();
    }
  });

  it('that was answered in time is answered, though we looked too late', async () => {
    const program = `require('node:net').createServer((socket) => socket.once('data', () => {
      console.log('asked');
      setTimeout(() => socket.end('HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi'), 50);
    })).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const port = await new Promise((resolve) => child.stdout.once('data', (said) => resolve(Number(said))));
      child.stdout.once('data', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1200));
      const request = { url: `http://127.0.0.1:${String(port)}/`, timeoutMs: 1000, maxBytes: 10 };
      expect(await http.get(request, new Knife())).to.have.property('status', 200);
    } finally {
      child.kill();
    }
  });

  it('that this host can not make is not the server’s fault', async () => {
    // Nobody connects to a group: connect(2) says so itself.
    for (const url of ['http://224.0.0.1:9/', 'https://224.0.0.1:9/'])
      expect(await codeOf(http.get({ url, timeoutMs: 3000, maxBytes: 10 }, new Knife()))).to.equal('ENETUNREACH');
  });

  it('to a name that can not be resolved fails with the resolver’s code', async () => {
    const request = { url: 'http://no-such-name.invalid/', timeoutMs: 3000, maxBytes: 10 };
    expect(await codeOf(http.get(request, new Knife()))).to.equal('EAI_AGAIN');
  });
});

/** 'resolved', or the code of the error. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'resolved',
    () => codeOf(promise),
  );
}

describe('An HTTP answer that goes on', () => {
  const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
  /** What came before it ended, and how that was. */
  const follow = async (pieces: readonly string[], end: 'end' | 'destroy' | 'hold', cutAfterMs = 2000) => {
    const server = await rawServer(pieces, end);
    const knife = new Knife();
    const timer = setTimeout(() => knife.abort(), cutAfterMs);
    let told = '';
    const request = { url: `http://${server.host}/`, timeoutMs: 200, maxBytes: 10 };
    try {
      const answer = http.stream(request, (bytes) => (told += Buffer.from(bytes).toString()), knife);
      const code = await outcome(answer);
      return { told, code, answer: await answer.catch(() => null) };
    } finally {
      clearTimeout(timer);
      server.close();
    }
  };

  it('comes piece by piece, for longer than its head may take and larger than a body may be', async () => {
    const pieces = [head, ...Array.from({ length: 10 }, () => '3\r\nabc\r\n'), '0\r\n\r\n'];
    const { told, code, answer } = await follow(pieces, 'hold');
    expect([told, code]).to.deep.equal(['abc'.repeat(10), 'resolved']);
    expect(answer).to.include({ status: 200 });
    expect(answer?.body).to.have.length(0);
  });

  it('and breaks is ECONNRESET, after all that came', async () => {
    const { told, code } = await follow([head, '3\r\nabc\r\n'], 'destroy');
    expect([told, code]).to.deep.equal(['abc', 'ECONNRESET']);
  });

  it('and falls silent is followed until it is cut', async () => {
    const { told, code } = await follow([head, '3\r\nabc\r\n'], 'hold', 500);
    expect([told, code]).to.deep.equal(['abc', 'ECANCELED']);
  });

  it('has to begin in time', async () => {
    expect((await follow(['HTTP/1.1 200 OK\r\n'], 'hold')).code).to.equal('ETIMEDOUT');
  });

  it('with another status is an answer as any other, and bounded', async () => {
    const refused = 'HTTP/1.1 410 Gone\r\ncontent-length: 4\r\n\r\ngone';
    const { told, answer } = await follow([refused], 'hold');
    expect([told, answer?.status, Buffer.from(answer?.body ?? []).toString()]).to.deep.equal(['', 410, 'gone']);
    const long = 'HTTP/1.1 500 Oh\r\ncontent-length: 11\r\n\r\n12345678901';
    expect((await follow([long], 'hold')).code).to.equal('EFBIG');
  });
});

describe('An HTTP request with a body', () => {
  it('is a POST with it', async () => {
    let asked = '';
    const server = createHttpServer((request, response) => {
      request.on('data', (bytes: Uint8Array) => (asked += Buffer.from(bytes).toString()));
      request.on('end', () => response.end(`${request.method} ${request.headers['content-type']}`));
    });
    const port = await listenSomewhere(server);
    const request = {
      url: `http://127.0.0.1:${port}/x`,
      headers: { 'content-type': 'application/json' },
      body: '{"ä":1}',
      timeoutMs: 2000,
      maxBytes: 100,
    };
    try {
      const { status, body } = await http.post(request, new Knife());
      expect([status, Buffer.from(body).toString(), asked]).to.deep.equal([200, 'POST application/json', '{"ä":1}']);
    } finally {
      server.close();
    }
  });
});

describe('What is said of an HTTP request', () => {
  it('shows nobody a password', async () => {
    const failing = ['http://me:secret@127.0.0.1:1/', 'https://me:secret@127.0.0.1:1/', 'ftp://me:secret@host/'];
    for (const url of failing) {
      const text = await http.get({ url, timeoutMs: 2000, maxBytes: 10 }, new Knife()).then(String, errorText);
      expect(text).to.contain('***@').and.to.not.contain('secret');
    }
  });
});

describe('HTTP over TLS', () => {
  it('says of a server without TLS that it has none', async () => {
    const server = await rawServer(['HTTP/1.0 400 Bad Request\r\n\r\nClient sent no HTTP\n'], 'end');
    try {
      const asked = http.get({ url: `https://${server.host}/`, timeoutMs: 2000, maxBytes: 10 }, new Knife());
      const text = await asked.then(String, errorText);
      expect(text).to.match(/EPROTO: .*, it speaks no TLS/);
    } finally {
      server.close();
    }
  });

  it('trusts whom it is told to trust, or everybody if it must', async () => {
    const server = await rawServer(['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'], 'end', true);
    const folder = await mkdtemp(join(tmpdir(), 'anybal-https-'));
    try {
      const hostsFile = join(folder, 'hosts');
      await writeFile(hostsFile, '127.0.0.1 real.example other.example\n');
      const here = createHttp(createNames({ ...NAMES_DEFAULTS, hostsFile }), systemAuthorities(), () => {});
      const ask = (name: string, tls: HttpTls) => {
        const url = `https://${server.host.replace('127.0.0.1', name)}/`;
        return outcome(here.get({ url, timeoutMs: 2000, maxBytes: 10, tls }, new Knife()));
      };
      expect(await ask('real.example', { verify: true })).to.equal('EPROTO');
      expect(await ask('real.example', { verify: true, ca: CERTIFICATE })).to.equal('resolved');
      expect(await ask('other.example', { verify: true, ca: CERTIFICATE })).to.equal('EPROTO');
      expect(await ask('other.example', { verify: false })).to.equal('resolved');
      expect(await ask('real.example', { verify: true, ca: 'no certificate' })).to.equal('EINVAL');
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
});
