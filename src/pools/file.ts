// A pool in a file (`file:///etc/pybal/pools/text`): looked at each second, read when its size, times or inode changed. It may
// vanish and come back.

import type { Cut } from '../lib/cut.ts';
import { errorText } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import type { FileStat, Mono, World } from '../world/world.ts';
import { MAX_POOL_BYTES } from './parse.ts';
import { POLL_MS, sameBytes, SETTLE_MS, type Answer, type Source } from './source.ts';

/** A network file system may answer never. */
const ANSWER_MS = 5000;

/** PyBal takes what follows `file://` as it stands: no percent escapes. */
export function fileSource(world: Pick<World, 'clock' | 'files'>, url: string): Source | string {
  const path = url.slice('file://'.length).replace(/^localhost(?=\/)/, '');
  if (!path.startsWith('/')) return `not an absolute path: ${url}`;
  return new FileSource(world, path);
}

class FileSource implements Source {
  readonly #world: Pick<World, 'clock' | 'files'>;
  readonly #path: string;
  #stat: FileStat | null = null;
  #bytes: Uint8Array | null = null;
  #changedAt: Mono | null = null;
  /** Under way, or its answer was not taken yet. */
  #looking: Promise<Answer> | null = null;

  constructor(world: Pick<World, 'clock' | 'files'>, path: string) {
    this.#world = world;
    this.#path = path;
  }

  /** Each call into a file system that hangs holds a thread, so there is never a second one: its answer is waited for again. */
  async ask(afresh: boolean, cut: Cut): Promise<Answer> {
    this.#looking ??= this.#look(afresh);
    const answer = await inTime(this.#world.clock, ANSWER_MS, this.#looking, cut);
    if (answer === null)
      return { is: 'failed', reason: cut.aborted ? 'canceled' : `no answer in ${ANSWER_MS / 1000} s` };
    this.#looking = null;
    return answer;
  }

  /** Never rejects. */
  async #look(afresh: boolean): Promise<Answer> {
    const { files, clock } = this.#world;
    try {
      const before = await files.stat(this.#path);
      const settled = this.#changedAt !== null && clock.now() - this.#changedAt >= SETTLE_MS;
      if (!afresh && settled && sameStat(this.#stat, before)) return { is: 'unchanged' };
      const bytes = await files.read(this.#path, MAX_POOL_BYTES);
      // Somebody is writing it: what was read may be half of it. Next time, then.
      if (!sameStat(before, await files.stat(this.#path))) return { is: 'failed', reason: 'changed while it was read' };
      this.#stat = before;
      if (sameBytes(this.#bytes, bytes)) return { is: 'unchanged' };
      this.#bytes = bytes;
      this.#changedAt = clock.now();
      return { is: 'content', bytes };
    } catch (thrown) {
      this.#stat = null;
      return { is: 'failed', reason: errorText(thrown) };
    }
  }

  /** Looking at a file costs nobody anything: no back-off. */
  delayMs(): number {
    return POLL_MS;
  }
}

function sameStat(a: FileStat | null, b: FileStat): boolean {
  if (a === null) return false;
  // The one that nobody can set: `touch -r` and `cp -p` bring back the other.
  const sameTimes = a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;
  return sameTimes && a.size === b.size && a.inode === b.inode;
}
