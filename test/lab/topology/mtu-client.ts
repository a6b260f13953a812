// A POST of so many octets to all addresses on the command line at once, and then a GET from one after the other. Prints one line
// of JSON for each: digests of what was sent and what was heard, the longest silence, or an error. A silence of `patience` ms is
// the end.

import { createHash } from 'node:crypto';
import { request } from 'node:http';

export interface Transfer {
  readonly vip: string;
  readonly method: 'POST' | 'GET';
  readonly error: string | null;
  readonly equal: boolean;
  readonly longestGapMs: number;
}

const [port = '', size = '', patience = '', ...vips] = process.argv.slice(2);
const payload = Buffer.alloc(Number(size), 'the same octets again and again\n');
const expected = createHash('sha256').update(payload).digest('hex');

function transfer(vip: string, method: Transfer['method']): Promise<Transfer> {
  return new Promise((resolve) => {
    const fail = (error: string): void => resolve({ vip, method, error, equal: false, longestGapMs: 0 });
    const path = method === 'GET' ? `/${size}` : '/';
    const asked = request({ host: vip, port, method, path, agent: false }, (response) => {
      const digest = createHash('sha256');
      let text = '';
      let last = performance.now();
      let longestGapMs = 0;
      response.on('data', (piece: Buffer) => {
        longestGapMs = Math.max(longestGapMs, performance.now() - last);
        last = performance.now();
        digest.update(piece);
        if (method === 'POST') text += piece.toString();
      });
      response.on('end', () => {
        if (method === 'GET') {
          resolve({ vip, method, error: null, equal: digest.digest('hex') === expected, longestGapMs });
          return;
        }
        const heard = JSON.parse(text) as { readonly sha256: string; readonly longestGapMs: number };
        resolve({ vip, method, error: null, equal: heard.sha256 === expected, longestGapMs: heard.longestGapMs });
      });
    });
    // Of a POST nothing is heard before its end, so the time is for the whole of it.
    const timer = setTimeout(() => {
      fail('stalled');
      asked.destroy();
    }, Number(patience));
    asked.on('error', (error: Error) => fail(error.message));
    asked.on('close', () => clearTimeout(timer));
    asked.end(method === 'POST' ? payload : undefined);
  });
}

// What a server learns of the path by a GET makes its next segment size fit: POST has to come first.
const all = await Promise.all(vips.map((vip) => transfer(vip, 'POST')));
for (const vip of vips) all.push(await transfer(vip, 'GET'));
for (const each of all) console.log(JSON.stringify(each));
