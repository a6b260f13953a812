// A server on a port that nobody has.

import type { Server } from 'node:net';

/** Resolves with the port when it listens. */
export function listenSomewhere(server: Server, address = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, address, () => {
      server.off('error', reject);
      const at = server.address();
      resolve(typeof at === 'object' && at !== null ? at.port : 0);
    });
  });
}
