// A DNS server that says what a test wants it to say, over UDP and TCP on one port of the loopback.

import { createSocket } from 'node:dgram';
import net from 'node:net';
import { listenSomewhere } from './listen.ts';

type Over = 'udp' | 'tcp';

/** `reply` answers the messages to send to one query. */
export async function serveDns(
  reply: (query: Uint8Array, over: Over, number: number) => readonly Uint8Array[],
  address = '127.0.0.1',
) {
  const asked = { udp: 0, tcp: 0 };
  const queries: Uint8Array[] = [];
  const tcp = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      queries.push(bytes.subarray(2));
      for (const message of reply(bytes.subarray(2), 'tcp', ++asked.tcp)) {
        socket.write(Uint8Array.from([message.length >> 8, message.length & 255, ...message]));
      }
    });
  });
  const port = await listenSomewhere(tcp, address);
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (query, from) => {
    queries.push(query);
    for (const message of reply(query, 'udp', ++asked.udp)) udp.send(message, from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, address, resolve));
  return {
    port,
    asked,
    queries,
    async close() {
      await new Promise<void>((resolve) => udp.close(resolve));
      await new Promise<void>((resolve) => {
        tcp.close(() => resolve());
      });
    },
  };
}
