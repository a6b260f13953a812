// A program: holds idle connections as an IdleConnection does, with node:net and nothing else. One that the server closes is dialled again
// at once, and the server is down when it is refused; one that is reset says so by itself. No state, no log, no decision: what is left is
// Node. Beside it checks.ts measures ours, which is asked over IPC in the same way (prober.ts).

import { connect, type Socket } from 'node:net';
import type { Holding, Order } from './prober.ts';
import { addressOf } from './site.ts';

/** So few that all fit into the server's backlog. */
const AT_ONCE = 500;

const seen = { up: 0, complaint: '', lost: 0, firstLostAt: 0, lastLostAt: 0 };
const held: Socket[] = [];

/** Resolves when it is connected, or is not. */
function hold(host: string, port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, keepAlive: true, keepAliveInitialDelay: 10_000 });
    let connected = false;
    socket.on('connect', () => {
      connected = true;
      seen.up++;
      resolve();
    });
    socket.on('error', (error) => {
      seen.complaint = error.message;
      if (connected) onDown();
      resolve();
    });
    socket.on('end', () => {
      const again = connect({ host, port });
      again.on('connect', () => held.push(again));
      again.on('error', onDown);
    });
    held.push(socket);
  });
}

function onDown(): void {
  seen.lastLostAt = Number(process.hrtime.bigint()) / 1e6;
  if (seen.lost++ === 0) seen.firstLostAt = seen.lastLostAt;
  seen.up--;
}

async function start(servers: number, port: number): Promise<void> {
  for (let begun = 0; begun < servers; begun += AT_ONCE) {
    const batch = Array.from({ length: Math.min(AT_ONCE, servers - begun) }, (_, i) => addressOf(begun + i));
    await Promise.all(batch.map((address) => hold(address, port)));
  }
}

function answer(): void {
  const holding: Holding = { ...seen };
  process.send?.(holding);
}

process.on('message', (order: Order) => {
  void (async () => {
    if (order.do === 'start') await start(order.job.servers, order.job.port);
    answer();
  })();
});
process.on('disconnect', () => process.exit(0));
answer();
