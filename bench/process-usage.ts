// What a process has used, read in /proc. Called by bgp.ts and checks.ts.

import { readdirSync, readFileSync } from 'node:fs';

/** Milliseconds that all threads of a process have been on a CPU, and its resident memory. */
export function usage(pid: number): { readonly cpuMs: number; readonly rssMb: number } {
  const threads = readdirSync(`/proc/${pid}/task`).map((tid) =>
    readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8'),
  );
  const cpuNs = threads.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0);
  const rssKb = Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return { cpuMs: cpuNs / 1e6, rssMb: rssKb / 1024 };
}
