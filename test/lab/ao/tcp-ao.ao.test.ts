// TCP-AO against BIRD on a kernel that has it: both ways of calling, both families, every algorithm; keys that are wrong, missing and
// changed in a session; and what other peers of the same listener notice of all that.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { openLibc } from '../../../src/ffi/libc.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { listAoKeys, setAoKeys } from '../../../src/world/real/tcp-ao.ts';
import type { AoKey } from '../../../src/world/world.ts';
import { eventually } from '../../support/namespace.ts';
import { birdKeys, birdPassword, HOLD_SECONDS, type Link, Sessions } from './sessions.ts';

const FAMILIES = [4, 6] as const;
const CALLERS = ['we', 'router'] as const;

/** One of each family and way of calling: `sha1_v4_we`. */
function four(word: string, ours: Link['ours'], theirs: string): readonly Link[] {
  return FAMILIES.flatMap((family) =>
    CALLERS.map((calls) => ({ name: `${word}_v${family}_${calls}`, family, calls, ours, theirs })),
  );
}
/** We call over IPv4, the router over IPv6. */
const two: typeof four = (...of) => four(...of).filter(({ family, calls }) => (calls === 'we') === (family === 4));
const names = (links: readonly Link[]) => links.map(({ name }) => name);
/** The guest is emulated, and its host may have other things to do. */
const PATIENCE_MS = 80_000;
const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const counter = (name: string) => {
  const [keys = '', values = ''] = readFileSync('/proc/net/netstat', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'));
  return Number(values.split(' ')[keys.split(' ').indexOf(name)] ?? Number.NaN);
};

describe('lab: TCP-AO', function () {
  this.timeout(300_000);
  let sessions: Sessions | undefined;
  const started = async (links: readonly Link[], listen: readonly string[] = ['::']) => {
    sessions = await Sessions.start('anybal-ao', links, listen);
    return sessions;
  };
  const up = (within: Sessions, links: readonly Link[], limitMs = PATIENCE_MS) =>
    eventually(
      'all up, with their routes',
      async () => ((await within.missing(names(links))).length === 0 ? true : null),
      async () => {
        const missing = await within.missing(names(links));
        return `${missing.map((name) => `${name}: ${within.lastError(name)}`).join('; ')}; ${await within.birdSays(missing[0] ?? '')}`;
      },
      limitMs,
    );
  const steady = (within: Sessions, links: readonly Link[]) =>
    expect(names(links).map((name) => [name, within.states.get(name)])).to.deep.equal(
      names(links).map((name) => [name, ['up']]),
    );

  before(() => {
    console.log(`    ${execFileSync('uname', ['-rv'], { encoding: 'utf8' }).trim()}`);
  });
  afterEach(async () => {
    await sessions?.stop();
    sessions = undefined;
  });

  it('has in the kernel the keys that were set, and no others', () => {
    const libc = openLibc();
    for (const [socketFamily, address] of [
      [4, '192.0.2.1'],
      [6, '2001:db8::1'],
      [6, '192.0.2.1'],
    ] as const) {
      const fd = libc.socket(socketFamily === 4 ? 2 : 10, 1, 0);
      const key = (id: number, algorithm: AoKey['algorithm']): AoKey => {
        return { sendId: id, receiveId: id + 100, algorithm, macLength: 16, key: 'x'.repeat(80) };
      };
      const ids = (...wanted: readonly number[]) =>
        wanted.map((id) => ({ sendId: id, receiveId: id + 100, current: id === 1 }));
      setAoKeys(libc, { fd, socketFamily, address }, [
        key(1, 'hmac-sha1'),
        key(2, 'cmac-aes128'),
        key(3, 'hmac-sha256'),
      ]);
      expect(listAoKeys(libc, fd)).to.have.deep.members(ids(1, 2, 3));
      const change = () => setAoKeys(libc, { fd, socketFamily, address }, [key(3, 'hmac-sha256')]);
      // The first one is still what this end would send with.
      expect(change).to.throw(SystemError, 'TCP-AO key 1/101: EBUSY');
      expect(listAoKeys(libc, fd)).to.have.deep.members(ids(1, 3));
      libc.close(fd);
    }
  });

  it('comes up with every algorithm, whoever calls, beside peers with TCP-MD5 and with nothing', async () => {
    const links = [
      ...four('sha1', { ao: '1 1 hmac-sha1 correct horse' }, birdKeys({ id: 1, secret: 'correct horse' })),
      ...two(
        'cmac',
        { ao: '7 7 cmac-aes128 0123456789abcdef' },
        birdKeys({ id: 7, secret: '0123456789abcdef', algorithm: 'cmac aes128' }),
      ),
      ...two(
        'kdf',
        { ao: '0 0 cmac-aes128 not of sixteen octets' },
        birdKeys({ id: 0, secret: 'not of sixteen octets', algorithm: 'cmac aes128' }),
      ),
      ...two('sha256', { ao: '255 255 hmac-sha256 s' }, birdKeys({ id: 255, secret: 's', algorithm: 'hmac sha256' })),
      ...two('md5', { md5: 'battery' }, birdPassword('battery')),
      ...two('plain', null, ''),
    ];
    const good = counter('TCPAOGood');
    const within = await started(links);
    await up(within, links);
    // Of each of the ten: what answered a SYN, an OPEN and a KEEPALIVE, at least.
    expect(counter('TCPAOGood') - good).to.be.at.least(30);
    expect(await within.birdKeysInUse('cmac_v6_router')).to.deep.equal([7, 7]);
    // Longer than the hold time: messages of both sides are taken.
    await sleep(HOLD_SECONDS + 1);
    steady(within, links);
  });

  it('takes calls on listeners of one family each', async () => {
    const links = four(
      'sha1',
      { ao: '1 1 hmac-sha1 correct horse' },
      birdKeys({ id: 1, secret: 'correct horse' }),
    ).filter(({ calls }) => calls === 'router');
    const within = await started(links, ['0.0.0.0', 'fd00:a0::12']);
    await up(within, links);
  });

  it('has ids of its own in each direction', async () => {
    const theirs = 'authentication ao; keys { key { send id 20; recv id 10; secret "s"; algorithm hmac sha1; }; };';
    const links = four('ids', { ao: '10 20 hmac-sha1 s' }, theirs);
    const within = await started(links);
    await up(within, links);
  });

  it('names the probable cause of silence, and the right key ends it without a restart', async () => {
    const ours = { ao: '1 1 hmac-sha1 right' };
    const right = birdKeys({ id: 1, secret: 'right' });
    const causes: readonly (readonly [Link, RegExp])[] = FAMILIES.flatMap((family) => {
      const link = (word: string, calls: Link['calls'], own: Link['ours'], theirs: string): Link => {
        return { name: `${word}_v${family}`, family, calls, ours: own, theirs };
      };
      return [
        [link('wrong_we', 'we', ours, birdKeys({ id: 1, secret: 'wrong' })), /No answer .*TCP-AO/],
        [link('wrong_router', 'router', ours, birdKeys({ id: 1, secret: 'wrong' })), /probable cause: .*TCPAO/],
        [link('unknown_router', 'router', ours, birdKeys({ id: 2, secret: 'right' })), /probable cause: .*TCPAO/],
        [link('unsigned_router', 'router', ours, ''), /probable cause: .*TCPAO/],
        [link('unsigned_we', 'we', ours, ''), /TCP-AO/],
        [
          link('needless_router', 'router', null, right),
          /probable cause: .*no keys for it are configured here.*TCPAOKeyNotFound/,
        ],
      ] as const;
    });
    const links = causes.map(([link]) => link);
    const within = await started(links);
    for (const [{ name }, cause] of causes)
      await eventually(
        `${name}: ${cause}`,
        async () => (cause.test(within.lastError(name)) ? true : null),
        () => within.lastError(name),
        PATIENCE_MS,
      );
    expect([...within.states.keys()], 'no session').to.deep.equal([]);
    for (const name of ['TCPAOBad', 'TCPAOKeyNotFound', 'TCPAORequired'])
      expect(counter(name), name).to.be.greaterThan(0);
    await within.rekeyBird(names(links.filter((link) => link.ours !== null)), right);
    await up(
      within,
      links.filter((link) => link.ours !== null),
    );
  });

  for (const [word, changes] of [
    ['wrong', birdKeys({ id: 1, secret: 'wrong' })],
    ['unknown', birdKeys({ id: 2, secret: 'right' })],
    ['unsigned', ''],
  ] as const) {
    const counters = { wrong: 'TCPAOBad', unknown: 'TCPAOKeyNotFound', unsigned: 'TCPAORequired' };
    it(`a router whose key is ${word} is told apart by ${counters[word]}`, async () => {
      const links = four(word, { ao: '1 1 hmac-sha1 right' }, changes).filter(({ calls }) => calls === 'router');
      const within = await started(links);
      for (const { name } of links)
        await eventually(
          counters[word],
          async () => (within.lastError(name).includes(counters[word]) ? true : null),
          () => within.lastError(name),
          PATIENCE_MS,
        );
    });
  }

  it('changes keys in a session as the manual says, without its end and without a word to others', async () => {
    const old = { id: 1, secret: 'old' };
    const next = { id: 2, secret: 'new', algorithm: 'cmac aes128' };
    const changing = four('changing', { ao: '1 1 hmac-sha1 old' }, birdKeys(old));
    const others = [
      ...four('other', { ao: '1 1 hmac-sha1 other' }, birdKeys({ id: 1, secret: 'other' })),
      ...four('md5', { md5: 'battery' }, birdPassword('battery')),
    ];
    const all = [...changing, ...others];
    const within = await started(all);
    await up(within, all);
    const inUse = (wanted: readonly number[]) =>
      eventually(
        `keys ${wanted.join()} in use`,
        async () => {
          const used = await Promise.all(names(changing).map((name) => within.birdKeysInUse(name)));
          return used.every((pair) => pair.join() === wanted.join()) ? true : null;
        },
        async () => within.birdSays(names(changing)[0] ?? ''),
        PATIENCE_MS,
      );
    await inUse([1, 1]);
    const begun = within.log.length;
    // 1. Both know it, nobody uses it.
    await within.rekey(names(changing), '1 1 hmac-sha1 old\n2 2 cmac-aes128 new');
    await within.rekeyBird(names(changing), birdKeys(old, next));
    await inUse([1, 1]);
    // 2. We ask for it: BIRD sends with it, and still asks for the old one.
    await within.rekey(names(changing), '2 2 cmac-aes128 new\n1 1 hmac-sha1 old');
    await inUse([2, 1]);
    // 3. Gone here too early: it stays until BIRD asks for another.
    await within.rekey(names(changing), '2 2 cmac-aes128 new');
    for (const name of names(changing))
      await eventually(
        'an old key stays',
        () => (/An old key stays for now: TCP-AO key 1\/1: EBUSY/.test(within.complaints(name).join()) ? true : null),
        () => within.complaints(name).join(),
      );
    await within.rekeyBird(names(changing), birdKeys({ ...old, more: 'deprecated;' }, { ...next, more: 'preferred;' }));
    await inUse([2, 2]);
    const left = () => within.log.filter(({ text }) => text === 'No old key is left').length;
    await eventually(
      'gone here',
      async () => (left() === changing.length ? true : null),
      () => `${left()}`,
      PATIENCE_MS,
    );
    // 4. Gone there.
    await within.rekeyBird(names(changing), birdKeys(next));
    await sleep(HOLD_SECONDS + 1);
    await inUse([2, 2]);
    steady(within, all);
    for (const name of names(others)) expect(within.complaints(name, begun)).to.deep.equal([]);
  });

  it('keeps a session whose key has another secret under the same ids, and uses that for the next one', async () => {
    const links = four('replaced', { ao: '1 1 hmac-sha1 old' }, birdKeys({ id: 1, secret: 'old' }));
    const within = await started(links);
    await up(within, links);
    await within.rekey(names(links), '1 1 hmac-sha1 new');
    await sleep(HOLD_SECONDS + 1);
    steady(within, links);
    for (const { name } of links) expect(within.complaints(name).join()).to.match(/under the same ids \(1\/1\)/);
  });

  it('forgets the keys of a peer that is removed, and no other peer notices', async () => {
    const leaving = four('leaving', { ao: '1 1 hmac-sha1 one' }, birdKeys({ id: 1, secret: 'one' }));
    const staying = four('staying', { ao: '1 1 hmac-sha1 two' }, birdKeys({ id: 1, secret: 'two' }));
    const within = await started([...leaving, ...staying]);
    await up(within, [...leaving, ...staying]);
    const before = counter('TCPAOKeyNotFound');
    await within.configure(staying);
    // A call of BIRD's is one with an unknown key from now on.
    await eventually(
      'dropped',
      async () => (counter('TCPAOKeyNotFound') > before ? true : null),
      () => '',
      PATIENCE_MS,
    );
    await sleep(5);
    steady(within, staying);
    expect(await within.missing(names(staying))).to.deep.equal([]);
    // And back again.
    await within.configure([...leaving, ...staying]);
    await up(within, leaving);
    steady(within, staying);
  });

  it('moves a peer from TCP-MD5 to TCP-AO and back', async () => {
    const signed = four('moving', { md5: 'battery' }, birdPassword('battery'));
    const within = await started(signed);
    await up(within, signed);
    await within.configure(signed.map((link) => ({ ...link, ours: { ao: '1 1 hmac-sha1 s' } })));
    await within.rekeyBird(names(signed), birdKeys({ id: 1, secret: 's' }));
    await up(within, signed);
    await within.configure(signed);
    await within.rekeyBird(names(signed), birdPassword('battery'));
    await up(within, signed);
  });
});
