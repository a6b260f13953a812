// A process that logs and ends in the way that its first argument says: what test/unit/log/sink.test.ts runs. Its last words
// are one line of JSON on descriptor 3.

import { writeSync } from 'node:fs';
import { createLogSink, type LogSink } from '../../src/log/sink.ts';

const [how = '', target = '1', count = '1000'] = process.argv.slice(2);

const sink: LogSink = createLogSink({
  to: /^\d+$/.test(target) ? { fd: Number(target) } : { path: target },
  style: { format: 'text', prefix: 'none' },
  level: 'info',
  wall: () => Date.now(),
});
let written = 0;
const log = (lines: number) => {
  for (let i = 0; i < lines; i++) sink.write({ level: 'info', system: 'child', text: `line ${written++}` });
};
const tell = (facts: Record<string, number>) => writeSync(3, `${JSON.stringify(facts)}\n`);

/** The longest time that a 10 ms timer was late while `ms` passed. */
async function latenessDuring(ms: number): Promise<number> {
  let worst = 0;
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const before = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 10));
    worst = Math.max(worst, performance.now() - before - 10);
  }
  return Math.round(worst);
}

log(Number(count));
switch (how) {
  case 'exit':
    process.exit(0);
    break;
  case 'throw':
    setTimeout(() => {
      log(10);
      throw new Error('a bug');
    }, 5);
    break;
  case 'reject':
    log(10);
    void Promise.reject(new Error('a bug'));
    break;
  case 'close':
    await sink.close();
    tell({ dropped: sink.dropped() });
    break;
  case 'suffer': {
    // Nothing that happens to the log may stop the loop or end the process.
    const late = await latenessDuring(300);
    log(10);
    await sink.close(100);
    tell({ dropped: sink.dropped(), late });
    process.exit(0);
    break;
  }
  case 'rotate':
    process.on('SIGUSR2', () => {
      sink.reopen();
      log(10);
      void sink.close().then(() => process.exit(0));
    });
    setTimeout(() => process.exit(9), 10_000);
    tell({ ready: 1 });
    break;
  case 'reopen':
    process.on('SIGUSR2', () => {
      sink.reopen();
      log(10);
      tell({ reopened: 1 });
    });
    setTimeout(() => process.exit(9), 15_000);
    tell({ ready: 1 });
    break;
  default:
    process.exit(64);
}
