// Sends every datagram back from the address that it came to: one socket for each address on the command line, behind the
// port. Runs in a real server's namespace; says `ready` when all are bound.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const [port = '', ...addresses] = process.argv.slice(2);
for (const address of addresses) {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
  // A reply that can not be sent is one that is lost.
  socket.on('error', () => undefined);
  socket.bind(Number(port), address);
  await once(socket, 'listening');
}
console.log('ready');
