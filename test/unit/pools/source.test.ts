import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { openSource } from '../../../src/pools/open.ts';
import { showUrl } from '../../../src/lib/url.ts';
import type { Answer, Source } from '../../../src/pools/source.ts';
import { createFiles } from '../../../src/world/real/files.ts';
import { FakeWorld, response } from '../../support/fake-world.ts';
import { serviceConfig } from '../../support/service-config.ts';

const text = (answer: Answer) =>
  answer.is === 'content' ? new TextDecoder().decode(answer.bytes) : answer.is === 'failed' ? answer.reason : answer.is;

describe('pool sources', () => {
  let fake: FakeWorld;
  const open = (url: string): Source => {
    const source = openSource(fake.world, serviceConfig({ source: url }));
    if (typeof source === 'string') throw new Error(source);
    return source;
  };
  const ask = async (source: Source, afresh = false) => text(await source.ask(afresh, new Knife()));
  beforeEach(() => {
    fake = new FakeWorld();
  });

  it('What is no pool source is named, without its password.', () => {
    const opened = (source: string) => openSource(fake.world, serviceConfig({ source }));
    expect(opened('ftp://me:secret@host/x')).to.equal('not a pool source: ftp://***@host/x');
    expect(opened('file://pools/text')).to.equal('not an absolute path: file://pools/text');
    const noFolder = 'the folder of the pool is missing, write etcd://host:port/folder';
    expect(opened('etcd://conf:2379')).to.equal(noFolder);
    expect(opened('etcd://me:secret@conf:2379/')).to.equal(noFolder);
    expect(opened('etcd://a,b:x/pools/text')).to.equal('not etcd://host:port/folder');
    expect(opened('dns://10.0.0.1/x')).to.equal('not dns://name');
    expect(opened('srv://')).to.equal('not srv://_service._proto.name');
    expect(opened('k8s://secret@')).to.equal('not k8s://host:port');
  });

  it('Passwords and tokens are not shown.', () => {
    expect(showUrl('http://me:p@ss@pools/text?a=b@c')).to.equal('http://***@pools/text?a=b@c');
    expect(showUrl('http://pools/a@b')).to.equal('http://pools/a@b');
  });

  it('Files of an access that do not answer make a source fail, are asked once, and heard when they answer.', async () => {
    let reads = 0;
    let answer = (_: Uint8Array): void => {};
    const read = () => {
      reads++;
      return new Promise<Uint8Array>((resolve) => (answer = resolve));
    };
    const world = { ...fake.world, files: { ...fake.files, read } };
    const config = serviceConfig({ source: 'https://pools/text' });
    const access = { ...config.sourceAccess, tokenFile: '/mnt/token' };
    const source = openSource(world, { ...config, sourceAccess: access });
    if (typeof source === 'string') throw new Error(source);
    for (const attempt of ['first', 'second']) {
      const asked = ask(source);
      await fake.clock.advance(5000);
      expect(await asked, attempt).to.equal('read /mnt/token: ETIMEDOUT: no answer in 5 s');
    }
    expect(reads).to.equal(1);
    const asked = ask(source);
    answer(new TextEncoder().encode('abc\n'));
    expect(await asked).not.to.match(/token/);
  });

  describe('file', () => {
    it('is read again when its time, size or inode changes, and for 3 s after a change.', async () => {
      const source = open('file:///pools/text');
      fake.write('/pools/text', 'one');
      expect(await ask(source)).to.equal('one');
      await fake.clock.advance(3000);
      fake.reads.length = 0;
      expect(await ask(source)).to.equal('unchanged');
      expect(fake.reads).to.deep.equal([]);
      fake.write('/pools/text', 'two');
      expect(await ask(source)).to.equal('two');
    });

    it('written twice within one tick of its clock is not missed.', async () => {
      const source = open('file:///pools/text');
      const stamp = { mtimeMs: 1, ctimeMs: 1, inode: 1 };
      fake.disk.set('/pools/text', { ...stamp, bytes: new TextEncoder().encode('weight 10') });
      expect(await ask(source)).to.equal('weight 10');
      fake.disk.set('/pools/text', { ...stamp, bytes: new TextEncoder().encode('weight 20') });
      await fake.clock.advance(1000);
      expect(await ask(source)).to.equal('weight 20');
    });

    it('changed in place, with the size and time that it had, is read again.', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'anybal-file-'));
      const path = join(folder, 'text');
      const write = async (content: string) => {
        await writeFile(path, content);
        await utimes(path, 1, 1);
        return createFiles().stat(path);
      };
      try {
        const source = openSource({ ...fake.world, files: createFiles() }, serviceConfig({ source: `file://${path}` }));
        if (typeof source === 'string') throw new Error(source);
        const before = await write('weight 10');
        expect(await ask(source)).to.equal('weight 10');
        await fake.clock.advance(60_000);
        let after = await write('weight 20');
        // Both may be in one tick of the file system's clock.
        while (after.ctimeMs === before.ctimeMs) after = await write('weight 20');
        expect(after).to.deep.equal({ ...before, ctimeMs: after.ctimeMs });
        expect(await ask(source)).to.equal('weight 20');
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it('touched, or replaced by the same content, is unchanged.', async () => {
      const source = open('file:///pools/text');
      fake.write('/pools/text', 'one');
      await ask(source);
      fake.write('/pools/text', 'one');
      expect(await ask(source)).to.equal('unchanged');
    });

    it('that does not answer is asked once, given up after 5 s, and heard when it does answer.', async () => {
      const files = { ...fake.files };
      let answer = () => {};
      let stats = 0;
      const hung = new Promise<void>((resolve) => (answer = resolve));
      files.stat = async (path) => {
        stats++;
        await hung;
        return fake.files.stat(path);
      };
      fake.write('/pools/text', 'one');
      const source = openSource({ ...fake.world, files }, serviceConfig({ source: 'file:///pools/text' }));
      if (typeof source === 'string') throw new Error(source);
      for (const attempt of ['first', 'second']) {
        const asked = ask(source);
        await fake.clock.advance(5000);
        expect(await asked, attempt).to.equal('no answer in 5 s');
      }
      expect(stats).to.equal(1);
      const knife = new Knife();
      const cut = source.ask(false, knife);
      knife.abort();
      expect(text(await cut)).to.equal('canceled');
      answer();
      expect(await ask(source)).to.equal('one');
      expect(await ask(source)).to.equal('unchanged');
    });

    it('may be absent at the start, vanish and come back.', async () => {
      const source = open('file://localhost/pools/text');
      expect(await ask(source)).to.match(/ENOENT/);
      fake.write('/pools/text', 'one');
      expect(await ask(source)).to.equal('one');
      const file = fake.disk.get('/pools/text');
      fake.disk.clear();
      expect(await ask(source)).to.match(/ENOENT/);
      if (file !== undefined) fake.disk.set('/pools/text', file);
      expect(await ask(source)).to.equal('unchanged');
    });

    it('that changes while it is read is not believed.', async () => {
      const read = fake.files.read;
      const files = {
        ...fake.files,
        read: async (path: string, maxBytes: number) => {
          const bytes = await read(path, maxBytes);
          fake.write(path, 'one and two');
          return bytes;
        },
      };
      const source = openSource({ ...fake.world, files }, serviceConfig({ source: 'file:///pools/text' }));
      if (typeof source === 'string') throw new Error(source);
      fake.write('/pools/text', 'one');
      expect(await ask(source)).to.equal('changed while it was read');
    });

    it('above 4 MiB is a failure.', async () => {
      fake.write('/pools/text', new Uint8Array((4 << 20) + 1));
      expect(await ask(open('file:///pools/text'))).to.match(/EFBIG/);
    });

    it('has a path as it stands, as in PyBal: per cent signs are no escapes.', async () => {
      fake.write('/pools/a%20b', 'one');
      expect(await ask(open('file:///pools/a%20b'))).to.equal('one');
    });

    it('is looked at each second, however often it fails.', () => {
      expect(open('file:///pools/text').delayMs(7, 0.5)).to.equal(1000);
    });
  });

  describe('HTTP', () => {
    const URL = 'http://pools/text';

    it('is asked by the tag of the last content, once that has been the same for 3 s.', async () => {
      const source = open(URL);
      fake.reply = () => response(200, 'one', { etag: '"1"', 'last-modified': 'Sat, 21 Nov 2026 00:00:00 GMT' });
      expect(await ask(source)).to.equal('one');
      expect(await ask(source)).to.equal('unchanged');
      expect(fake.requests[1]?.headers).not.to.have.any.keys('if-none-match', 'if-modified-since');
      await fake.clock.advance(3000);
      fake.reply = () => response(304);
      expect(await ask(source)).to.equal('unchanged');
      expect(fake.requests[2]?.headers).to.include({ 'if-none-match': '"1"' });
      expect(fake.requests[2]).to.include({ timeoutMs: 5000, maxBytes: 4 << 20 });
    });

    it('is not asked by date, which says nothing of an older file put back.', async () => {
      const source = open(URL);
      let [content, modified] = ['new', Date.UTC(2026, 10, 21)];
      fake.reply = ({ headers }) => {
        const since = headers?.['if-modified-since'];
        if (since !== undefined && modified <= Date.parse(since)) return response(304);
        return response(200, content, { 'last-modified': new Date(modified).toUTCString() });
      };
      expect(await ask(source)).to.equal('new');
      await fake.clock.advance(5000);
      [content, modified] = ['old', Date.UTC(2025, 1, 1)];
      expect(await ask(source)).to.equal('old');
    });

    it('is asked for all of it once in a minute, whatever its tag says.', async () => {
      const source = open(URL);
      let content = 'one';
      fake.reply = ({ headers }) =>
        headers?.['if-none-match'] === '"1"' ? response(304) : response(200, content, { etag: '"1"' });
      expect(await ask(source)).to.equal('one');
      content = 'two';
      await fake.clock.advance(59_000);
      expect(await ask(source)).to.equal('unchanged');
      await fake.clock.advance(1000);
      expect(await ask(source)).to.equal('two');
      await fake.clock.advance(59_000);
      expect(await ask(source)).to.equal('unchanged');
    });

    it('is asked without it when its last answer is doubted.', async () => {
      const source = open(URL);
      fake.reply = () => response(200, '', { etag: '"1"' });
      await ask(source);
      await fake.clock.advance(5000);
      await ask(source, true);
      expect(fake.requests[1]?.headers).not.to.have.any.keys('if-none-match');
    });

    it('is told who we are, and whom we trust, by the files of the options as they are now.', async () => {
      const files = { caFile: '/ca', certificateFile: '/cert', keyFile: '/key', passwordFile: '/password' };
      for (const [path, content] of [
        ['/ca', 'CA'],
        ['/cert', 'CERT'],
        ['/key', 'KEY'],
        ['/password', 'pässword\n'],
      ] as const)
        fake.write(path, content);
      const { sourceAccess } = serviceConfig();
      const asked = async (over: Partial<typeof sourceAccess>) => {
        const service = serviceConfig({ source: 'https://pools/text', sourceAccess: { ...sourceAccess, ...over } });
        const source = openSource(fake.world, service);
        if (typeof source === 'string') throw new Error(source);
        fake.reply = () => response(200, 'one');
        await ask(source);
        return fake.requests.at(-1);
      };
      const request = await asked({ ...files, user: 'me', tls: 'insecure' });
      expect(request?.tls).to.deep.equal({
        verify: false,
        ca: 'CA',
        certificate: { cert: 'CERT', key: 'KEY' },
        files: ['/ca', '/cert', '/key'],
      });
      const basic = Buffer.from('me:pässword').toString('base64');
      expect(request?.headers).to.include({ authorization: `Basic ${basic}` });
      fake.write('/token', 'abc\n');
      expect((await asked({ tokenFile: '/token' }))?.headers).to.include({ authorization: 'Bearer abc' });
      expect((await asked({}))?.headers).not.to.have.any.keys('authorization');
    });

    it('whose password file is missing, empty or more than a line is not asked.', async () => {
      const { sourceAccess } = serviceConfig();
      const service = serviceConfig({
        source: 'https://pools/text',
        sourceAccess: { ...sourceAccess, tokenFile: '/token' },
      });
      const source = openSource(fake.world, service);
      if (typeof source === 'string') throw new Error(source);
      expect(await ask(source)).to.match(/ENOENT/);
      for (const wrong of ['', '\n', 'a\nb']) {
        fake.write('/token', wrong);
        expect(await ask(source)).to.equal('/token does not hold one line of text');
      }
      expect(fake.requests).to.have.length(0);
    });

    it('that answers the same bytes under another tag is unchanged.', async () => {
      const source = open(URL);
      fake.reply = () => response(200, 'one', { etag: `"${fake.requests.length}"` });
      await ask(source);
      expect(await ask(source)).to.equal('unchanged');
    });

    const failures: readonly (readonly [string, ReturnType<FakeWorld['reply']>, RegExp])[] = [
      [
        'a refused connection',
        new SystemError('ECONNREFUSED', `GET ${URL}`),
        /^GET http:\/\/pools\/text: ECONNREFUSED$/,
      ],
      ['a body cut short', new SystemError('ECONNRESET', 'GET'), /ECONNRESET/],
      ['status 500, whatever its body', response(500, 'one'), /^HTTP 500$/],
      ['status 404', response(404), /^HTTP 404$/],
      ['status 204', response(204), /^HTTP 204$/],
      ['status 206', response(206, 'on'), /^HTTP 206$/],
      [
        'a redirect',
        response(301, '', { location: 'https://pools/\u001b[2J' }),
        /^HTTP 301: redirected to "https:\/\/pools\/\\u001b\[2J", and redirects are not followed$/,
      ],
      ['a redirect to nowhere', response(302), /^HTTP 302: redirected, and redirects are not followed$/],
      ['304 to an unconditional question', response(304), /^HTTP 304 although/],
      [
        'a compressed body that was not asked for',
        response(200, 'x', { 'content-encoding': 'gzip' }),
        /content-encoding gzip/,
      ],
    ];
    for (const [what, reply, reason] of failures) {
      it(`calls ${what} a failure, and forgets nothing.`, async () => {
        const source = open(URL);
        fake.reply = () => response(200, 'one');
        await ask(source);
        fake.reply = () => reply;
        expect(await ask(source)).to.match(reason);
        fake.reply = () => response(200, 'one');
        expect(await ask(source)).to.equal('unchanged');
      });
    }

    it('does not show the password of its URL in a failure.', async () => {
      fake.reply = (request) => new SystemError('ECONNREFUSED', `GET ${request.url}`);
      expect(await ask(open('http://me:secret@pools/text'))).to.equal('GET http://***@pools/text: ECONNREFUSED');
    });

    it('backs off after failures to 30 s at most, with jitter.', () => {
      const { delayMs } = { delayMs: (n: number, random: number) => open(URL).delayMs(n, random) };
      expect([0, 1, 2, 3, 4, 5, 99].map((n) => delayMs(n, 0))).to.deep.equal([
        1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
      ]);
      expect(delayMs(5, 0.999)).to.be.within(15_000, 15_100);
    });
  });
});
