// Fuzzed messages to a running Speaker over real loopback connections. The oracles say beforehand what each does to the
// session; the speaker's counters, its NOTIFICATIONs, and that it comes up again every time, must agree.

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Mono } from '../../src/world/world.ts';
import { createClock } from '../../src/world/real/clock.ts';
import { peerConfig } from '../support/bgp-net.ts';
import { capability, KEEPALIVE, openMessage, TYPE } from '../support/raw-peer.ts';
import { realSpeaker } from '../support/real-speaker.ts';
import { fuzzMessage } from './bgp-messages.ts';
import { Finding, judgeHeader, judgeRefresh } from './bgp-decoders.ts';
import { type Context, judgeUpdate } from './rfc7606.ts';
import { Random } from './random.ts';

const CONTEXT: Context = { as4: true, internal: false, families: [4, 6] };
const OPEN = openMessage({
  holdTimeSeconds: 0,
  parameters: [...capability(1, 0, 1, 0, 1), ...capability(1, 0, 2, 0, 1), ...capability(65, 0, 0, 0xfb, 0xf4)],
});
/** Damping after protocol errors would take minutes. Both sides say hold time 0, so nothing else hurries. */
const HASTE = 2_000;
/** Of the messages that end a session so many are sent: each of them costs a new one. */
const FATAL_PERCENT = 1;
const BATCH = 256;
const LIMIT_MS = 20_000;

/** Whose messages count, and what they do: null is what a session survives. */
interface Expected {
  readonly fatal: ReadonlySet<string> | null;
  readonly update: boolean;
  readonly forgiven: boolean;
  readonly prefixes: number;
}

export interface LiveResult {
  readonly messages: number;
  readonly sessions: number;
  readonly forgiven: number;
}

/** Sends `count` messages of the seed. Throws a Finding, or an error when the speaker does not come up again. */
export async function fuzzLive(seed: number, count: number, address: string, peer: string): Promise<LiveResult> {
  const { speaker, log } = realSpeaker({ clock: hasty(createClock()) });
  const listen = { address, port: 11_791 };
  await speaker.configure({
    routerId: '192.0.2.9',
    listen: [listen],
    peers: [peerConfig({ address: peer, passive: true, peerAs: 64500, holdTimeSeconds: 0 })],
  });
  const counters = () => {
    const status = speaker.status()[0];
    if (status === undefined) throw new Error('the peer is gone');
    return status.counters;
  };
  const total = { messages: 0, sessions: 0, forgiven: 0 };
  const dice = new Random(seed, -2);
  let next = 0;
  let session: Connection | null = null;
  try {
    while (total.messages < count) {
      if (session === null) {
        session = await establish(listen, peer);
        total.sessions++;
      }
      const { bytes, from, sum, fatal } = batch(seed, next, dice, Math.min(BATCH, count - total.messages));
      next = sum.next;
      total.messages += sum.messages;
      total.forgiven += sum.forgiven;
      const before = { ...counters() };
      const complain = (what: string) => new Finding(seed, from, bytes, `in the batch up to ${next}: ${what}`);
      session.socket.write(bytes);
      const done = () => counters().messagesIn - before.messagesIn >= sum.arrive;
      const { heard } = session;
      if (fatal === null) await until(done, () => complain('messages were not taken'));
      else {
        const ended = session;
        await until(
          () => ended.closed,
          () => complain('the session was not ended'),
        );
        const said = ended.heard.notification ?? 'silence';
        if (!fatal.has(said)) throw complain(`${said} instead of ${[...fatal].join(' or ')}`);
        session.socket.destroy();
        session = null;
      }
      if (fatal === null && heard.notification !== null) throw complain(`${heard.notification} instead of nothing`);
      const after = counters();
      const seen = [
        after.updatesIn - before.updatesIn,
        after.updatesForgiven - before.updatesForgiven,
        after.prefixesIn - before.prefixesIn,
      ];
      const wanted = [sum.updates, sum.forgiven, sum.prefixes];
      if (seen.join() !== wanted.join())
        throw complain(`UPDATEs, forgiven, prefixes are ${seen.join()} instead of ${wanted.join()}`);
      log.length = 0;
    }
    return total;
  } finally {
    session?.socket.destroy();
    await speaker.stop();
  }
}

/** Messages one after the other; the first that ends a session is the last of them. */
function batch(seed: number, first: number, dice: Random, most: number) {
  const parts: Uint8Array[] = [];
  const sum = { next: first, messages: 0, arrive: 0, updates: 0, forgiven: 0, prefixes: 0 };
  let fatal: ReadonlySet<string> | null = null;
  while (sum.messages < most && fatal === null) {
    const bytes = fuzzMessage(seed, sum.next++);
    const expected = expectation(bytes);
    if (expected === null || (expected.fatal !== null && !dice.chance(FATAL_PERCENT))) continue;
    parts.push(bytes.slice());
    fatal = expected.fatal;
    sum.messages++;
    sum.arrive += fatal === null ? 1 : 0;
    sum.updates += expected.update ? 1 : 0;
    sum.forgiven += expected.forgiven ? 1 : 0;
    sum.prefixes += expected.prefixes;
  }
  return { bytes: Buffer.concat(parts), from: first, sum, fatal };
}

/** null: a header that claims more than is there, so that the next message would be swallowed. */
function expectation(bytes: Uint8Array): Expected | null {
  const header = judgeHeader(bytes, 65_535);
  const quiet = { fatal: null, update: false, forgiven: false, prefixes: 0 };
  if (header.size > 0) return { ...quiet, fatal: header };
  if (((bytes[16] ?? 0) << 8) + (bytes[17] ?? 0) !== bytes.length) return null;
  switch (bytes[18]) {
    case TYPE.open:
      return { ...quiet, fatal: new Set(['5/3', '2/0', '2/1', '2/2', '2/3', '2/4', '2/6', '2/7']) };
    case TYPE.notification:
      return { ...quiet, fatal: new Set(['silence']) };
    case TYPE.update: {
      const { treatment, says, announced } = judgeUpdate(bytes.subarray(19), CONTEXT);
      if (treatment === 'reset') return { ...quiet, update: true, fatal: says };
      return { fatal: null, update: true, forgiven: treatment !== 'fine', prefixes: announced };
    }
    case TYPE.refresh: {
      const says = judgeRefresh(bytes.subarray(19));
      return says === null ? quiet : { ...quiet, fatal: new Set([says]) };
    }
    default:
      return quiet;
  }
}

interface Connection {
  readonly socket: Socket;
  readonly heard: { notification: string | null; keepalive: boolean };
  closed: boolean;
}

/** Calls until the speaker lets us in: after an error it does not for a while. */
async function establish(to: { readonly address: string; readonly port: number }, from: string): Promise<Connection> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    const socket = connect({ host: to.address, port: to.port, localAddress: from, noDelay: true });
    const connection: Connection = { socket, heard: { notification: null, keepalive: false }, closed: false };
    const { heard } = connection;
    socket.on('error', () => {});
    for (const event of ['end', 'close']) socket.on(event, () => (connection.closed = true));
    socket.on('data', (bytes) => {
      // The speaker has few words: whole messages, well apart or in one piece.
      for (let at = 0; at + 19 <= bytes.length; at += bytes.readUInt16BE(at + 16)) {
        if (bytes[at + 18] === TYPE.notification) heard.notification = `${bytes[at + 19]}/${bytes[at + 20]}`;
        if (bytes[at + 18] === TYPE.keepalive) heard.keepalive = true;
      }
    });
    socket.write(Uint8Array.from([...OPEN, ...KEEPALIVE]));
    await until(
      () => connection.closed || heard.keepalive,
      () => new Error('the speaker does not answer'),
    );
    if (heard.keepalive && heard.notification === null) return connection;
    socket.destroy();
    if (performance.now() > end) throw new Error(`the speaker does not come up again: ${heard.notification}`);
    await sleep(5);
  }
}

async function until(done: () => boolean, otherwise: () => Error): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!done()) {
    if (performance.now() > end) throw otherwise();
    await sleep(1);
  }
}

function hasty(clock: Clock): Clock {
  return {
    now: () => (clock.now() * HASTE) as Mono,
    wall: () => clock.wall(),
    at: (delayMs, fn) => clock.at(delayMs / HASTE, fn),
    sleep: (ms, cut) => clock.sleep(ms / HASTE, cut),
  };
}
