// What is done to a monitor by the conformance kit: how its peer behaves, and what may come of it. One row each. Pure.

export interface Fault {
  readonly name: string;
  /** What a monitor must answer; 'any': all that matters is that it ends in time and leaves nothing behind. */
  readonly expect: 'up' | 'not up' | 'unknown' | 'any';
  /** Which tools it speaks of; the row is left out for monitors that use none of them. */
  readonly on: readonly Tool[];
  /** Every request of a tool fails with this code. A code that is about the server is an exit code 1 of a command. */
  readonly fails?: string;
  /** The tool throws what no tool should. */
  readonly throws?: boolean;
  /** Nothing ever comes: 'connected', the peer accepts and is silent; 'nothing', not even that. */
  readonly silent?: 'connected' | 'nothing';
  /** How the bytes of a healthy peer are changed. */
  readonly bytes?: 'whole' | 'one by one' | 'slow' | 'half' | 'garbage' | 'endless';
  /** And what comes then. */
  readonly then?: 'fin' | 'rst';
}

export type Tool = 'connect' | 'datagram' | 'ping' | 'run' | 'fetch' | 'read';

const NETWORK: readonly Tool[] = ['connect', 'datagram', 'ping', 'fetch'];
const ASKING: readonly Tool[] = [...NETWORK, 'run'];

export const HEALTHY: Fault = { name: 'a healthy server', expect: 'up', on: [...ASKING, 'read'] };

export const FAULTS: readonly Fault[] = [
  { name: 'a healthy server, byte by byte', expect: 'up', on: ['connect'], bytes: 'one by one' },
  { name: 'refused (ECONNREFUSED)', expect: 'not up', on: ASKING, fails: 'ECONNREFUSED' },
  { name: 'no route to the host (EHOSTUNREACH)', expect: 'not up', on: ASKING, fails: 'EHOSTUNREACH' },
  { name: 'reset while connecting (ECONNRESET)', expect: 'not up', on: ['connect', 'fetch'], fails: 'ECONNRESET' },
  { name: 'connecting times out (ETIMEDOUT)', expect: 'not up', on: NETWORK, fails: 'ETIMEDOUT' },
  { name: 'our fault: no file descriptor (EMFILE)', expect: 'unknown', on: ASKING, fails: 'EMFILE' },
  { name: 'our fault: no route (ENETUNREACH)', expect: 'unknown', on: NETWORK, fails: 'ENETUNREACH' },
  { name: 'a tool throws something odd', expect: 'not up', on: ASKING, throws: true },
  { name: 'black hole: no answer at all', expect: 'not up', on: ASKING, silent: 'nothing' },
  { name: 'hang: accepts, then silence', expect: 'any', on: ['connect'], silent: 'connected' },
  { name: 'accepts, then closes (FIN)', expect: 'any', on: ['connect'], silent: 'connected', then: 'fin' },
  { name: 'accepts, then resets (RST)', expect: 'any', on: ['connect'], silent: 'connected', then: 'rst' },
  { name: 'half an answer, then FIN', expect: 'any', on: ['connect'], bytes: 'half', then: 'fin' },
  { name: 'half an answer, then RST', expect: 'any', on: ['connect'], bytes: 'half', then: 'rst' },
  { name: 'half an answer, then silence', expect: 'any', on: ['connect', 'datagram'], bytes: 'half' },
  { name: 'slow drip: a byte a second', expect: 'any', on: ['connect'], bytes: 'slow' },
  { name: 'garbage', expect: 'any', on: ['connect', 'datagram', 'run', 'fetch', 'read'], bytes: 'garbage' },
  { name: 'garbage, then RST', expect: 'any', on: ['connect'], bytes: 'garbage', then: 'rst' },
  { name: 'a huge answer that never ends', expect: 'any', on: ['connect'], bytes: 'endless' },
];
