// A program: hurls hostile bytes at a BGP port, one connection for each given source address, and prints what came
// back. usage: node hurl-bytes.js ADDRESS PORT SEED SOURCE…

import { connect } from 'node:net';
import fc from 'fast-check';
import { encodeMessage } from '../../src/bgp/message.ts';
import { localOpen } from '../../src/bgp/open.ts';
import { message as anyMessage } from './bgp-arbitraries.ts';

const [address = '', port = '', seed = '', ...sources] = process.argv.slice(2);

const open = encodeMessage({
  is: 'open',
  open: localOpen({ as: 64500, routerId: '198.18.179.1', holdTimeSeconds: 90, families: [4, 6], peerAs: null }),
});
const keepalive = encodeMessage({ is: 'keepalive' });
const messages = fc
  .sample(anyMessage, { seed: Number(seed), numRuns: sources.length })
  .map((one) => encodeMessage(one));
const noise = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 3000, size: 'max' }), {
  seed: Number(seed),
  numRuns: sources.length,
});

/**
 * Alternately: nothing but noise; a good session that turns to noise; a good one that is cut in a message; half an
 * OPEN.
 */
function bytesOf(i: number): Uint8Array[] {
  const mangled = Uint8Array.from(messages[i] ?? []);
  for (const at of [17, 20, 25, 30]) if (at < mangled.length) mangled[at] = (mangled[at] ?? 0) ^ (1 << (i % 8));
  const garbage = noise[i] ?? new Uint8Array();
  switch (i % 4) {
    case 0:
      return [garbage];
    case 1:
      return [open, keepalive, mangled, garbage];
    case 2:
      return [open, keepalive, (messages[i] ?? garbage).subarray(0, 20)];
    default:
      return [open.subarray(0, 1 + (i % open.length))];
  }
}

function hurl(source: string, i: number): Promise<number> {
  return new Promise((resolve) => {
    let received = 0;
    const socket = connect({ host: address, port: Number(port), localAddress: source });
    const timer = setTimeout(() => socket.destroy(), 1500);
    socket.on('data', (bytes) => {
      received += bytes.length;
    });
    socket.on('connect', () => {
      for (const bytes of bytesOf(i)) socket.write(bytes);
      if (i % 2 === 0) socket.end();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(received);
    });
  });
}

const received = await Promise.all(sources.map(hurl));
process.stdout.write(`${JSON.stringify(received)}\n`);
