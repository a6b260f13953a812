import { expect } from 'chai';
import { pybalResponse } from '../../../src/control/pybal-http.ts';
import type { ViewInputs } from '../../../src/control/types.ts';
import { makeView, statusText } from '../../../src/control/view.ts';
import { CONFIG, inputs, server, serviceVerdict } from '../../support/view-inputs.ts';

type Change = Parameters<typeof inputs>[0];

/** The servers of one service are these. */
const servers =
  (name: string, ...list: ReturnType<typeof server>[]): NonNullable<Change> =>
  ({ config, services }) => {
    const service = config.services.find((each) => each.name === name);
    if (service !== undefined) services.set(name, serviceVerdict(service, list));
  };

async function get(url: string, change?: Change, more: Partial<ViewInputs> = {}, headers: Record<string, string> = {}) {
  return pybalResponse({ method: 'GET', url, headers }, makeView(await inputs(change, more)));
}

const JSON_WANTED = { accept: 'application/json' };
const MIXED = servers(
  'text_80',
  server('cp1'),
  server('cp2', { stands: 'down', partial: true }),
  server('cp3', { enabled: false, pooled: false, weight: 0 }),
  server('cp4', { held: true, stands: 'down' }),
);

describe("PyBal's status text of a server", () => {
  it('is enabled, up and pooled in PyBal’s words', () => {
    expect(statusText(server('a'))).to.equal('enabled/up/pooled');
    expect(statusText(server('a', { stands: 'down' }))).to.equal('enabled/down/not pooled');
    expect(statusText(server('a', { stands: 'down', partial: true }))).to.equal('enabled/partially up/not pooled');
    expect(statusText(server('a', { held: true }))).to.equal('enabled/down/pooled');
    expect(statusText(server('a', { enabled: false, pooled: false }))).to.equal('disabled/up/not pooled');
  });

  it('of a server that was adopted from the kernel is up until its first result, as with PyBal', () => {
    expect(statusText(server('a', { stands: 'adopted', pooled: true, partial: false }))).to.equal('enabled/up/pooled');
  });
});

describe('/pools', () => {
  it('lists the pools, one per line, with and without a slash at the end', async () => {
    for (const url of ['/pools', '/pools/', '/pools?x=1']) {
      const { status, headers, body } = await get(url);
      expect([status, headers['content-type'], body]).to.deep.equal([
        200,
        'text/plain',
        'text_80\ntext_443\ndns_53_udp\n',
      ]);
    }
  });

  it('lists them as JSON when exactly that is accepted', async () => {
    const { headers, body } = await get('/pools', undefined, {}, JSON_WANTED);
    expect([headers['content-type'], body]).to.deep.equal(['application/json', '["text_80","text_443","dns_53_udp"]']);
    for (const accept of ['application/json;q=1', 'application/json, text/plain', '*/*', 'Application/JSON']) {
      expect((await get('/pools', undefined, {}, { accept })).headers['content-type']).to.equal('text/plain');
    }
  });

  it('shows the servers of a pool', async () => {
    for (const url of ['/pools/text_80', '/pools/text_80/']) {
      expect((await get(url, MIXED)).body).to.equal(
        'cp1:\tenabled/up/pooled\ncp2:\tenabled/partially up/not pooled\ncp3:\tdisabled/up/not pooled\ncp4:\tenabled/down/pooled\n',
      );
    }
  });

  it('shows the servers of a pool as JSON', async () => {
    const { body } = await get('/pools/text_80', MIXED, {}, JSON_WANTED);
    expect(body).to.equal(
      '{"cp1":{"pooled":true,"weight":10,"up":true,"enabled":true},' +
        '"cp2":{"pooled":false,"weight":10,"up":false,"enabled":true},' +
        '"cp3":{"pooled":false,"weight":0,"up":true,"enabled":false},' +
        '"cp4":{"pooled":true,"weight":10,"up":false,"enabled":true}}',
    );
  });

  it('shows one server', async () => {
    expect((await get('/pools/text_80/cp4', MIXED)).body).to.equal('enabled/down/pooled\n');
    expect((await get('/pools/text_80/cp4', MIXED, {}, JSON_WANTED)).body).to.equal(
      '{"pooled":true,"weight":10,"up":false,"enabled":true}',
    );
  });

  it('shows a pool without servers as nothing', async () => {
    expect((await get('/pools/dns_53_udp')).body).to.equal('');
    expect((await get('/pools/dns_53_udp', undefined, {}, JSON_WANTED)).body).to.equal('{}');
  });

  it('answers 404 in PyBal’s words for everything else', async () => {
    for (const url of [
      '/',
      '',
      '/pool',
      '/pools//x',
      '/pools/none',
      '/pools/text_80/none',
      '/pools/text_80/cp1/x',
      '/%',
    ]) {
      const { status, body, headers } = await get(url);
      expect([status, body, headers['content-type']], url).to.deep.equal([
        404,
        'The desired url was not found',
        'text/plain',
      ]);
    }
    const { status, body } = await get('/pools/none', undefined, {}, JSON_WANTED);
    expect([status, body]).to.deep.equal([404, '{"error":"The desired url was not found"}']);
  });

  it('takes no other method', async () => {
    const view = makeView(await inputs());
    expect(pybalResponse({ method: 'POST', url: '/pools', headers: {} }, view).status).to.equal(405);
    expect(pybalResponse({ method: 'HEAD', url: '/pools', headers: {} }, view).status).to.equal(200);
  });
});

describe('/alerts', () => {
  const TOO_SMALL = servers('text_80', server('cp1'), server('cp2'), server('cp3'));
  const alerts = async (change?: Change, more?: Partial<ViewInputs>, headers?: Record<string, string>) =>
    (await get('/alerts', change, more, headers)).body;

  it('is OK when nothing is wrong', async () => {
    expect(await alerts(TOO_SMALL)).to.equal('OK - All pools are healthy');
    expect(await alerts(TOO_SMALL, {}, JSON_WANTED)).to.equal('{"status":"ok","msg":"All pools are healthy"}');
  });

  it('warns of a pool that can not lose a server', async () => {
    // 3 < 3 × 0.5 + 1 is false, 3 < 3 × 0.9 + 1 is true.
    const view = makeView(
      await inputs(undefined, {}, CONFIG.replaceAll('depool-threshold = .5', 'depool-threshold = .9')),
    );
    expect(pybalResponse({ method: 'GET', url: '/alerts', headers: {} }, view).body).to.equal(
      'WARNING - Pool text_80 is too small to allow depooling. Pool text_443 is too small to allow depooling. ',
    );
  });

  it('is critical about servers that are held, and then tells no warnings', async () => {
    expect(await alerts(servers('text_80', server('cp1'), server('cp2', { held: true })))).to.equal(
      'CRITICAL - text_80: Servers cp2 are marked down but pooled',
    );
  });

  it('names every pool with held servers', async () => {
    const both: Change = (well) => {
      servers('text_80', server('a', { held: true }), server('b', { held: true }), server('c'))(well);
      servers('text_443', server('d', { held: true }), server('e'))(well);
    };
    const text = 'text_80: Servers a, b are marked down but pooled; text_443: Servers d are marked down but pooled';
    expect(await alerts(both)).to.equal(`CRITICAL - ${text}`);
    expect(await alerts(both, {}, JSON_WANTED)).to.equal(JSON.stringify({ status: 'critical', msg: text }));
  });

  it('adds what else is wrong behind PyBal’s words, and raises the level', async () => {
    const sources = new Map([
      [
        'text_80',
        {
          url: 'file:///x',
          state: 'suspect',
          servers: 3,
          ageSeconds: 60,
          note: '1 of 3 servers',
          lastError: null,
          unreadable: [],
          complaints: [],
        } as const,
      ],
    ]);
    expect(await alerts(undefined, { sources })).to.equal(
      'WARNING - text_80: new server list is suspect: 1 of 3 servers; the last good one stays',
    );
    expect(await alerts(servers('text_80', server('a'), server('b', { held: true })), { sources })).to.equal(
      'CRITICAL - text_80: Servers b are marked down but pooled; ' +
        'text_80: new server list is suspect: 1 of 3 servers; the last good one stays',
    );
  });

  it('is critical about a VIP that should be announced and is not', async () => {
    const withdrawn: Change = ({ vips }) => {
      const verdict = vips.get('10.0.0.1');
      const cause = { code: 'withdrawn', text: 'no server up' };
      if (verdict !== undefined) vips.set('10.0.0.1', { ...verdict, announced: false, cause });
    };
    expect(await alerts(withdrawn)).to.equal('CRITICAL - 10.0.0.1 is not announced (no server up)');
  });

  it('is always one line that begins with its level, as check_pybal wants it', async () => {
    for (const change of [undefined, MIXED]) {
      const { status, body } = await get('/alerts', change);
      expect(status).to.equal(200);
      expect(body).to.match(/^(OK|WARNING|CRITICAL) - [^\n]+$/);
    }
  });
});
