// Two streams made one: what comes in on either goes out on the other, no more is read than the other takes, and the end of
// one direction is carried through while the other goes on. Called by ipvs/userspace.ts.

import type { Cut } from '../lib/cut.ts';
import type { SystemError } from '../lib/errors.ts';
import type { Stream } from '../world/world.ts';

/** Resolves when both are closed; an abrupt end of one, or the cut, is an abrupt end of the other. */
export function splice(one: Stream, other: Stream, cut: Cut): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    const release = cut.onAbort(() => {
      one.close('rst');
      other.close('rst');
    });
    const closed = (far: Stream) => (error: SystemError | null) => {
      if (error !== null) far.close('rst');
      if (--open > 0) return;
      release();
      resolve();
    };
    flow(one, other, closed(other));
    flow(other, one, closed(one));
  });
}

function flow(from: Stream, to: Stream, onClose: (error: SystemError | null) => void): void {
  from.on({
    onData: (bytes) => {
      if (!to.write(bytes)) from.pause();
    },
    onEnd: () => to.end(),
    onDrain: () => to.resume(), // There is room towards `from` again: go on reading what goes there.
    onClose,
  });
}
