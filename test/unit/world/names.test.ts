import { expect } from 'chai';
import { createSocket, type Socket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Knife } from '../../../src/lib/cut.ts';
import { parseAddress } from '../../../src/lib/address.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { createNames, fullNames, parseHosts, parseSearch } from '../../../src/world/real/names.ts';
import { codeOf } from '../../support/world-conformance.ts';

/** `alias` is a CNAME of the rest; `rcode` as in RFC 1035 §4.1.1. */
type Zone = Readonly<
  Record<string, { readonly rcode?: number; readonly cname?: string; readonly addresses?: readonly string[] }>
>;

/** A name server on loopback that knows `zone` and is silent about everything else. */
async function nameServer(zone: Zone) {
  const asked: string[] = [];
  const socket: Socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    while ((query[at] ?? 0) !== 0) {
      const length = query[at] ?? 0;
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += length + 1;
    }
    const type = query.readUInt16BE(at + 1);
    const name = labels.join('.').toLowerCase();
    asked.push(`${name} ${type === 1 ? 'A' : type === 28 ? 'AAAA' : type}`);
    const found = zone[name];
    if (found === undefined) return;
    const records: Buffer[] = [];
    const record = (owner: Buffer, kind: number, data: Uint8Array) => {
      const head = Buffer.alloc(10);
      head.writeUInt16BE(kind, 0);
      head.writeUInt16BE(1, 2);
      head.writeUInt32BE(60, 4);
      head.writeUInt16BE(data.length, 8);
      records.push(Buffer.concat([owner, head, data]));
    };
    const encoded = (text: string) =>
      Buffer.concat([
        ...text.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
        Buffer.from([0]),
      ]);
    if (found.cname !== undefined) record(encoded(name), 5, encoded(found.cname));
    for (const text of found.addresses ?? []) {
      const data = parseAddress(text);
      const kind = data?.length === 4 ? 1 : 28;
      if (data !== null && kind === type) record(encoded(found.cname ?? name), kind, data);
    }
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(0x8180 | (found.rcode ?? 0), 2);
    head.writeUInt16BE(records.length, 6);
    head.writeUInt16BE(0, 8);
    head.writeUInt16BE(0, 10);
    socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...records]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return { asked, server: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}

describe('Names', function () {
  this.timeout(10_000);
  let folder: string;
  let hostsFile: string;
  let resolvFile: string;
  let dns: Awaited<ReturnType<typeof nameServer>>;
  const settings = () => ({ tries: 1, hostsFile, resolvFile, servers: [dns.server] });
  const names = (timeoutMs = 150) => createNames({ ...settings(), timeoutMs, concurrency: 2 });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-names-'));
    hostsFile = join(folder, 'hosts');
    resolvFile = join(folder, 'resolv.conf');
    dns = await nameServer({
      'cp1.example': { addresses: ['192.0.2.1', '192.0.2.2', '2001:0DB8::1'] },
      'www.example': { cname: 'real.example', addresses: ['192.0.2.9'] },
      'none.example': { rcode: 3 },
      'broken.example': { rcode: 2 },
      'empty.example': {},
      'inhosts.example': { addresses: ['192.0.2.66'] },
      'conf1.a.test': { rcode: 3 },
      'conf1.b.test': { addresses: ['192.0.2.11'] },
      'conf1.c.test': { addresses: ['192.0.2.12', '2001:db8::12'] },
      conf1: { addresses: ['192.0.2.13'] },
      'conf2.a.test': { rcode: 2 },
      'conf2.b.test': { addresses: ['192.0.2.14'] },
      'conf3.b.test': { addresses: ['192.0.2.15'] },
      'none.example.a.test': {},
      'none.example.b.test': { addresses: ['192.0.2.16'] },
    });
  });
  beforeEach(() => writeFile(hostsFile, '10.0.0.5 InHosts.example other # comment\n'));
  after(async () => {
    dns.close();
    await rm(folder, { recursive: true });
  });

  it('resolve to all addresses of one family, in canonical text', async () => {
    expect([...(await names().resolve('cp1.example', 4, new Knife()))].sort()).to.deep.equal([
      '192.0.2.1',
      '192.0.2.2',
    ]);
    expect(await names().resolve('CP1.example.', 6, new Knife())).to.deep.equal(['2001:db8::1']);
  });

  it('follow aliases', async () => {
    expect(await names().resolve('www.example', 4, new Knife())).to.deep.equal(['192.0.2.9']);
  });

  it('that are addresses already are not asked for', async () => {
    const before = dns.asked.length;
    expect(await names().resolve('2001:0db8:0::7', 6, new Knife())).to.deep.equal(['2001:db8::7']);
    expect(await codeOf(names().resolve('192.0.2.1', 6, new Knife()))).to.equal('ENOTFOUND');
    expect(dns.asked.length).to.equal(before);
  });

  it('in the hosts file win over DNS, and a changed file is noticed', async () => {
    const these = names();
    expect(await these.resolve('inhosts.example', 4, new Knife())).to.deep.equal(['10.0.0.5']);
    await writeFile(hostsFile, '10.0.0.77 inhosts.example\n');
    expect(await these.resolve('inhosts.example', 4, new Knife())).to.deep.equal(['10.0.0.77']);
    await rm(hostsFile);
    expect(await these.resolve('inhosts.example', 4, new Knife())).to.deep.equal(['192.0.2.66']);
  });

  it('that do not exist, or have no address of the family, are ENOTFOUND', async () => {
    expect(await codeOf(names().resolve('none.example', 4, new Knife()))).to.equal('ENOTFOUND');
    expect(await codeOf(names().resolve('empty.example', 4, new Knife()))).to.equal('ENOTFOUND');
    expect(await codeOf(names().resolve('www.example', 6, new Knife()))).to.equal('ENOTFOUND');
    for (const odd of ['', 'a b', 'a\0b', '-', `${'x'.repeat(300)}`, 'a/../b']) {
      expect(await codeOf(names().resolve(odd, 4, new Knife())), odd).to.equal('ENOTFOUND');
    }
  });

  describe('with a search list', () => {
    beforeEach(() => writeFile(resolvFile, 'search a.test b.test c.test\n'));
    after(() => rm(resolvFile));
    const asked = async (host: string, family: 4 | 6 = 4, timeoutMs = 5000) => {
      const before = dns.asked.length;
      const found = await names(timeoutMs)
        .resolve(host, family, new Knife())
        .catch((thrown: unknown) => [thrown instanceof SystemError ? thrown.code : String(thrown)]);
      return [...found, ...dns.asked.slice(before)];
    };

    it('are searched for in its order when they are short, and only then; a changed list is noticed', async () => {
      expect(await asked('conf1')).to.deep.equal([
        '192.0.2.11',
        'conf1.a.test A',
        'conf1.a.test AAAA',
        'conf1.b.test A',
      ]);
      expect(await asked('cp1.example'))
        .to.have.length(3)
        .and.include('cp1.example A');
      expect(await asked('none.example')).to.deep.equal(['ENOTFOUND', 'none.example A']);
      await writeFile(resolvFile, 'search .\n');
      expect(await asked('conf1')).to.deep.equal(['192.0.2.13', 'conf1 A']);
    });

    it('are no other host for want of an address of one family', async () => {
      expect(await asked('conf1', 6)).to.deep.equal([
        'ENOTFOUND',
        'conf1.a.test AAAA',
        'conf1.a.test A',
        'conf1.b.test AAAA',
        'conf1.b.test A',
      ]);
      await writeFile(hostsFile, '10.0.0.5 conf1\n');
      expect(await asked('conf1', 6)).to.deep.equal(['ENOTFOUND', 'conf1 AAAA']);
    });

    it('are asked for no further after a failure, or silence', async () => {
      expect(await asked('conf2')).to.deep.equal(['EAI_AGAIN', 'conf2.a.test A']);
      expect((await asked('conf3', 4, 150))[0]).to.equal('ETIMEOUT');
      expect(dns.asked).not.to.include('conf3.b.test A');
    });

    it('are whole with a dot at their end', async () => {
      expect(await asked('conf1.')).to.deep.equal(['192.0.2.13', 'conf1 A']);
      expect(await asked('none.example.')).to.deep.equal(['ENOTFOUND', 'none.example A']);
    });
  });

  it('whose server fails are EAI_AGAIN, whose server is silent ETIMEOUT', async () => {
    expect(await codeOf(names().resolve('broken.example', 4, new Knife()))).to.equal('EAI_AGAIN');
    expect(await codeOf(names().resolve('silent.example', 4, new Knife()))).to.equal('ETIMEOUT');
  });

  it('are let go when cut: before, while asking, and while waiting for their turn', async () => {
    const slow = createNames({ ...settings(), timeoutMs: 5000, concurrency: 1 });
    const [first, second, done] = [new Knife(), new Knife(), new Knife()];
    const started = performance.now();
    const asking = slow.resolve('silent.example', 4, first);
    const before = dns.asked.length;
    for (let i = 0; dns.asked.length === before && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    const waiting = slow.resolve('silent2.example', 4, second);
    setTimeout(() => second.abort(), 20);
    setTimeout(() => first.abort(), 40);
    expect(await codeOf(waiting)).to.equal('ECANCELED');
    expect(await codeOf(asking)).to.equal('ECANCELED');
    expect(performance.now() - started).to.be.below(2000);
    expect(dns.asked).to.not.include('silent2.example A');
    done.abort();
    expect(await codeOf(slow.resolve('cp1.example', 4, done))).to.equal('ECANCELED');
    expect(await slow.resolve('cp1.example', 6, new Knife())).to.deep.equal(['2001:db8::1']);
  });

  it('are asked for no more at once than allowed', async () => {
    const these = createNames({ ...settings(), timeoutMs: 5000, concurrency: 2 });
    const knife = new Knife();
    const before = dns.asked.length;
    const all = ['s1', 's2', 's3', 's4'].map((name) => codeOf(these.resolve(`${name}.silent`, 4, knife)));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(dns.asked.length - before).to.equal(2);
    knife.abort();
    expect(await Promise.all(all)).to.deep.equal(['ECANCELED', 'ECANCELED', 'ECANCELED', 'ECANCELED']);
  });
});

describe('The hosts file', () => {
  it('is read as hosts(5) says', () => {
    const table = parseHosts(
      '# all\n127.0.0.1\tlocalhost\n::1 localhost ip6\n10.0.0.1 a b # c\nbad x\n10.0.0.2 a\n10.0.0.1 a\n',
    );
    expect([...table]).to.deep.equal([
      ['localhost', ['127.0.0.1', '::1']],
      ['ip6', ['::1']],
      ['a', ['10.0.0.1', '10.0.0.2']],
      ['b', ['10.0.0.1']],
    ]);
  });
});

describe('The search list', () => {
  const lines = (...text: readonly string[]) => parseSearch(text.join('\n'));

  it('is read as resolv.conf(5) says', () => {
    expect(lines()).to.deep.equal({ domains: [], ndots: 1 });
    expect(
      lines('domain a.test', 'search b.test\tC.test. \r', '#search d', ' search e', ';domain f', 'search'),
    ).to.deep.equal({
      domains: ['b.test', 'c.test'],
      ndots: 1,
    });
    expect(lines('search b.test c.test', 'domain a.test x').domains).to.deep.equal(['a.test']);
    expect(lines('search 1 2 3 4 5 6 7').domains).to.have.length(6);
    expect(lines('options rotate ndots:3', 'options ndots:x edns0').ndots).to.equal(3);
    expect(lines('options ndots:99').ndots).to.equal(15);
  });

  it('goes before a name of few dots, and after one of enough', () => {
    const search = { domains: ['a', 'b'], ndots: 2 };
    expect(fullNames('x.y', search)).to.deep.equal(['x.y.a', 'x.y.b', 'x.y']);
    expect(fullNames('x.y.z', search)).to.deep.equal(['x.y.z']);
    expect(fullNames('x', { domains: ['', 'not a name', 'n'.repeat(253)], ndots: 1 })).to.deep.equal(['x']);
    expect(fullNames('x', { domains: ['a'], ndots: 0 })).to.deep.equal(['x']);
  });
});
