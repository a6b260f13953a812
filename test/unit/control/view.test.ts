import { expect } from 'chai';
import { printStatus } from '../../../src/cli/status.ts';
import { apiResponse } from '../../../src/control/api.ts';
import { printMetrics } from '../../../src/control/metrics.ts';
import { pybalResponse } from '../../../src/control/pybal-http.ts';
import type { SourceInput, View, ViewInputs } from '../../../src/control/types.ts';
import { historyView, makeView } from '../../../src/control/view.ts';
import type { PeerStatus } from '../../../src/bgp/peer.ts';
import type { CheckStatus } from '../../../src/health/runner.ts';
import type { PoolStatus } from '../../../src/pools/pools.ts';
import { SERVER } from '../../../src/decision/causes.ts';
import { nothingKnown } from '../../../src/decision/learn.ts';
import type { Mono, Wall } from '../../../src/world/world.ts';
import { bfdSession, check, inputs, NOW, peer, server, serviceVerdict } from '../../support/view-inputs.ts';
import { decodeText } from '../../support/config.ts';

const codes = ({ alarms }: View) => alarms.map(({ level, code }) => `${level} ${code}`);
const service = (view: View, name: string) => {
  const found = view.services.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
};

describe('The view', () => {
  it('takes the status of each organ as it is', async () => {
    // What is tested here is that these lines compile.
    const takes = (checks: readonly CheckStatus[], source: PoolStatus, peers: readonly PeerStatus[]) =>
      ({ checks, sources: new Map([['text_80', source]]), peers }) satisfies Partial<ViewInputs>;
    const source = {
      url: 'file:///x',
      state: 'current',
      servers: 3,
      ageSeconds: 1,
      note: null,
      lastError: null,
      unreadable: [],
      complaints: [],
    } as const;
    const given = await inputs(undefined, takes([], { ...source, pending: null, unresolved: [] }, []));
    expect(service(makeView(given), 'text_80').source?.state).to.equal('current');
  });

  it('of a daemon that knows nothing yet is empty and raises no alarm', async () => {
    const view = makeView({
      ...(await inputs()),
      decision: null,
      facts: nothingKnown(NOW),
      peers: [],
      reconciler: null,
    });
    expect([view.services, view.vips, view.alarms, view.config]).to.deep.equal([[], [], [], null]);
  });

  it('shows services in the order of the configuration, also before they were decided on', async () => {
    const view = makeView({ ...(await inputs()), decision: null });
    expect(view.services.map(({ name, vote, verified }) => [name, vote, verified])).to.deep.equal([
      ['text_80', 'no', false],
      ['text_443', 'no', false],
      ['dns_53_udp', 'no', false],
    ]);
  });

  it('counts the peers that have a VIP from us: those that were sent it', async () => {
    const told = async (...peers: readonly ReturnType<typeof peer>[]) =>
      makeView(await inputs(undefined, { peers })).vips.map(({ announced, announcedTo }) => [announced, announcedTo]);
    const both = [true, 2];
    expect(await told(peer(), peer({ name: 'two' }))).to.deep.equal([both, both]);
    expect(await told(peer(), peer({ name: 'two', sent: () => ['10.0.0.1'] }))).to.deep.equal([both, [true, 1]]);
    expect(await told(peer({ established: false }))).to.deep.equal([
      [true, 0],
      [true, 0],
    ]);
  });

  it('counts servers by what they are', async () => {
    const view = makeView(
      await inputs(({ config, services }) => {
        const config80 = config.services[0];
        if (config80 === undefined) return;
        const list = [
          server('a'),
          server('b', { held: true }),
          server('c', { enabled: false, pooled: false, stands: 'down' }),
          server('d', { stands: 'adopted', pooled: true }),
        ];
        services.set('text_80', serviceVerdict(config80, list));
      }),
    );
    const { enabled, up, pooled, held, floor, servers } = service(view, 'text_80');
    expect({ enabled, up, pooled, held, floor, all: servers.length }).to.deep.equal({
      enabled: 3,
      up: 2,
      pooled: 3,
      held: 1,
      floor: 2,
      all: 4,
    });
  });

  it('calls a service verified only while the kernel is what was decided', async () => {
    const verified = async (is: Parameters<typeof serviceVerdict>[2]) => {
      const given = await inputs(({ config, services }) => {
        const config80 = config.services[0];
        if (config80 !== undefined) services.set('text_80', serviceVerdict(config80, [server('a')], is));
      });
      return service(makeView(given), 'text_80').verified;
    };
    expect(await verified({})).to.equal(true);
    expect(await verified({ verifiedOnce: false })).to.equal(false);
    expect(await verified({ differsSince: NOW })).to.equal(false);
    expect(await verified({ desired: null })).to.equal(false);
  });

  it('shows the monitors of a server, without addresses that are only tried out', async () => {
    const checks = [
      check('text_80', 'cp1'),
      check('text_80', 'cp1', { candidate: true, is: 'down' }),
      check('text_443', 'cp1', { monitor: 'IdleConnection' }),
    ];
    const view = makeView(await inputs(undefined, { checks }));
    const [first] = service(view, 'text_80').servers;
    expect(first?.monitors.map(({ monitor, is, forSeconds }) => [monitor, is, forSeconds])).to.deep.equal([
      ['ProxyFetch', 'up', 60],
    ]);
  });
});

describe('Alarms', () => {
  const alarms = async (more: Partial<ViewInputs>, change?: Parameters<typeof inputs>[0]) =>
    codes(makeView(await inputs(change, more)));

  it('are none when all is well', async () => {
    expect(await alarms({})).to.deep.equal([]);
  });

  it('tell a kernel that was not verified within reconcile-limit, or refuses us', async () => {
    const { facts } = await inputs();
    const kernel = (is: Partial<typeof facts.kernel>) => ({ facts: { ...facts, kernel: { ...facts.kernel, ...is } } });
    const at = (seconds: number) => ({ verifiedAt: (NOW - seconds * 1000) as typeof NOW });
    expect(await alarms(kernel({ verifiedAt: null }))).to.deep.equal(['critical kernel-unread']);
    expect(await alarms(kernel(at(9)))).to.deep.equal([]);
    expect(await alarms(kernel(at(11)))).to.deep.equal(['critical kernel-stale']);
    expect(await alarms(kernel({ ...at(1), error: 'ipvs: EPERM' }))).to.deep.equal(['warning kernel-error']);
  });

  it('tell a state that is not kept', async () => {
    expect(await alarms({ stateError: 'write /state/x: ENOSPC' })).to.deep.equal(['warning state']);
  });

  it("tell a configuration that was refused, with why and for how long, also as a metric and on PyBal's page", async () => {
    const view = makeView(
      await inputs(undefined, {
        configRefused: { why: 'pybal.conf:3: not a section', since: (NOW - 90_000) as typeof NOW },
      }),
    );
    expect(codes(view)).to.deep.equal(['warning config-refused']);
    const text = 'The configuration on disk is refused for 90 s, a restart may fail: pybal.conf:3: not a section';
    expect(pybalResponse({ method: 'GET', url: '/alerts', headers: {} }, view).body).to.equal(`WARNING - ${text}`);
    expect(printStatus(view)).to.include(`WARNING: ${text}\n`);
    expect(printMetrics(view)).to.include('\nanybal_config_refused 1.0\n');
    expect(printMetrics(makeView(await inputs()))).to.include('\nanybal_config_refused 0.0\n');
  });

  it('tell a monitor that there is not, all the more if there is no other', async () => {
    const unwatched = 'there is no monitor Teapot, skipped';
    const where = (is: object) => alarms({}, ({ config }) => Object.assign(config.services[0] ?? {}, is));
    expect(await where({ unwatched })).to.deep.equal(['warning monitor-missing']);
    expect(await where({ unwatched, monitors: [] })).to.deep.equal(['critical unwatched']);
    expect(await where({ monitors: [] })).to.deep.equal([]);
  });

  it('tell a bug of a monitor for an hour', async () => {
    const bug = (secondsAgo: number) => ({
      monitorBugs: [
        { monitor: 'monitor Mine', count: 2, last: 'boom', lastAt: (NOW - secondsAgo * 1000) as typeof NOW },
      ],
    });
    expect(await alarms(bug(3))).to.deep.equal(['warning monitor-bug']);
    expect(await alarms(bug(3601))).to.deep.equal([]);
  });

  it('tell a monitor that is given up, for all of its servers at once, and status marks each', async () => {
    const view = makeView(
      await inputs(undefined, {
        checks: [
          ...['cp1', 'cp2'].map((host) => check('text_80', host, { monitor: 'Mine', is: 'down', givenUp: true })),
          check('text_80', 'cp3', { monitor: 'Mine' }),
        ],
      }),
    );
    const text = 'text_80: Mine no longer checks cp1 and 1 more: too many of its checks never end, a bug in it';
    expect(view.alarms).to.deep.equal([{ level: 'warning', code: 'monitor-given-up', text }]);
    expect(printStatus(view).match(/Mine GIVEN UP, down /g)).to.have.length(2);
  });

  it('of what every start goes through are no more than warnings while it is young, and of nothing else', async () => {
    const { facts } = await inputs();
    const down = peer({ established: false, state: 'Connect' });
    const unread = { ...facts, kernel: { ...facts.kernel, verifiedAt: null } };
    const stale = { ...facts, kernel: { ...facts.kernel, verifiedAt: (NOW - 99_000) as typeof NOW } };
    const young = { startedAt: (NOW - 9000) as typeof NOW };
    expect(await alarms({ ...young, peers: [down], facts: unread })).to.deep.equal([
      'warning kernel-unread',
      'warning bgp-none',
    ]);
    expect(await alarms({ peers: [down], facts: unread })).to.deep.equal([
      'critical kernel-unread',
      'critical bgp-none',
    ]);
    expect(await alarms({ ...young, facts: stale })).to.deep.equal(['critical kernel-stale']);
  });

  it('tell that checks fail on our side, whether there was a verdict before or not', async () => {
    const frozen = { cause: { code: 'frozen', text: 'result unknown (EMFILE)' } };
    const view = makeView(
      await inputs(({ config, services }) => {
        const [config80] = config.services;
        const list = [server('a'), server('b', frozen), server('c', { cause: SERVER.neverKnown('EMFILE') })];
        if (config80 !== undefined) services.set('text_80', serviceVerdict(config80, list));
      }),
    );
    expect(view.alarms).to.deep.equal([
      {
        level: 'warning',
        code: 'health-unknown',
        text: 'text_80: no check can tell how b and 1 more are: result unknown (EMFILE)',
      },
    ]);
  });

  it('tell a fight about the table', async () => {
    const { reconciler } = await inputs();
    if (reconciler === null) throw new Error('no reconciler');
    expect(await alarms({ reconciler: { ...reconciler, fighting: true } })).to.deep.equal(['warning drift-fight']);
  });

  it('tell peers that are down, critically when none is up', async () => {
    const down = peer({ name: 'two', established: false, state: 'Active', lastError: 'Connection refused' });
    expect(await alarms({ peers: [peer(), down] })).to.deep.equal(['warning bgp-peer']);
    expect(await alarms({ bfd: [bfdSession(), bfdSession({ state: 'Init' })] })).to.deep.equal(['warning bfd-down']);
    const { remote } = bfdSession();
    const byHand = bfdSession({ state: 'Down', remote: remote === null ? null : { ...remote, state: 'AdminDown' } });
    expect(await alarms({ bfd: [byHand] })).to.deep.equal([]);
    expect(await alarms({ peers: [down] })).to.deep.equal(['critical bgp-none']);
  });

  it('tell sources whose list is not in force', async () => {
    const source = {
      url: 'http://x/',
      servers: 2,
      ageSeconds: 60,
      note: null,
      lastError: 'timeout',
      unreadable: [],
      complaints: [],
    };
    for (const state of ['waiting', 'stale', 'suspect', 'refused', 'unparsable'] as const) {
      const sources = new Map([['text_80', { ...source, state }]]);
      expect(await alarms({ sources })).to.deep.equal([`warning source-${state}`]);
    }
    const stale = async (servers: number | null, ageSeconds: number | null) => {
      const sources = new Map([['text_80', { ...source, state: 'stale', servers, ageSeconds } as const]]);
      return makeView(await inputs(undefined, { sources })).alarms.map(({ text }) => text);
    };
    expect(await stale(2, 60.4)).to.deep.equal(['text_80: server list is 60 s old: timeout']);
    expect(await stale(2, null)).to.deep.equal(['text_80: server list is of unknown age: timeout']);
    const current = { ...source, state: 'current' } as const;
    expect(await alarms({ sources: new Map([['text_80', current]]) })).to.deep.equal([]);
    const entries = { ...current, unreadable: ['http://x/:3: Bad configuration line'] };
    expect(await alarms({ sources: new Map([['text_80', entries]]) })).to.deep.equal(['warning source-entries']);
    const [said] = makeView(await inputs(undefined, { sources: new Map([['text_80', entries]]) })).alarms;
    expect(said?.text).to.match(
      /: the server list has entries that can not be used as they are: http:\/\/x\/:3: Bad configuration line$/,
    );
    const empty = { ...current, servers: 0 };
    expect(await alarms({ sources: new Map([['text_80', empty]]) })).to.deep.equal(['warning source-empty']);
  });

  it('are critical of a service that has no list at all, once the start is over, and promise none that stays', async () => {
    const told = async (is: Pick<SourceInput, 'state' | 'note' | 'lastError'>, uptimeSeconds = 120) => {
      const source = { url: 'http://x/', servers: null, ageSeconds: null, unreadable: [], complaints: [], ...is };
      const startedAt = (NOW - uptimeSeconds * 1000) as typeof NOW;
      const view = makeView(await inputs(undefined, { startedAt, sources: new Map([['text_80', source]]) }));
      return view.alarms.map(({ level, text }) => `${level} ${text}`);
    };
    const nothing = 'critical text_80: no server list yet';
    const missing = { state: 'stale', note: 'ENOENT', lastError: 'ENOENT' } as const;
    expect(await told(missing)).to.deep.equal([`${nothing}: ENOENT`]);
    expect(await told(missing, 5)).to.deep.equal(['warning starting: text_80: no server list yet: ENOENT']);
    expect(await told({ state: 'unparsable', note: 'is HTML', lastError: 'is HTML' })).to.deep.equal([
      `${nothing}: the first one is unparsable: is HTML`,
    ]);
    expect(await told({ state: 'suspect', note: 'the list is empty', lastError: null })).to.deep.equal([
      `${nothing}: the first one is suspect: the list is empty`,
    ]);
    // Nothing has gone wrong so far.
    expect(await told({ state: 'waiting', note: null, lastError: null })).to.deep.equal([
      'warning text_80: no server list yet',
    ]);
  });

  it('tell a floor that can not be kept', async () => {
    const found = await alarms({}, ({ services }) => {
      const verdict = services.get('text_80');
      if (verdict !== undefined) services.set('text_80', { ...verdict, floorMet: false });
    });
    expect(found).to.deep.equal(['critical floor']);
  });

  it('tell VIPs that are withdrawn, but not those that nobody wants announced', async () => {
    const withdrawn = (code: string, more: Partial<ViewInputs> = {}, everAnnounced = true) =>
      alarms(more, ({ vips }) => {
        const verdict = vips.get('10.0.0.1');
        const gone = { announced: false, everAnnounced, cause: { code, text: code } };
        if (verdict !== undefined) vips.set('10.0.0.1', { ...verdict, ...gone });
      });
    expect(await withdrawn('withdrawn')).to.deep.equal(['critical not-announced']);
    // Awaited at a start; lost, if it was there already.
    const young = { startedAt: (NOW - 5_000) as typeof NOW };
    expect(await withdrawn('withdrawn', young, false)).to.deep.equal(['warning not-announced']);
    expect(await withdrawn('withdrawn', young)).to.deep.equal(['critical not-announced']);
    const notServed = ['Cannot serve on 10.0.0.1 port 9090: EADDRNOTAVAIL'];
    expect(await alarms({ notServed })).to.deep.equal(['warning not-served']);
    expect(await withdrawn('bgp-off')).to.deep.equal([]);
    expect(await withdrawn('no-voters')).to.deep.equal([]);
  });

  it('tell sections in quarantine with the first complaint, critically when they are frozen', async () => {
    const broken = `[DEFAULT]\nmonitors = [ 'IdleConnection' ]\n[global]\nbgp = no\n[a_80]\nprotocol = tcp\nip = 10.0.0.7\nport = 80\nscheduler = wr\nconfig = file:///x\n`;
    const { config } = await decodeText(broken);
    if (config === null) throw new Error('refused');
    const given = await inputs();
    const view = makeView({ ...given, decision: null, facts: { ...given.facts, config } });
    expect(codes(view)).to.deep.equal(['critical quarantine-frozen']);
    expect(view.alarms[0]?.text).to.match(/^\[a_80\] is frozen: pybal\.conf:9: \[a_80\] scheduler: /);
    expect(view.config?.quarantined[0]?.frozen).to.equal(true);
  });

  it('stand in order of their weight', async () => {
    const source = {
      url: 'http://x/',
      servers: 2,
      ageSeconds: 60,
      note: null,
      lastError: null,
      unreadable: [],
      complaints: [],
      state: 'stale',
    } as const;
    const { facts } = await inputs();
    expect(
      await alarms({
        sources: new Map([['text_80', source]]),
        facts: { ...facts, kernel: { ...facts.kernel, verifiedAt: null } },
      }),
    ).to.deep.equal(['critical kernel-unread', 'warning source-stale']);
  });
});

const HISTORY = historyView(
  {
    service: 'text_80',
    host: 'cp 1',
    address: '10.1.0.1',
    candidate: false,
    monitor: 'ProxyFetch',
    results: [{ at: 4000 as Mono, is: 'up', latencyMs: 2.5, reason: '' }],
    transitions: [{ at: 3000 as Mono, is: 'up', reason: '' }],
  },
  5000 as Mono,
  1_000_000_005_000 as Wall,
);

describe('historyView', () => {
  it('gives each event its time of the calendar', () => {
    expect(HISTORY.results[0]?.at).to.equal(1_000_000_004_000);
    expect(HISTORY.transitions[0]?.at).to.equal(1_000_000_003_000);
  });
});

describe('The API', () => {
  const get = async (url: string, method = 'GET') => {
    const given = await inputs();
    const history = (host: string) => (host === 'cp 1' ? [HISTORY] : []);
    return apiResponse({ method, url, headers: {} }, { view: makeView(given), decision: given.decision, history });
  };

  it('sends the view as JSON, and it is the same when read back', async () => {
    const given = await inputs();
    const view = makeView(given);
    const { status, headers, body } = apiResponse(
      { method: 'GET', url: '/v1/status', headers: {} },
      { view, decision: null, history: () => [] },
    );
    expect([status, headers['content-type']]).to.deep.equal([200, 'application/json']);
    expect(JSON.parse(body)).to.deep.equal(view);
  });

  it('sends the decision with maps as objects, without what it was decided on', async () => {
    const decision = JSON.parse((await get('/v1/decision')).body);
    expect(Object.keys(decision.services)).to.deep.equal(['text_80', 'text_443', 'dns_53_udp']);
    expect(decision.services.text_80).to.have.property('desired');
    expect(decision.services.text_80).to.not.have.property('basis');
    expect(decision.wakeAt).to.equal(null);
  });

  it('sends the history of a host, whatever its name', async () => {
    const { status, body } = await get('/v1/history/cp%201');
    expect([status, JSON.parse(body)]).to.deep.equal([200, [HISTORY]]);
    expect((await get('/v1/history/cp2')).status).to.equal(404);
    expect((await get('/v1/history/%zz')).status).to.equal(400);
  });

  it('answers 404 and 405 in JSON', async () => {
    expect((await get('/v2')).status).to.equal(404);
    expect(JSON.parse((await get('/v2')).body)).to.have.property('error');
    expect((await get('/v1/status', 'POST')).status).to.equal(405);
  });
});
