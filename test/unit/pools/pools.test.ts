import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { Pools } from '../../../src/pools/pools.ts';
import { FakeWorld, response, settle } from '../../support/fake-world.ts';
import { serviceConfig } from '../../support/service-config.ts';

const SETTINGS = { stateDirectory: '/state', resolveIntervalSeconds: 60 };
const line = (host: string, weight = 10, enabled = true) =>
  `{'host': '${host}', 'weight': ${weight}, 'enabled': ${enabled ? 'True' : 'False'}}\n`;

/** A daemon's view of its pools. */
class Daemon {
  readonly facts: (Fact & { is: 'pool' })[] = [];
  readonly candidates: string[] = [];
  readonly pools: Pools;
  constructor(fake: FakeWorld) {
    this.pools = new Pools(
      fake.world,
      (fact) => {
        if (fact.is === 'pool') this.facts.push(fact);
      },
      (service, host, address) => this.candidates.push(`${service} ${host} ${address}`),
    );
  }
  get list() {
    return this.facts.at(-1)?.list;
  }
  get hosts() {
    return this.list?.hosts.map((host) => host.host);
  }
}

describe('pools', () => {
  let fake: FakeWorld;
  let daemon: Daemon;
  beforeEach(() => {
    fake = new FakeWorld();
    daemon = new Daemon(fake);
  });
  afterEach(async () => {
    await daemon.pools.stop();
    expect(fake.clock.pending, 'timers left after stop').to.equal(0);
  });

  it('A pool file becomes a fact, then its hosts become candidates with their addresses.', async () => {
    fake.write('/pools/text', line('10.0.0.2') + line('cp2', 5, false));
    fake.dns.set('4 cp2', ['10.0.0.3']);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(100);
    expect(daemon.facts).to.have.length(1);
    expect(daemon.list).to.deep.equal({
      hosts: [
        { host: '10.0.0.2', weight: 10, enabled: true },
        { host: 'cp2', weight: 5, enabled: false },
      ],
      note: null,
    });
    expect(daemon.candidates).to.deep.equal(['text 10.0.0.2 10.0.0.2', 'text cp2 10.0.0.3']);
    expect(fake.lines).to.deep.equal([
      '[text] DEBUG: New enabled server 10.0.0.2, weight 10',
      '[text] DEBUG: New disabled server cp2, weight 5',
      '[text] INFO: Added 2 server(s): 1 enabled server(s) and 1 disabled server(s)',
    ]);
  });

  it('An edit says what changed in the words of PyBal, and an unchanged file is not read again.', async () => {
    fake.write('/pools/text', line('10.0.0.2') + line('10.0.0.3'));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(5000);
    fake.logged.length = fake.reads.length = 0;
    await fake.clock.advance(60_000);
    expect(fake.reads).to.deep.equal([]);
    fake.write('/pools/text', line('10.0.0.2', 20) + line('10.0.0.4'));
    await fake.clock.advance(1000);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2', '10.0.0.4']);
    expect(fake.lines).to.deep.equal([
      '[text] INFO: New enabled server 10.0.0.4, weight 10',
      '[text] INFO: Added 1 server(s): 1 enabled server(s) and 0 disabled server(s)',
      '[text] INFO: Merged enabled server 10.0.0.2, weight 20',
      '[text] INFO: [text] Removing server 10.0.0.3 (no longer found in new configuration)',
    ]);
  });

  it('An empty file changes nothing until it was served long enough, and is named in the note meanwhile.', async () => {
    fake.write('/pools/text', line('10.0.0.2'));
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(1000);
    fake.write('/pools/text', '');
    await fake.clock.advance(58_000);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
    expect(daemon.list?.note).to.equal('suspect: the list is empty, 1 servers in the last one');
    await fake.clock.advance(4000);
    expect(daemon.hosts).to.deep.equal([]);
    expect(daemon.list?.note).to.equal(null);
  });

  it('A start without the source uses the list and the addresses kept on disk, and says how old they are.', async () => {
    fake.write('/pools/text', line('cp1') + line('cp2'));
    fake.dns.set('4 cp1', ['10.0.0.2']);
    fake.dns.set('4 cp2', ['10.0.0.3']);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(5000);
    await daemon.pools.stop();
    fake.disk.delete('/pools/text');
    fake.dns.clear();
    await fake.clock.advance(60_000);
    daemon = new Daemon(fake);
    daemon.pools.configure([serviceConfig()], SETTINGS);
    await fake.clock.advance(2000);
    expect(daemon.hosts).to.deep.equal(['cp1', 'cp2']);
    expect(daemon.list?.note).to.equal('stale: stat /pools/text: ENOENT');
    expect(daemon.candidates).to.deep.equal(['text cp1 10.0.0.2', 'text cp2 10.0.0.3']);
    expect(daemon.pools.status().get('text')?.ageSeconds).to.be.within(60, 65);
  });

  it('HTTP is asked each second, conditionally, never twice at once, and a hanging server is given up after 5 s.', async () => {
    fake.reply = (request) =>
      request.headers?.['if-none-match'] === '"1"' ? response(304) : response(200, line('10.0.0.2'), { etag: '"1"' });
    daemon.pools.configure([serviceConfig({ source: 'http://pools/text' })], SETTINGS);
    await fake.clock.advance(3500);
    expect(fake.requests).to.have.length(4);
    expect(daemon.facts).to.have.length(1);
    fake.reply = () => 'hang';
    await fake.clock.advance(20_000);
    expect(fake.mostUnderWay).to.equal(1);
    expect(daemon.hosts).to.deep.equal(['10.0.0.2']);
    expect(daemon.list?.note).to.match(/^stale: .*ETIMEDOUT/);
    fake.reply = () => new SystemError('ECONNREFUSED', 'get');
    await settle();
  });
});
