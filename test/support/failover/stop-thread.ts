// A program: stops the main thread of a process and none of its others, as if it were stuck in a loop. Started with the
// process id; acts when a line comes on its input, and says so. The thread runs on when this program ends. SIGSTOP would stop
// every thread, and with it the one that speaks BFD.

import koffi from 'koffi';
import { once } from 'node:events';

const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const WALL = 0x40000000;

const libc = koffi.load(null);
const ptrace = libc.func('long ptrace(long request, long pid, void *address, void *data)');
const waitpid = libc.func('int waitpid(int pid, void *status, int options)');

function must(result: number, what: string): void {
  if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
}

const pid = Number(process.argv[2]);
must(ptrace(PTRACE_SEIZE, pid, null, null), 'PTRACE_SEIZE');
process.stdout.write('ready\n');
await once(process.stdin, 'data');
must(ptrace(PTRACE_INTERRUPT, pid, null, null), 'PTRACE_INTERRUPT');
must(waitpid(pid, new Int32Array(1), WALL), 'waitpid');
process.stdout.write('stopped\n');
// Until the input closes or we are killed.
process.stdin.resume();
