// A real server: a process of its own, so that it can be stopped like one. Each answer names it. Started by main.ts with its
// name, address and port.

import { createServer } from 'node:http';

const [name = '', address = '', port = ''] = process.argv.slice(2);

const server = createServer((_request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`${name} (${address}, pid ${process.pid})\n`);
});
// An idle connection is a health check, not an attack.
server.headersTimeout = 0;
server.requestTimeout = 0;
server.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
server.listen(Number(port), address, () => process.send?.('listening'));
