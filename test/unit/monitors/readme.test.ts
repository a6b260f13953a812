import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
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

  it('is compiled outside of the checkout with the tsconfig.json that is given, types and all', async function () {
    this.timeout(60_000);
    const readme = readFileSync(join(ROOT, 'monitors/README.md'), 'utf8');
    const [, example = '', config = ''] = /```ts\n([^]*?)```[^]*```json\n([^]*?)```/.exec(readme) ?? [];
    expect(config).to.contain('"/usr/lib/anybal/dist/src/health/monitor.d.ts"');
    const folder = mkdtempSync(join(tmpdir(), 'anybal-readme-'));
    try {
      // Installed is what is shipped: declarations, and no sources.
      const installed = join(folder, 'installed');
      cpSync(join(ROOT, 'dist/src'), join(installed, 'dist/src'), {
        recursive: true,
        filter: (from) => !/\.[a-z]+$/.test(from) || from.endsWith('.d.ts'),
      });
      const own = join(folder, 'own');
      mkdirSync(own);
      writeFileSync(join(own, 'tsconfig.json'), config.replaceAll('/usr/lib/anybal', installed));
      const compile = (source: string) => {
        writeFileSync(join(own, 'greeting.mts'), source);
        const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
        const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', own], { encoding: 'utf8' });
        return status === 0 ? 'compiled' : stdout;
      };
      expect(compile(example)).to.equal('compiled');
      expect(readFileSync(join(own, 'greeting.mjs'), 'utf8')).not.to.match(/^import/m);
    } finally {
      rmSync(folder, { recursive: true });
    }
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
