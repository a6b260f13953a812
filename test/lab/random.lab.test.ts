// Random events against the real kernel. After each of them the table is what the rules of pools and floor ask for, and
// was reached with no more writes than the difference has entries. What it should be is worked out here, from the
// events alone. LAB_SEED repeats a run.

import { appendFileSync } from 'node:fs';
import { expect } from 'chai';
import { destinationsOf, endpoint, section } from './topology/config.ts';
import { serverNames, servers, vips, type ServerName } from './topology/network.ts';
import type { PoolHost } from './topology/pool.ts';
import { patience, sleep, until } from './topology/process.ts';
import { full, theLab, type Lab } from './topology/lab.ts';
import type { Director } from './topology/director.ts';
import type { RunningDownload } from './topology/client.ts';

const events = full ? 500 : 20;
const seed = Number(process.env['LAB_SEED'] ?? 20_261_121);
const threshold = 0.5;

interface Service {
  readonly name: string;
  readonly vip: string;
  configured: boolean;
  scheduler: 'wrr' | 'rr' | 'sh';
  readonly pool: Map<ServerName, Required<PoolHost>>;
  /** Came into a running pool, or were dead and disabled at its first round: held only if they were ever seen up. */
  readonly untried: Set<ServerName>;
}

describe(`lab: ${events} random events (LAB_SEED=${seed})`, () => {
  const random = generator(seed);
  const pick = <T>(choices: readonly T[]): T => {
    const choice = choices[Math.floor(random() * choices.length)];
    if (choice === undefined) throw new Error('nothing to choose from');
    return choice;
  };
  const services: readonly Service[] = [
    { name: 'web', vip: vips.dr },
    { name: 'api', vip: vips.second },
    { name: 'text', vip: vips.third },
  ].map((each) => ({
    ...each,
    configured: true,
    scheduler: 'wrr',
    pool: new Map(serverNames.map((name) => [name, { weight: 10, enabled: true }])),
    untried: new Set(),
  }));
  /** r1 carries the downloads and stays. */
  const mortal: readonly ServerName[] = ['r2', 'r3', 'r4'];
  const dead = new Set<ServerName>();
  const log = (text: string): void => appendFileSync(`${process.env['VM_OUT'] ?? '/tmp'}/random.log`, `${text}\n`);
  let lab: Lab;
  let d1: Director;

  const configuration = (): string =>
    [
      ...services.filter((each) => each.configured).map((each) => sectionOf(lab, each.name, each.vip, each.scheduler)),
      sectionOf(lab, 'steady', vips.tunnel, 'wrr', ['forward = tunnel']),
    ].join('\n');
  const publish = (service: Service): void => lab.pools.write(service.name, Object.fromEntries(service.pool));

  /** A service begins with a first round, in which all that are enabled get their result. */
  const begin = (service: Service): void => {
    service.untried.clear();
    for (const [name, { enabled }] of service.pool) if (!enabled && dead.has(name)) service.untried.add(name);
  };

  /** Null if the table is right, otherwise what is not. */
  const complaint = (table: readonly string[]): string | null => {
    for (const service of services) {
      const found = destinationsOf(table, service.vip);
      if (!service.configured) {
        if (found !== null) return `${service.name} should be gone`;
        continue;
      }
      if (found === null) return `${service.name} is missing`;
      if (!table.includes(`-A -t ${endpoint(service.vip, 80)} -s ${service.scheduler}`))
        return `${service.name}: scheduler`;
      const problem = poolComplaint(service, found, dead);
      if (problem !== null) return `${service.name}: ${problem}`;
    }
    return JSON.stringify(destinationsOf(table, vips.tunnel)) === '{"r1":10}' ? null : 'steady changed';
  };
  const settled = async (withinMs: number): Promise<readonly string[]> => {
    let problem: string | null = '';
    let table: readonly string[] = [];
    await until('settled', withinMs, async () => {
      table = await d1.table();
      problem = complaint(table);
      return problem === null;
    }).catch((error: unknown) => {
      throw new Error(`${problem}; the table:\n${table.join('\n')}`, { cause: error });
    });
    return table;
  };

  before(async () => {
    lab = await theLab();
    await lab.fresh();
    d1 = lab.director('d1');
    lab.pools.write('steady', { r1: {} });
    services.forEach(publish);
    await d1.run('ip', ['address', 'add', `${vips.foreign}/32`, 'dev', 'lo']);
    await d1.run('ipvsadm', ['-R'], foreignTable.map((line) => `${line}\n`).join(''));
    for (const vip of [vips.foreign, vips.tunnel]) await lab.router.pin(vip, 'd1');
    d1.start(configuration(), { global: 'reconcile-period = 1' });
    await settled(40_000);
  });

  const changePool = (): string => {
    const service = pick(services);
    const host = pick(serverNames);
    const entry = service.pool.get(host);
    if (entry === undefined) {
      service.pool.set(host, { weight: 1 + Math.floor(random() * 30), enabled: true });
      service.untried.add(host);
    } else if (random() < 0.25 && service.pool.size > 2) service.pool.delete(host);
    else if (random() < 0.4) service.pool.set(host, { ...entry, enabled: !entry.enabled });
    else service.pool.set(host, { ...entry, weight: random() < 0.1 ? 0 : 1 + Math.floor(random() * 30) });
    publish(service);
    return `pool ${service.name}: ${host} ${JSON.stringify(service.pool.get(host) ?? 'removed')}`;
  };
  const changeServer = async (): Promise<string> => {
    const name = pick(mortal);
    const stop = !dead.has(name);
    if (stop) {
      dead.add(name);
      await lab.server(name).stopNginx();
    } else {
      dead.delete(name);
      await lab.server(name).startNginx();
    }
    // A held server may look right before its check has run: let it run.
    await sleep(1800);
    return `${name} ${stop ? 'stopped' : 'started'}`;
  };
  const changeConfiguration = (): string => {
    const service = pick(services);
    if (random() < 0.4) {
      service.configured = !service.configured;
      begin(service);
    } else service.scheduler = pick((['wrr', 'rr', 'sh'] as const).filter((each) => each !== service.scheduler));
    d1.configure(configuration(), { global: 'reconcile-period = 1' });
    d1.signal('SIGHUP');
    return `reload: ${service.name} ${service.configured ? service.scheduler : 'gone'}`;
  };
  const restart = async (): Promise<string> => {
    const signal = pick(['SIGKILL', 'SIGTERM'] as const);
    await d1.kill(signal);
    const pool = changePool();
    services.forEach(begin);
    d1.start(configuration(), { global: 'reconcile-period = 1' });
    await lab.router.waitSession('d1', true, 60_000);
    return `${signal} and start, meanwhile ${pool}`;
  };
  /** Somebody's ipvsadm. Answers the text and the table that he left behind. */
  const drift = async (table: readonly string[]): Promise<string> => {
    const ours = table.filter(
      (line) => line.startsWith('-a') && services.some(({ vip }) => line.includes(`-t ${vip}:`)),
    );
    if (ours.length === 0) return 'no drift: nothing there';
    const line = pick(ours);
    const [, service = '', real = ''] = /-t (\S+) -r (\S+)/.exec(line) ?? [];
    const command = pick([
      ['-d', '-t', service, '-r', real],
      ['-e', '-t', service, '-r', real, '-g', '-w', '99'],
      ['-D', '-t', service],
      ['-E', '-t', service, '-s', 'lc'],
    ]);
    await d1.run('ipvsadm', command);
    return `ipvsadm ${command.join(' ')}`;
  };

  it('ends each with the table that the rules ask for, by no more writes than it takes', async function () {
    this.timeout(events * 30_000 * patience);
    const downloads = keepDownloading(lab, [vips.foreign, vips.tunnel]);
    let table = await settled(10_000);
    for (let i = 1; i <= events; i += 1) {
      let mark = (await d1.writes()).length;
      const dice = random();
      let what: string;
      if (dice < 0.4) what = changePool();
      else if (dice < 0.7) what = await changeServer();
      else if (dice < 0.85) what = changeConfiguration();
      else if (dice < 0.96) {
        what = await drift(table);
        // His write is not the daemon's: the difference counts from what he left, unless the repair was quicker.
        const writes = await d1.writes();
        if (writes.length > mark) {
          table = replay(table, writes[mark]?.text ?? '');
          mark += 1;
        }
      } else what = await restart();
      const started = performance.now();
      const after = await settled(30_000).catch((error: unknown) => {
        throw new Error(`after event ${i} (${what}): ${error instanceof Error ? error.message : String(error)}`);
      });
      const written = (await d1.writes()).slice(mark).map((write) => write.text);
      log(`${i} ${what} → ${Math.round(performance.now() - started)} ms ${JSON.stringify(written)}`);
      expect(written.length, `writes of event ${i} (${what}): ${written.join('; ')}`).to.be.at.most(
        difference(table, after),
      );
      expect(foreignOf(after), `foreign service after event ${i} (${what})`).to.deep.equal(foreignTable);
      downloads.check();
      for (const service of services) {
        const there = destinationsOf(after, service.vip) ?? {};
        for (const name of serverNames) if (there[name] !== undefined) service.untried.delete(name);
      }
      table = after;
    }
    await downloads.stop();
  });
});

const foreignTable = [`-A -t ${vips.foreign}:80 -s lc`, `-a -t ${vips.foreign}:80 -r ${servers.r1.ipv4}:80 -g -w 3`];

function foreignOf(table: readonly string[]): readonly string[] {
  return table.filter((line) => line.includes(vips.foreign));
}

function sectionOf(lab: Lab, name: string, vip: string, scheduler: string, more: readonly string[] = []): string {
  const monitors = [
    "monitors = [ 'ProxyFetch' ]",
    "proxyfetch.url = [ 'http://lab/check' ]",
    'proxyfetch.interval = 1',
    'proxyfetch.timeout = 3',
  ];
  return section(name, { vip, scheduler, pool: lab.pools.url(name), monitors, more });
}

/** semantics of a pool: every server that is enabled and alive, and as many of the dead as the floor still needs. */
function poolComplaint(
  service: Service,
  found: Readonly<Partial<Record<ServerName, number>>>,
  dead: ReadonlySet<ServerName>,
): string | null {
  const eligible = [...service.pool].filter(([, host]) => host.enabled);
  const up = eligible.filter(([name]) => !dead.has(name));
  const floor = Math.ceil(threshold * service.pool.size);
  for (const [name] of up) if (found[name] === undefined) return `${name} is up and not there`;
  for (const [name, weight] of Object.entries(found)) {
    const host = eligible.find(([each]) => each === name)?.[1];
    if (host === undefined) return `${name} is there and not enabled`;
    if (host.weight !== weight) return `${name} has weight ${weight} instead of ${host.weight}`;
  }
  const sure = eligible.filter(([name]) => !dead.has(name) || !service.untried.has(name));
  const least = Math.max(up.length, Math.min(floor, sure.length));
  const most = Math.max(up.length, Math.min(floor, eligible.length));
  const there = Object.keys(found).length;
  return there >= least && there <= most ? null : `${there} servers instead of ${least} to ${most}`;
}

/**
 * Entries that one table has and the other has not; a changed one counts once. A deleted service takes its servers along.
 * With sh, taking a server out is two writes: first its weight becomes 0, so that its clients are rehashed at once.
 */
function difference(before: readonly string[], after: readonly string[]): number {
  const index = (table: readonly string[]): ReadonlyMap<string, string> =>
    new Map(table.map((line) => [/^-[Aa] -t \S+(?: -r \S+)?/.exec(line)?.[0] ?? line, line]));
  const [from, to] = [index(before), index(after)];
  let count = 0;
  for (const [key, line] of to) if (from.get(key) !== line) count += 1;
  for (const key of from.keys()) {
    const service = /^-a (-t \S+)/.exec(key)?.[1];
    const goesAlong = service !== undefined && !to.has(`-A ${service}`);
    const hashed = to.get(`-A ${service}`)?.endsWith('-s sh') ?? false;
    if (!to.has(key) && !goesAlong) count += hashed ? 2 : 1;
  }
  return count;
}

/** The table after somebody's one write, as the witness saw it. */
function replay(table: readonly string[], write: string): readonly string[] {
  const [command, , service = '', real = ''] = write.split(' ');
  switch (command) {
    case 'DEL_DEST':
      return table.filter((line) => !line.startsWith(`-a -t ${service} -r ${real} `));
    case 'SET_DEST':
      return table.map((line) =>
        line.startsWith(`-a -t ${service} -r ${real} `) ? line.replace(/-w \d+/, '-w 99') : line,
      );
    case 'DEL_SERVICE':
      return table.filter((line) => !line.includes(` -t ${service} `));
    case 'SET_SERVICE':
      return table.map((line) => (line.startsWith(`-A -t ${service} `) ? `-A -t ${service} -s ${real}` : line));
    default:
      throw new Error(`an unexpected write: ${write}`);
  }
}

/** One slow download after another on each VIP; none may fail. */
function keepDownloading(lab: Lab, vipList: readonly string[]): { check(): void; stop(): Promise<void> } {
  const current = new Map<string, RunningDownload>();
  const failures: string[] = [];
  let stopped = false;
  const loops = vipList.map(async (vip) => {
    while (!stopped) {
      const download = lab.client.download(vip, '/short');
      current.set(vip, download);
      const { error } = await download.done;
      if (error !== null) failures.push(`${vip}: ${error}`);
      await sleep(100);
    }
  });
  const check = (): void => {
    expect(failures, 'failed downloads').to.deep.equal([]);
  };
  return {
    check,
    async stop() {
      stopped = true;
      await Promise.all(loops);
      check();
    },
  };
}

/** mulberry32: small, seeded, good enough to choose events. */
function generator(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
