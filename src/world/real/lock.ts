// One anybal per network namespace: an abstract Unix socket belongs to the namespace, as the IPVS table does, and vanishes
// with the process that holds it. Whoever finds it taken is told by whom.

import { connect, createServer } from 'node:net';
import { SystemError } from '../../lib/errors.ts';
import { systemError } from './errors.ts';

export const LOCK_NAME = '\0anybal';

const MAX_HOLDER_TEXT = 200;
const ANSWER_MS = 1_000;

export interface Lock {
  release(): Promise<void>;
}

/** `holder` says who we are, to others that come later. Rejects with EADDRINUSE, whose text says who holds the lock. */
export function lockInstance(holder: string, name = LOCK_NAME): Promise<Lock> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.setTimeout(ANSWER_MS, () => socket.destroy());
      socket.end(holder);
    });
    server.maxConnections = 8;
    server.once('error', (error) => {
      const { code } = systemError(error, 'lock');
      if (code !== 'EADDRINUSE') reject(systemError(error, 'lock'));
      else {
        void askHolder(name).then((who) => {
          const text = `another anybal runs in this network namespace (${who})`;
          reject(new SystemError('EADDRINUSE', 'lock', text));
        });
      }
    });
    server.listen(name, () => {
      server.on('error', () => {});
      // The lock alone keeps no process alive.
      server.unref();
      resolve({ release: () => new Promise((done) => server.close(() => done())) });
    });
  });
}

function askHolder(name: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(name);
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      // Any process may have bound the name: what it says is shown, not trusted.
      const shown = text.slice(0, MAX_HOLDER_TEXT).replace(/[^\x20-\x7e]/g, '?');
      resolve(shown === '' ? 'it does not say which' : shown);
    };
    const timer = setTimeout(finish, ANSWER_MS);
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (text.length > MAX_HOLDER_TEXT) finish();
    });
    socket.on('error', finish);
    socket.on('end', finish);
  });
}
