import { expect } from 'chai';
import { createSocket, type Socket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Knife } from '../../../src/lib/cut.ts';
import { parseAddress } from '../../../src/lib/address.ts';
import { createNames, parseHosts } from '../../../src/world/real/names.ts';
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
  let dns: Awaited<ReturnType<typeof nameServer>>;
  const names = () => createNames({ timeoutMs: 150, tries: 1, concurrency: 2, hostsFile, servers: [dns.server] });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-names-'));
    hostsFile = join(folder, 'hosts');
    dns = await nameServer({
      'cp1.example': { addresses: ['192.0.2.1', '192.0.2.2', '2001:0DB8::1'] },
      'www.example': { cname: 'real.example', addresses: ['192.0.2.9'] },
      'none.example': { rcode: 3 },
      'broken.example': { rcode: 2 },
      'empty.example': {},
      'inhosts.example': { addresses: ['192.0.2.66'] },
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

  it('whose server fails are EAI_AGAIN, whose server is silent ETIMEOUT', async () => {
    expect(await codeOf(names().resolve('broken.example', 4, new Knife()))).to.equal('EAI_AGAIN');
    expect(await codeOf(names().resolve('silent.example', 4, new Knife()))).to.equal('ETIMEOUT');
  });

  it('are let go when cut: before, while asking, and while waiting for their turn', async () => {
    const slow = createNames({ timeoutMs: 5000, tries: 1, concurrency: 1, hostsFile, servers: [dns.server] });
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
    const these = createNames({ timeoutMs: 5000, tries: 1, concurrency: 2, hostsFile, servers: [dns.server] });
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
