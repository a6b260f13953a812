// One director, a router, four real servers: what an operator sees on a quiet day, and what the kernel is told.

import { expect } from 'chai';
import { checkSeconds, destinationsOf, proxyFetchOnly, section, weightsOf } from './topology/config.ts';
import { natRealPort, serverNames, servers, vips, type ServerName } from './topology/network.ts';
import { everyServer, type Pool } from './topology/pool.ts';
import { sleep, stopwatch, until } from './topology/process.ts';
import { theLab, type Lab } from './topology/lab.ts';
import type { Director } from './topology/director.ts';

const nat = ['forward = nat', `realserver-port = ${natRealPort}`];

const services = [
  { name: 'dr', vip: vips.dr, more: [] },
  { name: 'tunnel', vip: vips.tunnel, more: ['forward = tunnel'] },
  { name: 'nat', vip: vips.nat, more: nat },
  { name: 'dr6', vip: vips.dr6, more: [] },
  { name: 'tunnel6', vip: vips.tunnel6, more: ['tunneling = yes'] },
  { name: 'nat6', vip: vips.nat6, more: nat },
] as const;

describe('lab: every way of forwarding', () => {
  let lab: Lab;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    lab.pools.write('web', everyServer);
    const sections = services.map(({ name, vip, more }) => section(name, { vip, more, pool: lab.pools.url('web') }));
    lab.director('d1').start(sections.join('\n'));
  });

  for (const { name, vip } of services) {
    it(`brings ${name} from an empty kernel to four answering servers`, async () => {
      await lab.router.waitSelected(vip, 'd1', 30_000);
      const attempts = await lab.client.ask(vip, 12);
      expect(attempts.filter((each) => each.error !== null)).to.deep.equal([]);
      const answering = new Set(attempts.map((each) => each.server));
      expect([...answering].sort()).to.deep.equal(serverNames);
    });
  }

  it('writes nothing and says nothing to the router when it is told to reload the same', async () => {
    const d1 = lab.director('d1');
    await until('all six tables', 10_000, async () => {
      const table = await d1.table();
      return services.every(({ vip }) => Object.keys(destinationsOf(table, vip) ?? {}).length === 4);
    });
    const [writes, updates] = [(await d1.writes()).length, await importUpdates(lab)];
    d1.signal('SIGHUP');
    await sleep(4000);
    expect((await d1.writes()).slice(writes)).to.deep.equal([]);
    expect(await importUpdates(lab)).to.equal(updates);
    expect(await lab.router.sessionUp('d1')).to.equal(true);
  });
});

/** Route updates and withdrawals that BIRD has had from d1, of both families. */
async function importUpdates(lab: Lab): Promise<string> {
  const text = await lab.router.birdc('show protocols all d1');
  return [...text.matchAll(/Import (?:updates|withdraws):\s+(\d+)/g)].map((match) => match[1]).join();
}

describe('lab: health and pool edits', () => {
  let lab: Lab;
  let d1: Director;
  let mark = 0;
  const newWrites = async (): Promise<readonly string[]> => (await d1.writes()).slice(mark).map((write) => write.text);
  const web = (word: string, server: ServerName, more = ''): string =>
    `${word} tcp ${vips.dr}:80 ${servers[server].ipv4}:80${more}`;

  before(async () => {
    lab = await theLab();
    await lab.fresh();
    d1 = lab.director('d1');
    lab.pools.write('web', everyServer);
    d1.start(section('web', { vip: vips.dr, pool: lab.pools.url('web'), monitors: proxyFetchOnly }));
    await lab.router.waitSelected(vips.dr, 'd1', 30_000);
    await waitTable(d1, weightsOf(everyServer));
  });
  afterEach(() => lab.server('r3').heal());
  beforeEach(async () => {
    mark = (await d1.writes()).length;
  });

  it('depools a server whose nginx stopped within the interval', async () => {
    const sinceStopped = stopwatch();
    await lab.server('r2').stopNginx();
    await waitTable(d1, { r1: 10, r3: 10, r4: 10 });
    const [write] = (await d1.writes()).slice(mark);
    expect(write?.text).to.equal(web('DEL_DEST', 'r2'));
    expect(sinceStopped(write?.at ?? Infinity)).to.be.below(checkSeconds.interval * 1000);
    expect(await newWrites()).to.have.length(1);
  });

  it('pools it again within the interval of its start', async () => {
    await lab.server('r2').startNginx();
    const sinceStarted = stopwatch();
    await waitTable(d1, weightsOf(everyServer));
    const [write] = (await d1.writes()).slice(mark);
    expect(write?.text).to.equal(web('NEW_DEST', 'r2', ' dr weight 10'));
    expect(sinceStarted(write?.at ?? Infinity)).to.be.below(checkSeconds.interval * 1000);
    expect(await newWrites()).to.have.length(1);
  });

  it('depools a black-holed server within interval and timeout', async () => {
    const sinceCut = stopwatch();
    await lab.server('r3').blackhole();
    await waitTable(d1, { r1: 10, r2: 10, r4: 10 });
    const [write] = (await d1.writes()).slice(mark);
    expect(write?.text).to.equal(web('DEL_DEST', 'r3'));
    expect(sinceCut(write?.at ?? Infinity)).to.be.below((checkSeconds.interval + checkSeconds.timeout) * 1000);
  });

  it('pools it again when it answers', async () => {
    await waitTable(d1, weightsOf(everyServer));
  });

  const edits: readonly { readonly what: string; readonly pool: Pool; readonly writes: readonly string[] }[] = [
    {
      what: 'a weight',
      pool: { ...everyServer, r1: { weight: 25 } },
      writes: [web('SET_DEST', 'r1', ' dr weight 25')],
    },
    {
      what: 'enabled False',
      pool: { ...everyServer, r1: { weight: 25 }, r4: { enabled: false } },
      writes: [web('DEL_DEST', 'r4')],
    },
    {
      what: 'a host taken out',
      pool: { r1: { weight: 25 }, r2: {}, r4: { enabled: false } },
      writes: [web('DEL_DEST', 'r3')],
    },
    {
      what: 'a host put in again',
      pool: { r1: { weight: 25 }, r2: {}, r3: { weight: 7 }, r4: { enabled: false } },
      writes: [web('NEW_DEST', 'r3', ' dr weight 7')],
    },
    {
      what: 'three changes at once',
      pool: everyServer,
      writes: [
        web('NEW_DEST', 'r4', ' dr weight 10'),
        web('SET_DEST', 'r1', ' dr weight 10'),
        web('SET_DEST', 'r3', ' dr weight 10'),
      ],
    },
  ];
  for (const { what, pool, writes } of edits) {
    it(`writes exactly the difference for ${what} in the pool file`, async () => {
      lab.pools.write('web', pool);
      await waitTable(d1, weightsOf(pool));
      await sleep(1000);
      expect([...(await newWrites())].sort()).to.deep.equal([...writes].sort());
    });
  }

  it('keeps the pool when its file comes back empty or broken', async () => {
    const asked = lab.pools.requests('web');
    lab.pools.writeText('web', '');
    await until('two polls', 10_000, () => lab.pools.requests('web') >= asked + 2);
    lab.pools.writeText('web', "{ 'host': 'r1.lab', 'weight': 10, 'ena");
    await until('two more polls', 10_000, () => lab.pools.requests('web') >= asked + 4);
    expect(await newWrites()).to.deep.equal([]);
    lab.pools.write('web', everyServer);
  });
});

describe('lab: the floor', () => {
  let lab: Lab;
  let d1: Director;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    d1 = lab.director('d1');
    lab.pools.write('web', everyServer);
    const pool = lab.pools.url('web');
    d1.start(
      [
        section('web', { vip: vips.dr, pool }),
        section('strict', { vip: vips.second, pool, more: ['announce = healthy'] }),
      ].join('\n'),
    );
    for (const vip of [vips.dr, vips.second]) await lab.router.waitSelected(vip, 'd1', 30_000);
    await waitTable(d1, weightsOf(everyServer));
  });

  it('lets two of four dead servers go', async () => {
    await Promise.all([lab.server('r1').stopNginx(), lab.server('r2').stopNginx()]);
    await waitTable(d1, { r3: 10, r4: 10 });
    expect(await d1.instrumentation('/alerts'), 'as PyBal: the floor is not in use').to.match(/^OK/);
  });

  it('holds the third and names it in the log and in /alerts', async () => {
    await lab.server('r3').stopNginx();
    await d1.waitLog(/Could not depool server r3\.lab because of too many down!/, 10_000);
    expect(await d1.instrumentation('/alerts')).to.match(
      /^CRITICAL - .*web: Servers r3\.lab are marked down but pooled/,
    );
    expect(destinationsOf(await d1.table(), vips.dr)).to.deep.equal({ r3: 10, r4: 10 });
    // Held from the first of its two monitors that fails; down in every one of them a moment later.
    const said = async () => (await d1.instrumentation('/pools/web/r3.lab')).trim();
    await until('both monitors to see it', 10_000, async () => (await said()) === 'enabled/down/pooled');
  });

  it('keeps the route of a service with the last server dead, and drops it where only health counts', async () => {
    await lab.server('r4').stopNginx();
    await lab.router.waitSelected(vips.second, null, 10_000);
    await sleep(3000);
    expect(lab.router.selected(vips.dr), 'announce = served').to.equal('d1');
    expect(destinationsOf(await d1.table(), vips.dr)).to.deep.equal({ r3: 10, r4: 10 });
  });

  it('comes back to four servers and both routes', async () => {
    await Promise.all(serverNames.map((name) => lab.server(name).startNginx()));
    await waitTable(d1, weightsOf(everyServer), 30_000);
    await lab.router.waitSelected(vips.second, 'd1', 10_000);
    await until('no alert', 5000, async () => (await d1.instrumentation('/alerts')).startsWith('OK'));
  });
});

async function waitTable(director: Director, expected: object, withinMs = 15_000): Promise<void> {
  const wanted = JSON.stringify(Object.entries(expected).sort());
  let last = '';
  await until('the table', withinMs, async () => {
    last = JSON.stringify(Object.entries(destinationsOf(await director.table(), vips.dr) ?? {}).sort());
    return last === wanted;
  }).catch((error: unknown) => {
    throw new Error(`the table should be ${wanted} and is ${last}`, { cause: error });
  });
}
