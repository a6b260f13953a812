// Every NOTIFICATION that this speaker can send, provoked by bytes on a real loopback connection to a running Speaker: code,
// subcode and data are what the RFCs want, and the connection ends after it. The last test looks into src/bgp for errors
// that have no row here.

import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Speaker, SpeakerConfig } from '../../../src/bgp/speaker.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import type { Clock, Mono } from '../../../src/world/world.ts';
import { peerConfig, route } from '../../support/bgp-net.ts';
import {
  attribute,
  capability,
  KEEPALIVE,
  message,
  openMessage,
  RawPeer,
  TYPE,
  updateMessage,
} from '../../support/raw-peer.ts';
import { realSpeaker } from '../../support/real-speaker.ts';

const SOURCES = new URL('../../../../src/bgp/', import.meta.url).pathname;

/** Addresses of this process alone: other runs of this test may be on the machine. */
const NET = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}`;
const HOST = (process.pid & 127) * 2;
const HERE = { address: `${NET}.${HOST}`, port: 11_790 };
const PEER = `${NET}.${HOST + 1}`;

interface Scene {
  readonly peer: RawPeer;
  readonly speaker: Speaker;
  /** Configure again, changed. */
  reconfigure(changes: Partial<SpeakerConfig>, peerChanges?: Parameters<typeof peerConfig>[0]): Promise<void>;
  /** Another connection from the same address. */
  dial(): Promise<RawPeer>;
}

interface Provocation {
  readonly name: string;
  readonly how: string;
  /** As in RawPeer.lastWords. */
  readonly says: string;
  /** AS of the peer, when it is not 64500. */
  readonly peerAs?: number;
  readonly holdTimeSeconds?: number;
  /** How many times faster the speaker's clock runs. */
  readonly haste?: number;
  /** Whose last words count, when it is not the scene's own peer. */
  provoke(scene: Scene): Promise<RawPeer | void>;
}

const MP_REACH = 14;
/** ORIGIN, an AS_PATH of AS 64500, NEXT_HOP: what an UPDATE with prefixes must have. */
const MANDATORY = [
  ...attribute(0x40, 1, 0),
  ...attribute(0x40, 2, 2, 1, 0xfb, 0xf4),
  ...attribute(0x40, 3, 192, 0, 2, 1),
];
const PREFIX = [24, 198, 51, 100];
/** IPv6 unicast, a next hop of 16 octets, 2001:db8::/32. */
const REACH_IPV6 = [
  0,
  2,
  1,
  16,
  0x20,
  0x01,
  0x0d,
  0xb8,
  ...Array.from({ length: 11 }, () => 0),
  1,
  0,
  32,
  32,
  1,
  13,
  184,
];
const MULTIPROTOCOL_IPV6 = capability(1, 0, 2, 0, 1);

/** Said before anything else, or after OPEN and KEEPALIVE. */
const first = (...bytes: readonly (readonly number[])[]) => ({
  provoke: async ({ peer }: Scene) => peer.say(...bytes),
});
const confirming = (...bytes: readonly (readonly number[])[]) => ({
  provoke: async ({ peer }: Scene) => {
    await peer.confirm();
    peer.say(...bytes);
  },
});
const established = (...bytes: readonly (readonly number[])[]) => ({
  provoke: async ({ peer }: Scene) => {
    await peer.establish({ parameters: MULTIPROTOCOL_IPV6 });
    peer.say(...bytes);
  },
});

const PROVOCATIONS: readonly Provocation[] = [
  // RFC 4271 §6.1
  {
    name: 'headerNotSynchronized',
    how: 'a marker that is not all ones',
    says: '1/1 []',
    ...first([0xfe, ...KEEPALIVE.slice(1)]),
  },
  { name: 'headerBadLength', how: 'a length of 18', says: '1/2 [0 18]', ...first(message(TYPE.keepalive, [], 18)) },
  // RFC 8654 §4: the others may be larger.
  { name: 'headerBadLength', how: 'an OPEN of 4097', says: '1/2 [16 1]', ...first(message(TYPE.open, [], 4097)) },
  { name: 'headerBadLength', how: 'a KEEPALIVE of 20', says: '1/2 [0 20]', ...first(message(TYPE.keepalive, [0])) },
  {
    name: 'headerBadLength',
    how: 'an OPEN of 28',
    says: '1/2 [0 28]',
    ...first(openMessage().slice(0, 17), [28], openMessage().slice(18, 28)),
  },
  {
    name: 'headerBadLength',
    how: 'an UPDATE of 22',
    says: '1/2 [0 22]',
    ...established(message(TYPE.update, [0, 0, 0])),
  },
  {
    name: 'headerBadLength',
    how: 'a NOTIFICATION of 20',
    says: '1/2 [0 20]',
    ...first(message(TYPE.notification, [6])),
  },
  { name: 'headerBadType', how: 'type 0', says: '1/3 [0]', ...first(message(0)) },
  { name: 'headerBadType', how: 'type 6', says: '1/3 [6]', ...established(message(6)) },
  // RFC 4271 §6.2
  {
    name: 'openUnspecific',
    how: 'parameters that are cut off',
    says: '2/0 []',
    ...first(message(TYPE.open, [4, 0xfb, 0xf4, 0, 90, 192, 0, 2, 1, 9, 2, 6, 1])),
  },
  {
    name: 'openUnspecific',
    how: 'a capability that is too short for its code',
    says: '2/0 []',
    ...first(openMessage({ parameters: capability(65, 0, 0, 1) })),
  },
  { name: 'openBadVersion', how: 'version 3', says: '2/1 [0 4]', ...first(openMessage({ version: 3 })) },
  { name: 'openBadPeerAs', how: 'another AS', says: '2/2 []', ...first(openMessage({ as: 64501 })) },
  // RFC 7607 §2
  {
    name: 'openBadPeerAs',
    how: 'AS 0 as four octets',
    says: '2/2 []',
    ...first(openMessage({ parameters: capability(65, 0, 0, 0, 0) })),
  },
  // RFC 6286 §2.2
  {
    name: 'openBadRouterId',
    how: 'identifier 0.0.0.0',
    says: '2/3 []',
    ...first(openMessage({ routerId: [0, 0, 0, 0] })),
  },
  {
    name: 'openBadRouterId',
    how: 'our own identifier within one AS',
    says: '2/3 []',
    peerAs: 64600,
    ...first(openMessage({ as: 64600, routerId: [192, 0, 2, 9] })),
  },
  {
    name: 'openBadParameter',
    how: 'an authentication parameter',
    says: '2/4 []',
    ...first(openMessage({ parameters: [1, 1, 0] })),
  },
  { name: 'openBadHoldTime', how: 'hold time 1', says: '2/6 []', ...first(openMessage({ holdTimeSeconds: 1 })) },
  { name: 'openBadHoldTime', how: 'hold time 2', says: '2/6 []', ...first(openMessage({ holdTimeSeconds: 2 })) },
  // RFC 4271 §6.3 as far as RFC 7606 has left it
  {
    name: 'updateBadAttributeList',
    how: 'withdrawn routes beyond the message',
    says: '3/1 []',
    ...established(message(TYPE.update, [0, 9, 0, 0])),
  },
  {
    name: 'updateBadAttributeList',
    how: 'attributes beyond the message',
    says: '3/1 []',
    ...established(message(TYPE.update, [0, 0, 0, 9])),
  },
  {
    name: 'updateBadAttributeList',
    how: 'MP_REACH_NLRI twice',
    says: '3/1 []',
    ...established(
      updateMessage({
        attributes: [
          ...attribute(0x80, MP_REACH, ...REACH_IPV6),
          ...attribute(0x80, MP_REACH, ...REACH_IPV6),
          ...MANDATORY,
        ],
      }),
    ),
  },
  {
    name: 'updateUnknownWellKnown',
    how: 'an unknown attribute that is called well-known',
    says: '3/2 [64 99 2 7 8]',
    ...established(updateMessage({ attributes: [...MANDATORY, ...attribute(0x40, 99, 7, 8)], announced: PREFIX })),
  },
  {
    name: 'updateBadOptional',
    how: 'a next hop of 5 octets in MP_REACH_NLRI',
    says: '3/9 []',
    ...established(
      updateMessage({ attributes: [...attribute(0x80, MP_REACH, 0, 2, 1, 5, 1, 2, 3, 4, 5, 0), ...MANDATORY] }),
    ),
  },
  {
    name: 'updateBadNlri',
    how: 'an IPv4 prefix of 33 bits',
    says: '3/10 []',
    ...established(updateMessage({ attributes: MANDATORY, announced: [33, 1, 2, 3, 4, 5] })),
  },
  {
    name: 'updateBadNlri',
    how: 'a withdrawn prefix that is cut off',
    says: '3/10 []',
    ...established(updateMessage({ withdrawn: [24, 1, 2] })),
  },
  // RFC 7313 §5, RFC 2918 §3
  {
    name: 'refreshBadLength',
    how: 'a beginning of a refresh with an octet too much',
    says: `7/1 [${message(TYPE.refresh, [0, 1, 1, 1, 0]).join(' ')}]`,
    ...established(message(TYPE.refresh, [0, 1, 1, 1, 0])),
  },
  {
    name: 'headerBadLength',
    how: 'a request for a refresh with an octet too much',
    says: '1/2 [0 24]',
    ...established(message(TYPE.refresh, [0, 1, 0, 1, 0])),
  },
  // RFC 4271 §6.5
  {
    name: 'holdTimerExpired',
    how: 'silence',
    says: '4/0 []',
    holdTimeSeconds: 3,
    haste: 20,
    provoke: async ({ peer }) => peer.establish(),
  },
  // RFC 6608 §4: the data is the type of what was not expected.
  { name: 'fsmOpenSent', how: 'KEEPALIVE before OPEN', says: '5/1 [4]', ...first(KEEPALIVE) },
  { name: 'fsmOpenSent', how: 'UPDATE before OPEN', says: '5/1 [2]', ...first(updateMessage({})) },
  {
    name: 'fsmOpenSent',
    how: 'ROUTE-REFRESH before OPEN',
    says: '5/1 [5]',
    ...first(message(TYPE.refresh, [0, 1, 0, 1])),
  },
  { name: 'fsmOpenConfirm', how: 'a second OPEN before KEEPALIVE', says: '5/2 [1]', ...confirming(openMessage()) },
  { name: 'fsmOpenConfirm', how: 'UPDATE before KEEPALIVE', says: '5/2 [2]', ...confirming(updateMessage({})) },
  { name: 'fsmEstablished', how: 'a second OPEN in a session', says: '5/3 [1]', ...established(openMessage()) },
  // RFC 4486, RFC 9003
  {
    name: 'ceaseShutdown',
    how: 'the speaker stops',
    says: '6/2 [0]',
    provoke: async ({ peer, speaker }) => {
      await peer.establish();
      void speaker.stop();
    },
  },
  {
    name: 'ceaseDeconfigured',
    how: 'the peer is taken out of the configuration',
    says: '6/3 []',
    provoke: async ({ peer, reconfigure }) => {
      await peer.establish();
      await reconfigure({ peers: [] });
    },
  },
  {
    name: 'ceaseConfigChange',
    how: 'the peer gets another hold time',
    says: '6/6 []',
    provoke: async ({ peer, reconfigure }) => {
      await peer.establish();
      await reconfigure({}, { address: PEER, holdTimeSeconds: 30 });
    },
  },
  // RFC 9384 §3
  {
    name: 'ceaseBfdDown',
    how: 'a path that BFD has lost',
    says: '6/10 []',
    provoke: async ({ peer, speaker }) => {
      await peer.establish();
      speaker.pathDown(PEER);
    },
  },
  {
    name: 'ceaseRejected',
    how: 'a call while protocol errors are damped',
    says: '6/5 []',
    provoke: async ({ peer, dial }) => {
      peer.say(openMessage({ version: 3 }));
      await peer.lastWords();
      return dial();
    },
  },
  {
    name: 'ceaseCollision',
    how: 'a second call beside an established session',
    says: '6/7 []',
    provoke: async ({ peer, dial }) => {
      await peer.establish();
      return dial();
    },
  },
  // RFC 9687 §3
  {
    name: 'sendHoldTimerExpired',
    how: 'a peer that does not read for eight minutes',
    says: '8/0 []',
    // Twice as long as it may be silent, so that a machine that stands still does not end the session.
    holdTimeSeconds: 240,
    haste: 400,
    provoke: async ({ peer, speaker }) => {
      // What it says keeps it alive, what it does not read ends it.
      await peer.establish({ holdTimeSeconds: 240 });
      peer.stopReading();
      speaker.set(
        PEER,
        Array.from({ length: 100_000 }, (_, i) => route(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)),
      );
      // The whole table again and again, until the buffers of both sockets are full.
      const up = () => speaker.status()[0]?.established === true;
      for (let i = 0; i < 400 && up(); i++) {
        peer.say(message(TYPE.refresh, [0, 1, 0, 1]));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      peer.readAgain();
    },
  },
];

/** Rows of notification.ts that the sources name and that nobody can ever hear, with the reason. */
const NEVER_HEARD: Readonly<Record<string, string>> = {
  fsmUnspecific: 'only in Connect and Active, where there is nobody to tell',
};

function hasty(clock: Clock, haste: number): Clock {
  return {
    now: () => (clock.now() * haste) as Mono,
    wall: () => clock.wall(),
    at: (delayMs, fn) => clock.at(delayMs / haste, fn),
    sleep: (ms, cut) => clock.sleep(ms / haste, cut),
  };
}

describe('bgp: each NOTIFICATION that we can send, on a real socket', () => {
  for (const { name, how, says, peerAs = 64500, holdTimeSeconds = 90, haste = 1, provoke } of PROVOCATIONS) {
    it(`${says.split(' ')[0]} for ${how}`, async function () {
      const { speaker, story } = realSpeaker({ clock: hasty(createClock(), haste) });
      const base: SpeakerConfig = { routerId: '192.0.2.9', listen: [HERE], peers: [] };
      const reconfigure: Scene['reconfigure'] = (changes, peerChanges) => {
        const peer = peerConfig({ address: PEER, passive: true, peerAs, holdTimeSeconds, ...peerChanges });
        return speaker.configure({ ...base, peers: [peer], ...changes });
      };
      const dialled: RawPeer[] = [];
      const dial = async () => {
        const peer = await RawPeer.connect(HERE, PEER);
        dialled.push(peer);
        return peer;
      };
      try {
        await reconfigure({});
        const peer = await dial();
        const last = (await provoke({ peer, speaker, reconfigure, dial })) ?? peer;
        expect(await last.lastWords(), `${name}\n${story()}`).to.equal(says);
      } finally {
        for (const peer of dialled) peer.end();
        await speaker.stop();
      }
    });
  }

  it('knows every error that src/bgp names', () => {
    const table = readFileSync(`${SOURCES}notification.ts`, 'utf8');
    const codes = new Map(
      Array.from(table.matchAll(/^ {2}(\w+): \[(\d+), (\d+), '/gm), ([, name = '', code, sub]) => [
        name,
        `${code}/${sub}`,
      ]),
    );
    expect(codes.size).to.be.above(30);
    const named = new Set<string>();
    for (const file of readdirSync(SOURCES).filter((one) => one.endsWith('.ts'))) {
      const text = readFileSync(SOURCES + file, 'utf8');
      const code = file === 'notification.ts' ? text.slice(text.indexOf('] as const')) : text;
      for (const [, word = ''] of code.matchAll(/'(\w+)'/g)) if (codes.has(word)) named.add(word);
    }
    const provoked = PROVOCATIONS.map(({ name }) => name);
    for (const { name, says } of PROVOCATIONS) expect(codes.get(name), name).to.equal(says.split(' ')[0]);
    const missing = [...named].filter((name) => !provoked.includes(name) && !(name in NEVER_HEARD));
    expect(missing).to.deep.equal([]);
  });
});
