// A web server for large bodies, in a real server's namespace, on all addresses: POST answers with the digest of what came and
// the longest silence in it, GET sends as many octets as its path says. Says `ready` when it listens.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const block = Buffer.alloc(65_536, 'the same octets again and again\n');

createServer((request, response) => {
  if (request.method === 'POST') {
    const digest = createHash('sha256');
    let bytes = 0;
    let last = performance.now();
    let longestGapMs = 0;
    request.on('data', (piece: Buffer) => {
      longestGapMs = Math.max(longestGapMs, performance.now() - last);
      last = performance.now();
      bytes += piece.length;
      digest.update(piece);
    });
    request.on('end', () => {
      const body = JSON.stringify({ bytes, sha256: digest.digest('hex'), longestGapMs });
      response.writeHead(200, { 'Content-Length': body.length, Connection: 'close' }).end(body);
    });
    return;
  }
  const wanted = Number((request.url ?? '').slice(1));
  response.writeHead(200, { 'Content-Length': wanted, Connection: 'close' });
  for (let left = wanted; left > 0; left -= block.length)
    response.write(block.subarray(0, Math.min(left, block.length)));
  response.end();
}).listen(Number(process.argv[2]), '::', () => console.log('ready'));
