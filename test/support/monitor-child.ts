// One check by one monitor in a process of its own, for tests that need another network namespace or fewer privileges:
// `node monitor-child.js '{"monitor": "Ping", "options": {…}, "target": {…}}'` prints the result as JSON.

import { loadMonitor } from '../../src/health/loader.ts';
import type { Target } from '../../src/health/monitor.ts';
import { runMonitor } from './monitor-bench.ts';

interface Order {
  readonly monitor: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly target: Partial<Target>;
}

const { monitor, options, target } = JSON.parse(process.argv[2] ?? '') as Order;
const module = await loadMonitor(monitor, []);
if (module === null) throw new Error(`there is no monitor ${monitor}`);
const bench = runMonitor(module, options, target);
process.stdout.write(JSON.stringify(await bench.result(1, 15_000)));
await bench.stop();
process.exit();
