// Are the demo's addresses free? Asked before anything is started, so that a taken one is one clear error.

import { createServer } from 'node:net';
import { printEndpoint } from '../lib/address.ts';
import type { Endpoint } from '../world/world.ts';
import { systemError } from '../world/real/errors.ts';

export interface Claim extends Endpoint {
  /** 'virtual IP of [web]' */
  readonly what: string;
}

/** Why the first of these that cannot be listened on cannot, or null when all can. */
export async function firstTaken(claims: readonly Claim[]): Promise<string | null> {
  for (const claim of claims) {
    const code = await tryListen(claim);
    if (code === null) continue;
    const where = `${printEndpoint(claim.address, claim.port)} (${claim.what})`;
    if (code === 'EADDRINUSE') {
      return `port ${claim.port} is taken: ${where}. Who has it: ss -ltnp 'sport = :${claim.port}'`;
    }
    return `cannot listen on ${where}: ${code}`;
  }
  return null;
}

/** Listens and closes again: the errno name of what failed, or null. */
function tryListen({ address, port }: Endpoint): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(systemError(error, 'listen').code));
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
