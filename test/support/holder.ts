// A program: accepts connections on the port that it is given, and holds them until it is killed.

import { createServer } from 'node:net';

const server = createServer((socket) => {
  socket.on('error', () => {});
  socket.resume();
});
server.listen({ host: '0.0.0.0', port: Number(process.argv[2]), backlog: 4096 }, () => process.send?.('listening'));
process.on('disconnect', () => process.exit(0));
