import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { runMonitor, serve } from '../../support/monitor-bench.ts';
import example from '../../support/example-monitor.ts';

/** The checkout, from dist/test/unit/monitors. */
const ROOT = join(import.meta.dirname, '../../../..');

describe('The example in monitors/README.md', () => {
  it('is the one that is compiled', () => {
    const readme = readFileSync(join(ROOT, 'monitors/README.md'), 'utf8');
    const source = readFileSync(join(ROOT, 'test/support/example-monitor.ts'), 'utf8');
    expect(/```ts\n([^]*?)```/.exec(readme)?.[1]).to.equal(source);
  });

  for (const [greeting, expected] of [
    ['220 mail.example.org ESMTP\r\n', { is: 'up', detail: '220 mail.example.org ESMTP' }],
    ['554 go away\r\n', { is: 'down', reason: 'greeted with "554 go away"' }],
    ['22', { is: 'down', reason: 'closed after 2 characters' }],
  ] as const) {
    it(`works: ${expected.is} for ${JSON.stringify(greeting)}`, async () => {
      const server = await serve((socket) => socket.end(greeting));
      const bench = runMonitor(example, {}, { port: server.port });
      try {
        expect(await bench.result()).to.deep.equal(expected);
      } finally {
        await bench.stop();
        await server.close();
      }
    });
  }
});
