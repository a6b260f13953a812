import { expect } from 'chai';
import fc from 'fast-check';
import file from '../../../monitors/file.ts';
import { readFeed } from '../../../monitors/lib/feed.ts';
import type { Fact } from '../../../src/decision/facts.ts';
import type { MonitorModule } from '../../../src/health/monitor.ts';
import { HealthRunner } from '../../../src/health/runner.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { World } from '../../../src/world/world.ts';
import { FakeWorld, response } from '../../support/fake-world.ts';
import { withDefaults } from '../../support/monitor-bench.ts';
import { AS_ALWAYS } from '../../support/service-config.ts';
import { checked } from '../../support/decision-scene.ts';

const feed = (text: string) => readFeed(new TextEncoder().encode(text));
const servers = (text: string) => {
  const read = feed(text);
  return typeof read === 'string' ? read : Object.fromEntries(read.servers);
};

describe('a feed', () => {
  it('is lines of a server, its state, its weight and a reason', () => {
    expect(
      servers(
        '# members\n@1790000000\n\n[2001:db8::1] up\ncp1 up\nCP2\tDrain # deploying\ncp3 up 50%\ncp4 up 7 new disk\ncp5 down 3 disks full\n192.0.2.1 unknown\n',
      ),
    ).to.deep.equal({
      '2001:db8::1': { is: 'up' },
      cp1: { is: 'up' },
      cp2: { is: 'up', drain: true, detail: 'drain # deploying' },
      cp3: { is: 'up', percent: 50, detail: 'weight 50%' },
      cp4: { is: 'up', weight: 7, detail: 'weight 7 # new disk' },
      cp5: { is: 'down', reason: 'the document says down: 3 disks full' },
      '192.0.2.1': { is: 'unknown', reason: 'the document says unknown' },
    });
  });

  it('is JSON', () => {
    const json = {
      time: '2026-11-21T08:15:00Z',
      servers: {
        cp1: 'up',
        cp2: { state: 'drain', weight: '50%', reason: 'x' },
        cp3: { state: 'up', weight: 7 },
        cp4: 'DOWN',
      },
    };
    expect(servers(JSON.stringify(json))).to.deep.equal({
      cp1: { is: 'up' },
      cp2: { is: 'up', drain: true, percent: 50, detail: 'drain weight 50% # x' },
      cp3: { is: 'up', weight: 7, detail: 'weight 7' },
      cp4: { is: 'down', reason: 'the document says down' },
    });
  });

  it('knows nothing of an entry that it cannot read, or has twice, and all of the others', () => {
    const read = servers(
      'cp1 up\ncp2 upp\ncp3\ncp4 up 99999999\ncp5 up\ncp5 down\ncp6 up 999999%\ncp7 up -5%\ncp8 up 1e9\n',
    );
    expect(read).to.be.an('object');
    for (const [host, health] of Object.entries(read)) {
      expect(health, host).to.include({ is: host === 'cp1' ? 'up' : 'unknown' });
    }
    const json = servers(
      '{"servers": {"cp1": "up", "cp2": 1, "cp3": null, "cp4": {"state": "up", "weight": -1}, "cp5": {"weight": []}}}',
    );
    for (const [host, health] of Object.entries(json)) {
      expect(health, host).to.include({ is: host === 'cp1' ? 'up' : 'unknown' });
    }
  });

  it('takes a number that belongs to a word of people for no weight', () => {
    expect(servers('cp1 up 2nd rack\n')).to.deep.equal({ cp1: { is: 'up', detail: '# 2nd rack' } });
  });

  it('says what it can of JSON that is nested without end, and of all the rest', () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    expect(
      servers(`{"servers": {"cp1": "up", "cp2": {"state": ${deep}}, "cp3": {"state": "up", "weight": ${deep}}}}`),
    ).to.deep.equal({
      cp1: { is: 'up' },
      cp2: {
        is: 'unknown',
        reason: 'the document says "something too deep to be shown": none of up, down, unknown, drain',
      },
      cp3: { is: 'unknown', reason: 'the document gives a weight of "?"' },
    });
    expect(servers(`{"time": ${deep}, "servers": {"cp1": "up"}}`)).to.equal(
      'its time cannot be read: "something too deep to be shown"',
    );
  });

  it('names no more servers than can be read without holding up everything else', () => {
    const names = Array.from({ length: 20_001 }, (_, i) => `cp${i}`);
    expect(servers(names.map((name) => `${name} up\n`).join(''))).to.equal('it names more than 20000 servers');
    expect(servers(JSON.stringify({ servers: Object.fromEntries(names.map((name) => [name, 'up'])) }))).to.equal(
      'it names more than 20000 servers',
    );
  });

  it('is nothing as a whole when it is empty, torn or something else', () => {
    for (const [text, why] of [
      ['', 'it names no server'],
      ['# none\n\n', 'it names no server'],
      ['{"servers": {}}', 'it names no server'],
      ['cp1 up\ncp2 dow', 'its last line has no end: "cp2 dow"'],
      ['<html>\n', 'line 1 begins with no server\'s name: "<html>"'],
      ['cp1 up\n\u0000\u0001\n', 'line 2 begins with no server\'s name: "\\x00\\x01"'],
      ['@yesterday\ncp1 up\n', 'line 1 has no time that can be read: "@yesterday"'],
      ['{}', 'it has no object "servers"'],
      ['{"servers": []}', 'it has no object "servers"'],
      ['{"time": "x", "servers": {"cp1": "up"}}', 'its time cannot be read: "\\"x\\""'],
    ] as const) {
      expect(feed(text), text).to.equal(why);
    }
    expect(feed('{"servers": {"cp1": "up"')).to.match(/^it is no JSON: /);
  });

  it('reads any day as the calendar has it', () => {
    const time = fc.date({
      min: new Date('1970-01-01T00:00:00Z'),
      max: new Date('2400-01-01T00:00:00Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(time, (date) => {
        const text = `${date.toISOString().slice(0, 19)}Z`;
        expect(feed(`@${text}\ncp1 up\n`)).to.include({ time: Date.parse(text) });
      }),
      { numRuns: 300, seed: 1 },
    );
    expect(feed('@1790000000\ncp1 up\n')).to.include({ time: 1_790_000_000_000 });
  });

  it('gives for anything at all healths within bounds, or one line', () => {
    const line = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.constantFrom('cp1', 'cp2', '@1'), fc.constantFrom('up', 'down', 'drain', ''), fc.string())
        .map((w) => w.join(' ')),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(line).map((lines) => `${lines.join('\n')}\n`),
          fc.json(),
        ),
        (text) => {
          const read = feed(text);
          const words =
            typeof read === 'string'
              ? [read]
              : [...read.servers.values()].map((h) => (h.is === 'up' ? (h.detail ?? '') : h.reason));
          for (const word of words) expect(word).to.match(/^[\x20-\x7e…]{0,500}$/);
          if (typeof read === 'string') return;
          for (const health of read.servers.values()) {
            if (health.is === 'up') expect(health.weight ?? 0).to.be.within(0, 65_535);
          }
        },
      ),
      { numRuns: 300, seed: 2 },
    );
  });
});

describe('File', () => {
  function lab(
    given: Readonly<Record<string, unknown>>,
    hosts: readonly string[] = ['cp1', 'cp2', 'cp3'],
    over: Partial<World> = {},
    service: Parameters<typeof checked>[0] = {},
  ) {
    const fake = new FakeWorld();
    const last = new Map<string, string>();
    const runner = new HealthRunner(
      { ...fake.world, ...over },
      (fact: Fact) => {
        if (fact.is === 'health') last.set(fact.host, `${fact.health?.is} ${fact.health?.reason}`);
      },
      () => 'enabled/up/pooled',
    );
    const module = file as unknown as MonitorModule;
    const config = checked({ name: 'text_80', ...service });
    const options = withDefaults(module, { interval: 10, timeout: 2, ...given });
    const list = (names: readonly string[]) =>
      runner.configure([
        { config, monitors: [{ module, options }], hosts: names.map((host) => ({ host, weight: 10, enabled: true })) },
      ]);
    list(hosts);
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, `10.0.0.${i + 1}`);
    /** The last result of each check, in its words. */
    const results = () => runner.status().map((status) => status.last);
    return { fake, last, results, list };
  }
  const PATH = { path: '/run/members' };

  it('reads once per interval for all servers, by name or address', async () => {
    const { fake, last } = lab(PATH);
    fake.write('/run/members', 'cp1 up\n10.0.0.2 down disk full\n');
    await fake.clock.advance(1000);
    expect(Object.fromEntries(last)).to.deep.equal({
      cp1: 'up File: up',
      cp2: 'down File: the document says down: disk full',
      cp3: 'unknown File: cp3 is not in /run/members',
    });
    expect(fake.reads).to.have.length(1);
    await fake.clock.advance(100_000);
    expect(fake.reads.length).to.be.within(9, 12);
    fake.write('/run/members', 'cp1 down\n10.0.0.2 up 50%\ncp3 drain\n');
    await fake.clock.advance(21_000);
    expect(['cp1', 'cp2', 'cp3'].map((host) => last.get(host)?.split(' ', 1)[0])).to.deep.equal(['down', 'up', 'up']);
  });

  it('reads again for a server that is asked again sooner: each result is one reading', async () => {
    const monitor = {
      name: 'File',
      options: {},
      pace: { ...AS_ALWAYS, fastIntervalSeconds: 1 },
      via: 'server',
    } as const;
    const { fake, last } = lab(PATH, undefined, {}, { fall: 3, monitors: [monitor], monitorsNeeded: 1 });
    fake.write('/run/members', 'cp1 up\ncp2 up\ncp3 up\n');
    await fake.clock.advance(30_000);
    fake.write('/run/members', 'cp1 down\ncp2 up\ncp3 up\n');
    const before = fake.reads.length;
    for (let waited = 0; fake.reads.length === before && waited < 200; waited++) await fake.clock.advance(100);
    fake.write('/run/members', 'cp1 up\ncp2 up\ncp3 up\n');
    for (let waited = 0; waited < 200; waited++) {
      await fake.clock.advance(100);
      expect(last.get('cp1')).to.equal('up File: up');
    }
    fake.write('/run/members', 'cp1 down\ncp2 up\ncp3 up\n');
    await fake.clock.advance(16_000);
    expect(last.get('cp1')).to.equal('down File: the document says down');
  });

  for (const [absent, is] of [
    ['up', 'up File: up'],
    ['down', 'down File: cp3 is not in /run/members'],
  ] as const) {
    it(`calls a server that is not in it ${absent} where that is wanted`, async () => {
      const { fake, last } = lab({ ...PATH, absent });
      fake.write('/run/members', 'cp1 up\ncp2 up\n');
      await fake.clock.advance(1000);
      expect(last.get('cp3')).to.equal(is);
    });
  }

  it('freezes everybody when the document is gone, torn or stale, and goes on when it is back', async () => {
    const { fake, last, results } = lab({ ...PATH, 'max-age': 60, absent: 'down' });
    const now = () => Math.floor(fake.clock.wall() / 1000);
    const all = (pattern: RegExp) => {
      for (const text of results()) expect(text).to.match(pattern);
    };
    fake.write('/run/members', `@${now()}\ncp1 up\ncp2 up\ncp3 up\n`);
    await fake.clock.advance(1000);
    all(/^up/);
    await fake.clock.advance(80_000);
    all(/^unknown: \/run\/members: it is \d+ s old, and may be 60$/);
    fake.write('/run/members', `@${now()}\ncp1 up\ncp2 up\ncp3 u`);
    await fake.clock.advance(21_000);
    all(/^unknown: .*its last line has no end/);
    fake.disk.delete('/run/members');
    await fake.clock.advance(21_000);
    all(/^unknown: .*ENOENT/);
    fake.write('/run/members', `@${now() + 600}\ncp1 up\ncp2 up\ncp3 up\n`);
    await fake.clock.advance(21_000);
    all(/^unknown: .*from now: a clock is wrong$/);
    fake.write('/run/members', `@${now()}\ncp1 down\ncp2 up\ncp3 up\n`);
    await fake.clock.advance(21_000);
    expect(last.get('cp1')).to.match(/^down/);
    expect(last.get('cp2')).to.match(/^up/);
  });

  it("takes the file's own time where the document has none", async () => {
    const files = {
      read: async () => new TextEncoder().encode('cp1 up\n'),
      stat: async () => ({ mtimeMs: 1_700_000_000_000, ctimeMs: 1_700_000_000_000, size: 7, inode: 1, mode: 0o100644 }),
      replace: async () => {},
    };
    const { fake, last } = lab({ ...PATH, 'max-age': 30 }, ['cp1'], { files });
    await fake.clock.advance(1000);
    expect(last.get('cp1')).to.match(/^up/);
    await fake.clock.advance(60_000);
    expect(last.get('cp1')).to.match(/^unknown .* s old, and may be 30$/);
  });

  describe('from a URL', () => {
    const URL = { url: 'http://feed.example/members' };

    it('asks once for all', async () => {
      const { fake, last } = lab(URL);
      fake.reply = () => response(200, '{"servers": {"cp1": "up", "cp2": "down", "cp3": "up"}}');
      await fake.clock.advance(1000);
      expect(['cp1', 'cp2', 'cp3'].map((host) => last.get(host)?.split(' ', 1)[0])).to.deep.equal(['up', 'down', 'up']);
      expect(fake.requests.map(({ url }) => url)).to.deep.equal(['http://feed.example/members']);
    });

    for (const [what, reply, why] of [
      ['is refused', () => new SystemError('ECONNREFUSED', 'GET'), /ECONNREFUSED/],
      ['has no name', () => new SystemError('ENOTFOUND', 'GET'), /ENOTFOUND/],
      ['is too long', () => new SystemError('EFBIG', 'GET'), /EFBIG/],
      ['answers an error', () => response(503, 'cp1 up\n'), /HTTP status 503/],
      ['answers nothing', () => response(200, ''), /it names no server/],
      ['hangs', () => 'hang' as const, /not read in 2 seconds|ETIMEDOUT/],
    ] satisfies [string, FakeWorld['reply'], RegExp][]) {
      it(`knows nothing of anybody when it ${what}`, async () => {
        const { fake, last } = lab({ ...URL, absent: 'down' });
        fake.reply = reply;
        await fake.clock.advance(8000);
        expect(last.size).to.equal(3);
        for (const text of last.values()) {
          expect(text).to.match(/^unknown /);
          expect(text).to.match(why);
        }
      });
    }

    it('reads again for the others when the server whose check reads is taken away', async () => {
      const asked: number[] = [];
      for (const gone of ['cp1', 'cp2', 'cp3']) {
        const { fake, last, list } = lab(URL);
        fake.reply = () => (fake.requests.length === 1 ? 'hang' : response(200, 'cp1 up\ncp2 up\ncp3 up\n'));
        await fake.clock.advance(1000);
        expect(fake.requests).to.have.length(1);
        list(['cp1', 'cp2', 'cp3'].filter((host) => host !== gone));
        await fake.clock.advance(500);
        asked.push(fake.requests.length);
        expect([...last.values()].filter((text) => text.startsWith('up'))).to.have.length(
          fake.requests.length === 2 ? 2 : 0,
        );
      }
      // One of the three was the one who read.
      expect(asked.sort()).to.deep.equal([1, 1, 2]);
    });

    it('wants a time in the document when it may not be too old', async () => {
      const { fake, last } = lab({ ...URL, 'max-age': 60 });
      fake.reply = () => response(200, 'cp1 up\n');
      await fake.clock.advance(1000);
      expect(last.get('cp1')).to.match(/^unknown .*it does not say when it was written, and max-age is set$/);
    });
  });

  it('wants a path or a URL, and not both', () => {
    const complaints = (given: Readonly<Record<string, unknown>>) => file.refuse(withDefaults(file, given) as never);
    expect(complaints(PATH)).to.deep.equal([]);
    expect(complaints({})).to.have.length(1);
    expect(complaints({ ...PATH, url: 'http://a/' })).to.have.length(1);
    expect(complaints({ url: 'http://a/' })).to.deep.equal([]);
    expect(complaints({ url: 'http://me:secret@a/' })).to.deep.equal([
      { option: 'url', why: 'a name and password in it are not sent' },
    ]);
  });
});
