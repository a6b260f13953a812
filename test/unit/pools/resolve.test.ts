import { expect } from 'chai';
import { SystemError } from '../../../src/lib/errors.ts';
import { Resolver } from '../../../src/pools/resolve.ts';
import { FakeWorld } from '../../support/fake-world.ts';

describe('resolver', () => {
  let fake: FakeWorld;
  let resolver: Resolver;
  let told: (string | null)[];
  const follow = (host: string, family: 4 | 6 = 4, known: string | null = null) =>
    resolver.follow(host, family, known, (address) => told.push(address));
  beforeEach(() => {
    fake = new FakeWorld();
    resolver = new Resolver(fake.world);
    resolver.setInterval(60);
    told = [];
  });
  afterEach(async () => {
    await resolver.stop();
    expect(fake.clock.pending, 'timers left after stop').to.equal(0);
  });

  it('A literal is its own address at once, in canonical spelling, without asking anybody.', () => {
    follow('2001:DB8:0:0::1', 6);
    expect(told).to.deep.equal(['2001:db8::1']);
    expect(fake.lookups).to.deep.equal([]);
  });

  for (const [host, family, why] of [
    ['10.0.0.1', 6, 'not an IPv6 address, as the VIP is'],
    ['::1', 4, 'not an IPv4 address, as the VIP is'],
    ['0.0.0.0', 4, 'stands for no host'],
    ['::', 6, 'stands for no host'],
    ['224.0.0.1', 4, 'a multicast address'],
    ['255.255.255.255', 4, 'a broadcast or reserved address'],
    ['ff02::1', 6, 'a multicast address'],
    ['fe80::1%eth0', 6, 'a link-local address'],
  ] as const) {
    it(`The literal ${host} is no real server of family ${family}: it is unresolved, and that is said.`, () => {
      follow(host, family);
      expect(told).to.deep.equal([null]);
      expect(fake.lines).to.deep.equal([`[server] ERROR: Initialization failed for server ${host}: ${why}`]);
    });
  }

  it('Of several addresses the first in order is taken, and kept while it is among the answers.', async () => {
    fake.dns.set('4 cp1', ['10.0.0.9', '10.0.0.3']);
    follow('cp1');
    await fake.clock.advance(0);
    fake.dns.set('4 cp1', ['10.0.0.1', '10.0.0.3']);
    await fake.clock.advance(70_000);
    expect(fake.lookups).to.have.length(2);
    expect(told).to.deep.equal(['10.0.0.3']);
    fake.dns.set('4 cp1', ['10.0.0.2', '10.0.0.1']);
    await fake.clock.advance(70_000);
    expect(told).to.deep.equal(['10.0.0.3', '10.0.0.1']);
    expect(fake.lines).to.deep.equal(['[server] WARN: cp1 moved from 10.0.0.3 to 10.0.0.1']);
  });

  for (const answer of [
    new SystemError('ENOTFOUND', 'resolve cp1'),
    new SystemError('ETIMEOUT', 'resolve cp1'),
    [],
    ['0.0.0.0'],
  ]) {
    it(`No answer (${answer instanceof SystemError ? answer.code : JSON.stringify(answer)}) keeps the last address, says so once, and is asked again with back-off.`, async () => {
      fake.dns.set('4 cp1', ['10.0.0.3']);
      follow('cp1');
      await fake.clock.advance(0);
      fake.dns.set('4 cp1', answer);
      await fake.clock.advance(66_000);
      fake.lookups.length = 0;
      await fake.clock.advance(300_000);
      expect(told).to.deep.equal(['10.0.0.3']);
      expect(fake.lines).to.have.length(1);
      expect(fake.lines[0]).to.match(/^\[server\] WARN: Lookup failed for server cp1: .*; keeping 10\.0\.0\.3$/);
      expect(fake.lookups.length).to.be.within(6, 14);
    });
  }

  it('A name that never resolved is null, named once in the words of PyBal, and found when it appears.', async () => {
    follow('cp1');
    await fake.clock.advance(20_000);
    expect(told).to.deep.equal([null]);
    expect(fake.lines).to.have.length(1);
    expect(fake.lines[0]).to.match(/^\[server\] ERROR: Initialization failed for server cp1: /);
    fake.dns.set('4 cp1', ['10.0.0.3']);
    await fake.clock.advance(60_000);
    expect(told).to.deep.equal([null, '10.0.0.3']);
  });

  it('An address known from before stays while DNS agrees or has no answer.', async () => {
    fake.dns.set('4 cp1', ['10.0.0.1', '10.0.0.3']);
    follow('cp1', 4, '10.0.0.3');
    follow('cp2', 4, '10.0.0.4');
    await fake.clock.advance(0);
    expect(told).to.deep.equal(['10.0.0.3', '10.0.0.4']);
    await fake.clock.advance(10_000);
    expect(told).to.deep.equal(['10.0.0.3', '10.0.0.4']);
  });

  it('An address known from before is never used when DNS knows better at once.', async () => {
    fake.dns.set('4 cp1', ['10.0.0.5']);
    follow('cp1', 4, '10.0.0.3');
    await fake.clock.advance(10_000);
    expect(told).to.deep.equal(['10.0.0.5']);
  });

  it('An address known from before is used while DNS hangs.', async () => {
    fake.dns.set('4 cp1', 'hang');
    follow('cp1', 4, '10.0.0.3');
    await fake.clock.advance(900);
    expect(told).to.deep.equal([]);
    await fake.clock.advance(200);
    expect(told).to.deep.equal(['10.0.0.3']);
  });

  it('An address known from before that is of the other family, or no server, is not used.', () => {
    follow('cp1', 6, '10.0.0.3');
    follow('cp2', 4, '0.0.0.0');
    expect(told).to.deep.equal([]);
  });

  it('An address that only a later follower knows is used for all, at once when DNS has failed already.', async () => {
    follow('cp1');
    await fake.clock.advance(0);
    expect(told).to.deep.equal([null]);
    follow('cp1', 4, '10.0.0.3');
    expect(told).to.deep.equal([null, '10.0.0.3', '10.0.0.3']);
    await fake.clock.advance(10_000);
    expect(told).to.have.length(3);
  });

  it('An address that only a later follower knows is used while DNS hangs.', async () => {
    fake.dns.set('4 cp1', 'hang');
    follow('cp1');
    await fake.clock.advance(5000);
    follow('cp1', 4, '10.0.0.3');
    expect(told).to.deep.equal([]);
    await fake.clock.advance(1100);
    expect(told).to.deep.equal(['10.0.0.3', '10.0.0.3']);
  });

  it('A name that several services list is looked up once, and no more when the last one lets go.', async () => {
    fake.dns.set('4 cp1', ['10.0.0.3']);
    const first = follow('cp1');
    const second = follow('cp1');
    await fake.clock.advance(0);
    expect(fake.lookups).to.deep.equal(['cp1']);
    expect(told).to.deep.equal(['10.0.0.3', '10.0.0.3']);
    first();
    await fake.clock.advance(70_000);
    expect(fake.lookups).to.have.length(2);
    second();
    await fake.clock.advance(200_000);
    expect(fake.lookups).to.have.length(2);
    expect(fake.clock.pending).to.equal(0);
  });

  it('A resolver that hangs is given up after 10 s and blocks nobody else.', async () => {
    fake.dns.set('4 good', ['10.0.0.3']);
    for (let i = 0; i < 40; i++) {
      fake.dns.set(`4 bad${i}`, 'hang');
      follow(`bad${i}`);
    }
    follow('good');
    await fake.clock.advance(9000);
    expect(fake.lookups, 'at once').to.have.length(32);
    expect(told).to.deep.equal([]);
    await fake.clock.advance(2000);
    expect(told.filter((address) => address === '10.0.0.3')).to.have.length(1);
    expect(fake.lines[0]).to.match(/bad0: no answer within 10 s; trying again$/);
  });

  it('A listener that throws ends neither this name nor another.', async () => {
    fake.dns.set('4 cp1', ['10.0.0.3']);
    fake.dns.set('4 cp2', ['10.0.0.4']);
    resolver.follow('cp1', 4, null, () => {
      throw new Error('a bug');
    });
    follow('cp2');
    await fake.clock.advance(70_000);
    expect(told).to.deep.equal(['10.0.0.4']);
    expect(fake.lines).to.include('[server] ERROR: cp1: a bug');
    expect(fake.lookups).to.have.length(4);
  });
});
