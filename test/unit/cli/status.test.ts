import { expect } from 'chai';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { printStatus, status } from '../../../src/cli/status.ts';
import { duration, table } from '../../../src/cli/table.ts';
import { apiResponse } from '../../../src/control/api.ts';
import type { ViewInputs } from '../../../src/control/types.ts';
import { makeView } from '../../../src/control/view.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { getOverUnixSocket } from '../../../src/world/real/unix-http.ts';
import { createRealWorld } from '../../../src/world/real/world.ts';
import { bfdSession, check, inputs, peer, server, serviceVerdict } from '../../support/view-inputs.ts';

const sources = (given: ViewInputs) => ({ view: makeView(given), decision: null, history: () => [] });

const busy = () =>
  inputs(
    ({ config, services, vips }) => {
      const [text80] = config.services;
      if (text80 === undefined) return;
      const list = [
        server('cp1.example.net'),
        server('cp2', {
          address: '10.1.0.2',
          held: true,
          cause: { code: 'held', text: 'not up (503 Service Unavailable), held to keep the depool threshold' },
        }),
        server('cp3', {
          enabled: false,
          pooled: false,
          cause: { code: 'disabled', text: 'disabled in the pool list' },
        }),
      ];
      services.set('text_80', serviceVerdict(text80, list));
      services.set('dns_53_udp', {
        ...serviceVerdict(text80, []),
        differsSince: text80 === undefined ? null : NOW_DIFFERS,
      });
      const dns = vips.get('2001:db8::53');
      const cause = { code: 'withdrawn', text: 'no destination of weight > 0' };
      if (dns !== undefined) vips.set('2001:db8::53', { ...dns, announced: false, cause });
    },
    {
      checks: [check('text_80', 'cp1.example.net'), check('text_80', 'cp2', { is: 'down' })],
      peers: [
        peer(),
        peer({ name: '192.0.2.2', established: false, state: 'Active', lastError: 'ECONNREFUSED', prefixesSent: 0 }),
      ],
      bfd: [
        bfdSession(),
        bfdSession({
          name: '192.0.2.2',
          state: 'Down',
          diagnostic: 'Control Detection Time Expired',
          remote: null,
          transmitMs: 1000,
          detectionMs: null,
          lastError: 'sendto: ENETUNREACH',
        }),
      ],
      sources: new Map([
        [
          'text_443',
          {
            url: 'file:///x',
            state: 'stale',
            servers: 3,
            ageSeconds: 90,
            note: null,
            lastError: 'read /x: ENOENT',
            unreadable: [],
            complaints: ['/x:3: weight: -1 is not a weight'],
          } as const,
        ],
      ]),
    },
  );
const NOW_DIFFERS = 1 as NonNullable<ReturnType<typeof serviceVerdict>['differsSince']>;

describe('anybal status', () => {
  it('prints alarms first, then services with their servers, VIPs, peers and the kernel', async () => {
    expect(printStatus(makeView(await busy()))).to.equal(`\
anybal 0.1.0, up 1 h 2 min, 3 services from pybal.conf

CRITICAL: 2001:db8::53 is not announced (no destination of weight > 0)
WARNING: text_443: server list is 90 s old: read /x: ENOENT
WARNING: BGP peer 192.0.2.2 is Active (ECONNREFUSED)
WARNING: BFD session with peer 192.0.2.2 is Down (Control Detection Time Expired; sendto: ENETUNREACH)

text_80  tcp 10.0.0.1:80 wrr dr  3 servers: 2 up, 2 pooled (1 held), floor 2
  vote yes: 2 destination(s) of weight > 0 in the kernel
  cp1.example.net  10.1.0.1  weight 10  enabled/up/pooled         ProxyFetch up 1 min
  cp2              10.1.0.2  weight 10  enabled/down/pooled HELD  ProxyFetch down 1 min  not up (503 Service Unavailable), held to keep the depool threshold
  cp3              10.1.0.1  weight 10  disabled/up/not pooled                           disabled in the pool list

text_443  tcp 10.0.0.1:443 sh dr  3 servers: 3 up, 3 pooled, floor 2
  vote yes: 2 destination(s) of weight > 0 in the kernel
  source stale: read /x: ENOENT
  source: /x:3: weight: -1 is not a weight
  cp1  10.1.0.1  weight 10  enabled/up/pooled
  cp2  10.1.0.1  weight 10  enabled/up/pooled
  cp3  10.1.0.1  weight 10  enabled/up/pooled

dns_53_udp  udp [2001:db8::53]:53 wrr dr  0 servers: 0 up, 0 pooled, floor 0, kernel differs
  vote yes: 2 destination(s) of weight > 0 in the kernel

VIPs
  10.0.0.1      announced to 1 of 2 peers  for 50 min  text_80 text_443  3 destination(s) of weight > 0 in the kernel
  2001:db8::53  NOT announced              for 50 min  dns_53_udp        no destination of weight > 0

BGP peers
  192.0.2.1  AS 64600 to 64601  Established for 58 min 20 s  2 routes
  192.0.2.2  AS 64600 to 64601  Active for 58 min 20 s       0 routes  ECONNREFUSED

BFD
  192.0.2.1  Up for 56 min 40 s    every 50 ms    detects in 150 ms  3 downs
  192.0.2.2  Down for 56 min 40 s  every 1000 ms  never heard of     3 downs  Control Detection Time Expired; the peer says: nothing  sendto: ENETUNREACH

Kernel
  netlink, verified 2 s ago, 12 writes, 0 repairs
`);
  });

  it("shows a weight that is not the list's beside it, and why", async () => {
    const cause = { code: 'weighted', text: 'up, weight 5 instead of 10 (Agent: 50%)' };
    const view = makeView(
      await inputs(({ config, services }) => {
        const [text80] = config.services;
        const halved = server('cp1', { weight: 5, listedWeight: 10, cause });
        if (text80 !== undefined) services.set('text_80', serviceVerdict(text80, [halved]));
      }),
    );
    expect(printStatus(view)).to.match(/cp1 .* weight 5 of 10 .* up, weight 5 instead of 10 \(Agent: 50%\)$/m);
  });

  it('says of a session without capabilities that it is one', async () => {
    const view = makeView(
      await inputs(() => {}, { peers: [peer({ withoutCapabilities: true, peerHostname: 'cr1' })] }),
    );
    expect(printStatus(view)).to.match(/192\.0\.2\.1 .* 2 routes {2}without capabilities, cr1$/m);
  });

  it('does not take maintenance of the peer for a failure of BFD', async () => {
    const remote = { ...bfdSession().remote, diagnostic: 'No Diagnostic' };
    const printed = async (state: 'AdminDown' | 'Down') => {
      const down = bfdSession({ state: 'Down', diagnostic: 'Neighbor Signaled Session Down' });
      if (down.remote === null) throw new Error('no remote');
      return printStatus(
        makeView(await inputs(() => {}, { bfd: [{ ...down, remote: { ...down.remote, ...remote, state } }] })),
      );
    };
    expect(await printed('AdminDown')).to.match(/ 3 downs {2}AdminDown: taken down by the administrator of the peer$/m);
    expect(await printed('Down')).to.match(/ {2}Neighbor Signaled Session Down; the peer says: Down, No Diagnostic$/m);
  });

  it('in a dry run announces nothing', async () => {
    const dry = await inputs();
    const { reconciler } = dry;
    if (reconciler === null) throw new Error('no reconciler');
    const text = printStatus(makeView({ ...dry, peers: [], reconciler: { ...reconciler, backend: 'dry-run' } }));
    expect(text).to.match(/10\.0\.0\.1 +would be announced \(dry run\)/);
    expect(text).not.to.contain('announced to');
  });

  const io = (
    answer: (path: string) => Promise<{ status: number; headers: Record<string, string>; body: Uint8Array }>,
  ) => {
    const printed = { out: '', err: '', asked: '' };
    return {
      printed,
      get: (socket: string, path: string) => {
        printed.asked = `${socket} ${path}`;
        return answer(path);
      },
      print: (text: string) => void (printed.out += text),
      printError: (text: string) => void (printed.err += text),
    };
  };
  const options = { socket: '/run/x.sock', json: false, server: null, history: false };
  const answering = (code: number, body: string) =>
    io(async () => ({ status: code, headers: {}, body: new Uint8Array(Buffer.from(body)) }));

  it('prints what the daemon answers, and exits 0', async () => {
    const given = await inputs();
    const { body } = apiResponse({ method: 'GET', url: '/v1/status', headers: {} }, sources(given));
    const plain = answering(200, body);
    expect(await status(options, plain)).to.equal(0);
    expect(plain.printed.asked).to.equal('/run/x.sock /v1/status');
    expect(plain.printed.out).to.equal(printStatus(makeView(given)));
    const json = answering(200, body);
    expect(await status({ ...options, json: true }, json)).to.equal(0);
    expect(JSON.parse(json.printed.out)).to.deep.equal(makeView(given));
  });

  it('shows one server in all of its services, and its history when asked', async () => {
    const given = await busy();
    const history = [
      {
        service: 'text_80',
        host: 'cp2',
        address: '10.1.0.2',
        candidate: false,
        monitor: 'ProxyFetch',
        transitions: [{ at: 1_700_000_000_000, is: 'down', reason: '503' }],
        results: [{ at: 1_700_000_000_000, is: 'down', latencyMs: 12.34, reason: '503 \x1b[2J' }],
      },
    ] as const;
    const api = () =>
      io(async (url) => {
        const { status: code, body } = apiResponse(
          { method: 'GET', url, headers: {} },
          { ...sources(given), history: (host) => (host === 'cp2' ? history : []) },
        );
        return { status: code, headers: {}, body: new Uint8Array(Buffer.from(body)) };
      });
    const plain = api();
    expect(await status({ ...options, server: 'cp2' }, plain)).to.equal(0);
    expect(plain.printed.out).to.match(/^text_80\n {2}cp2 .*HELD/);
    const long = api();
    expect(await status({ ...options, server: 'cp2', history: true }, long)).to.equal(0);
    expect(long.printed.out.split('\n').slice(-7)).to.deep.equal([
      '',
      'text_80  ProxyFetch at 10.1.0.2',
      '  verdicts',
      '    2023-11-14T22:13:20.000Z  down  503',
      '  results',
      '    2023-11-14T22:13:20.000Z  down  12.3 ms  503 \\x1b[2J',
      '',
    ]);
    const json = api();
    expect(await status({ ...options, server: 'cp2', history: true, json: true }, json)).to.equal(0);
    expect(JSON.parse(json.printed.out).history).to.deep.equal(history);
    const none = api();
    expect(await status({ ...options, server: 'cp9' }, none)).to.equal(1);
    expect(none.printed.err).to.equal('anybal: no service has a server cp9\n');
  });

  it('does not let what a server answered control the terminal', async () => {
    const view = makeView(await inputs());
    const alarms = [{ level: 'critical', code: 'x', text: '\x1b[2J\nOK' } as const];
    expect(printStatus({ ...view, alarms })).to.contain('CRITICAL: \\x1b[2J\\x0aOK\n');
  });

  it('speaks with the API over a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-status-'));
    const socket = join(folder, 'control.sock');
    const world = await createRealWorld({ backend: 'userspace', log: () => {}, loadMonitor: async () => null });
    const given = await inputs();
    const server = await world.http.serve({ path: socket }, (request) => apiResponse(request, sources(given)));
    try {
      let out = '';
      const real = {
        get: (path: string, url: string) => getOverUnixSocket(path, url, 5000, 1 << 20),
        print: (text: string) => void (out += text),
        printError: (text: string) => void (out += text),
      };
      expect(await status({ ...options, socket }, real)).to.equal(0);
      expect(out).to.equal(printStatus(makeView(given)));
    } finally {
      await server.close();
      await world.close();
      await rm(folder, { recursive: true });
    }
  });

  it('exits 3 when no daemon answers', async () => {
    for (const code of ['ENOENT', 'ECONNREFUSED', 'ETIMEDOUT', 'ECONNRESET']) {
      const none = io(() => Promise.reject(new SystemError(code, 'GET /v1/status')));
      expect(await status(options, none)).to.equal(3);
      expect(none.printed.err).to.equal(`anybal: no daemon answers: GET /v1/status: ${code}\n`);
      expect(none.printed.out).to.equal('');
    }
  });

  it('exits 1 when it may not ask, or does not understand the answer', async () => {
    const denied = io(() => Promise.reject(new SystemError('EACCES', 'GET /v1/status')));
    expect(await status(options, denied)).to.equal(1);
    expect(denied.printed.err).to.contain('EACCES');
    const broken = answering(500, '{"error":"internal error"}');
    expect(await status(options, broken)).to.equal(1);
    expect(broken.printed.err).to.contain('500');
    expect(await status(options, answering(200, 'not JSON'))).to.equal(1);
  });
});

describe('Durations and tables', () => {
  it('are told in the two units that matter', () => {
    expect([0, 0.4, 1, 59, 60, 61, 3600, 3725, 86_400, 90_061].map(duration)).to.deep.equal([
      '0 s',
      '0 s',
      '1 s',
      '59 s',
      '1 min',
      '1 min 1 s',
      '1 h',
      '1 h 2 min',
      '1 d',
      '1 d 1 h',
    ]);
  });

  it('have columns as wide as their widest cell, and no blanks at the end', () => {
    expect(table([['a', 'bb', ''], ['aaa', 'b'], []], '. ')).to.deep.equal(['. a    bb', '. aaa  b', '.']);
  });
});
