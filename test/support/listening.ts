// A server of a test on a port of its own.

import type { Server } from 'node:net';

/** Its port on 127.0.0.1, when it listens. */
export async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = server.address();
  if (at === null || typeof at === 'string') throw new Error('no port');
  return at.port;
}
