// What servers say in lines (an agent, SMTP, SSH): one line at a time, bounded, and never waited for after the cut. Used by
// the monitors that speak such protocols.

import type { Cut, Stream } from 'anybal/monitor';
import { quote } from './text.ts';

export interface Lines {
  /**
   * The next line, without its end. Rejects with what came instead: an end, a loss, a line too long, or nothing in time. `before`: the
   * line that this one goes on from; it is what came last if nothing more does.
   */
  next(before?: string): Promise<string>;
  /** What came behind the last line. */
  readonly rest: string;
}

/**
 * Nobody else may read from the stream. A line of more than `maxBytes` is an error. With `loose` a CR alone ends a line, too, and so
 * does the end of what the server sends: a FIN, no reset.
 */
export function linesOf(stream: Stream, cut: Cut, maxBytes: number, loose = false): Lines {
  const latin1 = new TextDecoder('latin1');
  const lineEnd = loose ? /[\r\n]/ : /\n/;
  let text = '';
  /** By a FIN, before anything went wrong. */
  let finished = false;
  /** Why no more will come. */
  let over: string | null = null;
  let wake = (): void => {};
  const end = (why: string): void => {
    over ??= why;
    wake();
  };
  stream.on({
    onData(bytes) {
      text += latin1.decode(bytes);
      // Whoever sends faster than lines are taken waits.
      if (text.length > 2 * maxBytes) stream.pause();
      wake();
    },
    onEnd() {
      finished = over === null;
      end('the connection was closed');
    },
    onClose: (error) => end(error === null ? 'the connection was closed' : `the connection was lost (${error.code})`),
    onDrain() {},
  });
  cut.onAbort(() => end('nothing came in time'));

  const take = (before: string): string | Error | null => {
    const at = text.search(lineEnd);
    const length = at < 0 ? text.length : at;
    if (length > maxBytes) return new Error(`a line of more than ${maxBytes} bytes: ${quote(text)}`);
    const last = loose && finished && text !== '';
    if (at < 0 && !last) {
      const came = text === '' ? before : text;
      return over === null ? null : new Error(came === '' ? over : `${over} after ${quote(came)}`);
    }
    const line = text.slice(0, length).replace(/\r$/, '');
    text = text.slice(length + 1);
    if (text.length <= 2 * maxBytes) stream.resume();
    return line;
  };
  return {
    get rest() {
      return text;
    },
    next: (before = '') =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const taken = take(before);
          if (taken === null) return;
          wake = () => {};
          if (typeof taken === 'string') resolve(taken);
          else reject(taken);
        };
        wake = look;
        look();
      }),
  };
}
