// Pools in a real DNS server (Debian's nsd), while its zone is edited, broken and taken away.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Resolver } from 'node:dns/promises';
import { expect } from 'chai';
import { createNames, NAMES_DEFAULTS } from '../../src/world/real/names.ts';
import { freePorts } from '../support/etcd.ts';
import { eventually, kill, requireTools } from '../support/namespace.ts';
import { WatchedPool } from '../support/watched-pool.ts';

const ADDRESS = '127.84.2.1';

/** Serves `example` on loopback. */
class Nsd {
  readonly server: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'anybal-nsd-'));
  readonly #port: number;
  #serial = 1;
  #child: ChildProcess | null = null;

  constructor(port: number) {
    this.#port = port;
    this.server = `${ADDRESS}:${port}`;
  }

  /** Records of `example`; null: the zone is there and can not be loaded (SERVFAIL). */
  async serve(records: readonly string[] | null): Promise<void> {
    const at = (name: string) => join(this.#folder, name);
    const soa = `@ SOA ns host ${++this.#serial} 60 60 60 1`;
    if (records === null) rmSync(at('zone'), { force: true });
    else writeFileSync(at('zone'), ['$TTL 1', soa, '@ NS ns', 'ns A 127.0.0.1', ...records, ''].join('\n'));
    const settings = [
      `ip-address: ${ADDRESS}@${this.#port}`,
      'username: ""',
      'database: ""',
      'xfrdfile: ""',
      `zonesdir: "${this.#folder}"`,
      `xfrdir: "${this.#folder}"`,
      `pidfile: "${at('pid')}"`,
      `zonelistfile: "${at('zones')}"`,
      `logfile: "${at('log')}"`,
      'server-count: 1',
    ];
    const zone = 'remote-control:\n control-enable: no\nzone:\n name: example\n zonefile: zone\n';
    writeFileSync(at('nsd.conf'), `server:\n ${settings.join('\n ')}\n${zone}`);
    await this.stop();
    this.#child = spawn('/usr/sbin/nsd', ['-d', '-c', at('nsd.conf')], { stdio: 'ignore', detached: true });
    const resolver = new Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([this.server]);
    const answers = () =>
      resolver.resolveSoa('example').then(
        () => true,
        (error: unknown) => (records === null && /SERVFAIL/.test(String(error)) ? true : null),
      );
    await eventually('nsd answers', answers);
  }

  freeze(): void {
    this.#signal('SIGSTOP');
  }

  async stop(): Promise<void> {
    this.#signal('SIGCONT');
    if (this.#child !== null) await kill(this.#child);
    this.#child = null;
  }

  /** To all of its processes. */
  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid !== undefined) process.kill(-pid, signal);
  }

  async destroy(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

describe('interop: pools in DNS', function () {
  this.timeout(60_000);
  let nsd: Nsd;
  let pool: WatchedPool | null = null;
  const open = (source: string) => {
    const names = createNames({
      ...NAMES_DEFAULTS,
      resolvFile: '/dev/null',
      timeoutMs: 500,
      tries: 2,
      servers: [nsd.server],
    });
    pool = new WatchedPool({ source }, { names });
    return pool;
  };

  before(() => requireTools({ '/usr/sbin/nsd': 'nsd' }));
  beforeEach(async () => {
    const [port] = await freePorts(ADDRESS);
    nsd = new Nsd(port);
  });
  afterEach(async () => {
    await pool?.stop();
    pool = null;
    await nsd.destroy();
  });

  it('SRV records are followed as they are edited, with weight, port and priority.', async () => {
    const web = ['web1 A 10.0.0.1', 'web2 A 10.0.0.2', 'web3 A 10.0.0.3'];
    const srv = (target: string, how = '1 5 80') => `_http._tcp SRV ${how} ${target}`;
    await nsd.serve([...web, srv('web1'), srv('web2', '1 7 80')]);
    const { becomes, status } = bound(open('srv://_http._tcp.example'));
    await becomes('web1.example=5 web2.example=7');
    await nsd.serve([...web, srv('web1', '1 9 80'), srv('web3', '1 0 80'), srv('web2', '2 7 80')]);
    await becomes('web1.example=9 web3.example=1', 10_000);
    await nsd.serve([...web, srv('web1', '1 9 80'), srv('web3', '1 2 8080')]);
    await eventually('a complaint', () => (/web3\.example: port 8080/.test(status().complaints.join()) ? true : null));
    expect(pool?.list).to.equal('web1.example=9 web3.example=1');
    expect(pool?.status.unresolved).to.deep.equal([]);
  });

  it('Addresses are followed; NXDOMAIN, SERVFAIL, silence and a dead server change nothing, and are named.', async () => {
    const two = ['pool A 10.0.0.1', 'pool A 10.0.0.2'];
    await nsd.serve(two);
    const { becomes, fails, state } = bound(open('dns://pool.example'));
    await becomes('10.0.0.1=10 10.0.0.2=10');
    await nsd.serve(['other A 10.0.0.9']);
    await fails(/ENOTFOUND/, 10_000);
    await nsd.serve(null);
    await fails(/SERVFAIL/, 20_000);
    await nsd.serve([...two, 'pool A 10.0.0.3']);
    await becomes('10.0.0.1=10 10.0.0.2=10 10.0.0.3=10', 20_000);
    nsd.freeze();
    await fails(/ETIMEOUT/, 20_000);
    await nsd.stop();
    await state('stale');
    expect(pool?.lists).to.deep.equal(['10.0.0.1=10 10.0.0.2=10', '10.0.0.1=10 10.0.0.2=10 10.0.0.3=10']);
    await nsd.serve(two);
    await becomes('10.0.0.1=10 10.0.0.2=10', 35_000);
  });

  it('Names of servers that DNS does not know, or has no answer for, are named, and known addresses stay.', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'anybal-names-'));
    const line = (host: string) => `{ 'host': '${host}.example', 'weight': 10, 'enabled': True }\n`;
    writeFileSync(join(folder, 'pool'), ['web1', 'web2', 'web3'].map(line).join(''));
    await nsd.serve(['web1 A 10.0.0.1', 'web2 A 10.0.0.2']);
    const names = createNames({
      ...NAMES_DEFAULTS,
      resolvFile: '/dev/null',
      timeoutMs: 500,
      tries: 1,
      servers: [nsd.server],
    });
    const named = new WatchedPool({ source: `file://${folder}/pool` }, { names }, 1);
    pool = named;
    const known = () => ['web1', 'web2', 'web3'].map((host) => named.addresses.get(`${host}.example`) ?? '-').join(' ');
    const says = (words: RegExp) =>
      eventually(
        `${words}`,
        () => named.log.some((text) => words.test(text)) || null,
        () => named.describe(),
        20_000,
      );
    try {
      await says(/Initialization failed for server web3\.example: .*ENOTFOUND; trying again/);
      await eventually('two of them', () => known() === '10.0.0.1 10.0.0.2 -' || null, known);
      expect(named.status.unresolved).to.deep.equal(['web3.example']);
      await nsd.serve(null);
      await says(/Lookup failed for server web1\.example: .*SERVFAIL; keeping 10\.0\.0\.1/);
      expect(known()).to.equal('10.0.0.1 10.0.0.2 -');
      await nsd.serve(['web1 A 10.0.0.9', 'web2 A 10.0.0.2', 'web3 A 10.0.0.3']);
      await eventually('all of them', () => known() === '10.0.0.9 10.0.0.2 10.0.0.3' || null, known, 20_000);
      await eventually('none unresolved', () => named.status.unresolved.length === 0 || null);
      nsd.freeze();
      await says(/Lookup failed for server web2\.example: .*ETIMEOUT; keeping 10\.0\.0\.2/);
      expect(known()).to.equal('10.0.0.9 10.0.0.2 10.0.0.3');
      expect(named.lists).to.have.length(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function bound(pool: WatchedPool) {
  return {
    becomes: pool.becomes.bind(pool),
    fails: pool.fails.bind(pool),
    state: pool.state.bind(pool),
    status: () => pool.status,
  };
}
