// Servers that break the rules, on real sockets of loopback. Each speaks as a healthy one does (the monitor's own `sample`), and
// then does not.

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { serve } from '../../support/monitor-bench.ts';

export const HOSTILE_AT = '127.86.0.1';

/** All that a healthy server has said once it has received so much. */
export type Speech = (received: string) => string | Uint8Array;

/** Slower than any answer is short. */
const DRIP_MS = 900;
/** Long enough for a request to be on its way. */
const RESET_MS = 100;
const FLOOD = Buffer.alloc(64 * 1024, 'x');
/** No protocol's. It has the end of a line. */
const GARBAGE = Buffer.from([0, 255, 1, 254, 128, 10, 13, 10, ...Array.from({ length: 32 }, (_, i) => (i * 37) & 255)]);

type Deed = (socket: Socket, speech: Speech, endless: string | Uint8Array) => void;

/** Once the healthy one would have answered. */
function whenAsked(socket: Socket, speech: Speech, answer: (bytes: Buffer) => void): void {
  let received = '';
  const spoken = Buffer.from(speech('') as string, 'latin1');
  if (spoken.length > 0) return answer(spoken);
  socket.on('data', (bytes: Buffer) => {
    const before = Buffer.from(speech(received) as string, 'latin1').length;
    received += bytes.toString('latin1');
    const all = Buffer.from(speech(received) as string, 'latin1');
    if (before === 0 && all.length > 0) answer(all);
  });
}

export const DEEDS = {
  /** Its own half, that is: it would go on reading. */
  closed: (socket) => void socket.end(),
  reset: (socket) => void setTimeout(() => socket.resetAndDestroy(), RESET_MS),
  /** Its own half here, too. */
  cut: (socket, speech) => whenAsked(socket, speech, (bytes) => void socket.end(bytes.subarray(0, -2))),
  drip: (socket, speech) =>
    whenAsked(socket, speech, (bytes) => {
      let at = 0;
      const timer = setInterval(() => void socket.write(bytes.subarray(at, ++at)), DRIP_MS);
      socket.on('close', () => clearInterval(timer));
    }),
  garbage: (socket) => void socket.write(GARBAGE),
  endless: (socket, speech, endless) =>
    whenAsked(socket, speech, () => {
      socket.write(endless);
      const pour = (): void => {
        while (!socket.destroyed && socket.write(FLOOD));
      };
      socket.on('drain', pour);
      pour();
    }),
} as const satisfies Readonly<Record<string, Deed>>;

export type DeedName = keyof typeof DEEDS;

export interface Hostile {
  readonly port: number;
  close(): Promise<void>;
}

export function hostile(deed: DeedName, speech: Speech, endless: string | Uint8Array): Promise<Hostile> {
  return serve((socket) => DEEDS[deed](socket, speech, endless), { at: HOSTILE_AT });
}

/** Answers each datagram with these. */
export async function hostileUdp(answers: (bytes: Buffer) => readonly Uint8Array[]): Promise<Hostile> {
  const socket: UdpSocket = createSocket('udp4');
  socket.on('message', (bytes, from) => {
    for (const answer of answers(bytes)) socket.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, HOSTILE_AT, resolve));
  return {
    port: socket.address().port,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}
