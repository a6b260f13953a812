// One GET over a Unix socket: how the command line asks the daemon. Apart from http.ts because it must not load undici, whose
// start would take longer than the answer.

import { request } from 'node:http';
import { SystemError } from '../../lib/errors.ts';
import type { HttpResponse } from '../world.ts';
import { systemError } from './errors.ts';

/** Rejects: ENOENT, ECONNREFUSED (nobody listens), EACCES, ETIMEDOUT, EFBIG. */
export function getOverUnixSocket(
  socketPath: string,
  path: string,
  timeoutMs: number,
  maxBytes: number,
): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const call = `GET ${path} from ${socketPath}`;
    const fail = (error: unknown) => {
      clearTimeout(timer);
      asked.destroy();
      reject(systemError(error, call));
    };
    const asked = request({ socketPath, path, agent: false, headers: { accept: 'application/json' } }, (response) => {
      const chunks: Uint8Array[] = [];
      let length = 0;
      response.on('data', (chunk: Uint8Array) => {
        length += chunk.length;
        if (length > maxBytes) fail(new SystemError('EFBIG', call, `at most ${maxBytes} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () => {
        clearTimeout(timer);
        const type = response.headers['content-type'];
        resolve({
          status: response.statusCode ?? 0,
          headers: type === undefined ? {} : { 'content-type': type },
          body: new Uint8Array(Buffer.concat(chunks)),
        });
      });
    });
    const timer = setTimeout(() => fail(new SystemError('ETIMEDOUT', call, `${timeoutMs} ms`)), timeoutMs);
    asked.on('error', fail);
    asked.end();
  });
}
