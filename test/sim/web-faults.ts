// What a simulated web server answers, well and on a bad day, whatever it is that it serves. Used by feeds.ts, pool-store.ts and
// pool-watched.ts.

import type { WebAnswer } from './http.ts';

/** More than anybody wants to read. */
export const HUGE = new Uint8Array(17 << 20).fill(0x23);

/** Of the server, not of what is stored there. */
export const WEB_FAULTS = ['error 500', 'not found', 'redirect', 'hang', 'cut off', 'refused'] as const;

export type WebFault = (typeof WEB_FAULTS)[number];

export function isWebFault(fault: string | null): fault is WebFault {
  return WEB_FAULTS.some((each) => each === fault);
}

export function respond(
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): WebAnswer {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return { is: 'response', response: { status, headers, body: bytes }, delayMs: 1 };
}

export function badAnswer(fault: WebFault): WebAnswer {
  switch (fault) {
    case 'error 500':
      return respond(500, 'internal error\n');
    case 'not found':
      return respond(404, '404 page not found\n');
    case 'redirect':
      return respond(302, '', { location: 'http://elsewhere.example/' });
    case 'hang':
    case 'cut off':
    case 'refused':
      return { is: fault };
    default:
      return fault satisfies never;
  }
}

/** Before it is given up, but not by much. */
const LATE_MS = 4000;

export function late(answer: WebAnswer): WebAnswer {
  return answer.is === 'response' ? { ...answer, delayMs: LATE_MS } : answer;
}
