// The pool file's HTTP server, in the tests' own process: answers with an ETag and 304, as a web server would.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { serverNames, tests, type ServerName } from './network.ts';

export interface PoolHost {
  readonly weight?: number;
  readonly enabled?: boolean;
}

export type Pool = Readonly<Partial<Record<ServerName, PoolHost>>>;

export interface PoolFiles {
  /** `http://10.2.0.100/pools/<name>`. */
  url(name: string): string;
  /** PyBal's format: one Python literal per line. */
  write(name: string, pool: Pool): void;
  /** Whatever the test likes, valid or not. */
  writeText(name: string, text: string): void;
  /** Requests so far. */
  requests(name: string): number;
  close(): Promise<void>;
}

export const everyServer: Pool = Object.fromEntries(serverNames.map((name) => [name, {}]));

export function poolText(pool: Pool): string {
  return Object.entries(pool)
    .map(([name, { weight = 10, enabled = true }]) => {
      const python = enabled ? 'True' : 'False';
      return `{ 'host': '${name}.lab', 'weight': ${weight}, 'enabled': ${python} }\n`;
    })
    .join('');
}

export async function servePools(): Promise<PoolFiles> {
  const files = new Map<string, string>();
  const counts = new Map<string, number>();
  const server = createServer((request, response) => {
    const name = (request.url ?? '').replace(/^\/pools\//, '');
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const text = files.get(name);
    if (text === undefined) {
      response.writeHead(404).end();
      return;
    }
    const etag = `"${createHash('sha1').update(text).digest('hex')}"`;
    if (request.headers['if-none-match'] === etag) response.writeHead(304, { ETag: etag }).end();
    else response.writeHead(200, { ETag: etag, 'Content-Type': 'text/plain' }).end(text);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(80, tests.ipv4, resolve);
  });
  return {
    url: (name) => `http://${tests.ipv4}/pools/${name}`,
    write: (name, pool) => void files.set(name, poolText(pool)),
    writeText: (name, text) => void files.set(name, text),
    requests: (name) => counts.get(name) ?? 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
