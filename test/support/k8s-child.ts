// A program: FakeK8s behind a real socket, so that a network namespace can be around it. Served on the address and port that it is
// given; told by IPC what happens in the cluster.

import { createServer } from 'node:http';
import { FakeK8s, type NodePlan } from './fake-k8s.ts';

export type K8sOrder =
  | { readonly do: 'set'; readonly name: string; readonly plan: NodePlan }
  | { readonly do: 'remove'; readonly name: string }
  | { readonly do: 'compact' };

const [address = '', port = ''] = process.argv.slice(2);
const k8s = new FakeK8s();
const server = createServer((request, response) => {
  const answer = k8s.answer(request.url ?? '', request.headers.authorization);
  response.setHeader('content-type', 'application/json');
  if (!('open' in answer)) return void response.writeHead(answer.status).end(answer.body);
  response.flushHeaders();
  const close = answer.open(
    (text) => void response.write(text),
    () => void response.end(),
  );
  response.on('close', close);
});

function obey(order: K8sOrder): void {
  switch (order.do) {
    case 'set':
      return k8s.set(order.name, order.plan);
    case 'remove':
      return k8s.remove(order.name);
    case 'compact':
      return k8s.compact();
    default:
      return order satisfies never;
  }
}

process.on('message', (order: K8sOrder) => {
  obey(order);
  process.send?.('done');
});
process.on('disconnect', () => process.exit(0));
server.listen(Number(port), address, () => process.send?.('listening'));
