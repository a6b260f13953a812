// BFD's real sockets and its real worker, on the loopback: what the kernel's filter lets through, and two workers that hold a
// session with each other while this thread stands still.

import { expect } from 'chai';
import type { BfdChange } from '../../../src/bfd/types.ts';
import { HEARTBEAT_MS } from '../../../src/bfd/types.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { createBfd } from '../../../src/world/real/bfd.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { createDatagrams } from '../../../src/world/real/datagrams.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { eventually } from '../../support/namespace.ts';

describe('datagrams', () => {
  const datagrams = createDatagrams();
  /** Below those that the kernel gives away. */
  const PORT = 29_431;

  for (const [family, here, there] of [
    ['IPv4', '127.0.0.61', '127.0.0.62'],
    ['IPv6', '::1', '::1'],
  ] as const) {
    it(`over ${family} with a least TTL are dropped by the kernel below it`, async () => {
      const got: string[] = [];
      const receiver = datagrams.open({ address: here, port: PORT, ttl: 255, minTtl: 255 }, (bytes, from) =>
        got.push(`${Buffer.from(bytes).toString()} from ${from.address}`),
      );
      const senders = [255, 254, 1, 255].map((ttl, i) =>
        datagrams.open({ address: there, port: PORT + 1 + i, ttl }, null),
      );
      try {
        for (const [i, sender] of senders.entries()) {
          sender.send(new TextEncoder().encode(`number ${i}`), { address: here, port: PORT });
        }
        await eventually('the last', () => (got.some((each) => each.startsWith('number 3')) ? true : null));
        expect(got).to.deep.equal([`number 0 from ${there}`, `number 3 from ${there}`]);
      } finally {
        for (const socket of [receiver, ...senders]) socket.close();
      }
    });
  }

  it('without a least TTL take what comes', async () => {
    const got: string[] = [];
    const receiver = datagrams.open({ address: '0.0.0.0', port: PORT, ttl: 255 }, (bytes) =>
      got.push(String(bytes[0])),
    );
    const sender = datagrams.open({ address: '0.0.0.0', port: PORT + 1, ttl: 3 }, null);
    try {
      sender.send(new Uint8Array([7]), { address: '127.0.0.61', port: PORT });
      await eventually('it', () => (got.length > 0 ? true : null));
    } finally {
      receiver.close();
      sender.close();
    }
  });

  it('say why they can not be opened or sent, and leave no descriptor behind', () => {
    const code = (run: () => unknown): string => {
      try {
        run();
      } catch (error) {
        return error instanceof SystemError ? error.code : String(error);
      }
      return 'nothing';
    };
    const open = (address: string, port = PORT) => datagrams.open({ address, port, ttl: 255 }, null);
    expect(code(() => open('192.0.2.77'))).to.equal('EADDRNOTAVAIL');
    expect(code(() => open('fe80::1%nowhere'))).to.equal('ENODEV');
    const first = open('127.0.0.61');
    try {
      for (let i = 0; i < 2_000; i++) expect(code(() => open('127.0.0.61'))).to.equal('EADDRINUSE');
      expect(code(() => first.send(new Uint8Array(70_000), { address: '127.0.0.62', port: PORT }))).to.equal(
        'EMSGSIZE',
      );
    } finally {
      first.close();
    }
  });
});

describe('BFD worker', function () {
  this.timeout(15_000);

  it('holds its sessions while the daemon stands still for a while, drops them when that lasts, and says Down at the end', async () => {
    const clock = createClock();
    const log: LogRecord[] = [];
    const sides = (['127.0.0.63', '127.0.0.64'] as const).map((address, i) => {
      const peer = i === 0 ? '127.0.0.64' : '127.0.0.63';
      const bfd = createBfd(clock, (record) => log.push(record));
      const changes: BfdChange[] = [];
      const auth = { type: 'meticulous-sha1', keyId: 1, key: 'k' } as const;
      const timing = { intervalMs: 100, multiplier: 3, multihop: false, auth };
      const sessions = [{ name: peer, address: peer, localAddress: address, ...timing }];
      bfd.configure({ sessions, wedgedMs: i === 0 ? 900 : 60_000 }, (change) => changes.push(change));
      return { bfd, changes };
    });
    const [a, b] = sides;
    if (a === undefined || b === undefined) throw new Error('two sides');
    const beat = setInterval(() => {
      for (const { bfd } of sides) bfd.alive();
    }, HEARTBEAT_MS);
    const story = () => JSON.stringify([log, a.changes, b.changes, a.bfd.status(), b.bfd.status()]);
    const upTimes = ({ changes }: typeof a) => changes.filter(({ state }) => state === 'Up').length;
    try {
      await eventually('both up', () => (upTimes(a) === 1 && upTimes(b) === 1 ? true : null), story);
      for (let i = 0; i < 3; i++) {
        standStill(450);
        await clock.sleep(120);
      }
      expect(
        [...a.changes, ...b.changes].filter(({ was }) => was === 'Up'),
        story(),
      ).to.deep.equal([]);
      standStill(1_400);
      const fell = () => b.changes.find(({ was }) => was === 'Up') ?? null;
      expect((await eventually('b saw it', fell, story)).remoteDiagnostic).to.equal('Forwarding Plane Reset');
      await eventually('both up again', () => (upTimes(a) === 2 && upTimes(b) === 2 ? true : null), story);
      const [status] = await eventually(
        'a report',
        () => (a.bfd.status()[0]?.state === 'Up' ? a.bfd.status() : null),
        story,
      );
      expect(status).to.include({ auth: 'meticulous-sha1', multihop: false });
      expect(status?.counters.downs).to.equal(1);
      await a.bfd.stop();
      const last = () => (b.changes.at(-1)?.was === 'Up' ? (b.changes.at(-1) ?? null) : null);
      expect((await eventually('b heard the end', last, story)).remoteDiagnostic).to.equal('Administratively Down');
    } finally {
      clearInterval(beat);
      await Promise.all(sides.map(({ bfd }) => bfd.stop()));
    }
  });
});

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
