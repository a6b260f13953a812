// The pool file over HTTP, with an ETag, as a site's configuration server would serve it. The file is read for each request,
// so that what an editor saves is served at once.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { errorText } from '../lib/errors.ts';
import type { Endpoint } from '../world/world.ts';

/** Serves `file` at `path`, and nothing else. Resolves when it listens. */
export function servePool(at: Endpoint, path: string, file: string): Promise<{ close(): void }> {
  const server = createServer((request, response) => {
    if (request.url !== path) {
      response.writeHead(404).end('not found\n');
      return;
    }
    readFile(file).then(
      (bytes) => {
        const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 16)}"`;
        const same = request.headers['if-none-match'] === etag;
        response.writeHead(same ? 304 : 200, { etag, 'content-type': 'text/plain; charset=utf-8' });
        response.end(same ? undefined : bytes);
      },
      (error: unknown) => response.writeHead(500).end(`${errorText(error)}\n`),
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.address, () => {
      resolve({
        close() {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}
