// An error that nobody handled: whose is it? A monitor that was dropped in runs in this process, and what it throws where no
// check can catch it (a promise that it does not wait for, a timer of its own) reaches the event loop, where an error of ours
// means that nothing can be relied on any more. Pure. Called by main.ts and the conformance kit.

import { stackText, SystemError } from '../lib/errors.ts';

/** A promise that nobody waits for, or a call from the event loop. */
export type Origin = 'rejection' | 'exception';

/** Where code is loaded from. */
export interface Grounds {
  /** URL of the package, with a slash at its end. */
  readonly root: string;
  /** Files of other people were loaded: what can not be told may be theirs. */
  readonly strangers: boolean;
}

const GIVEN = Symbol('the monitor that was given it');
const NOBODY_KNOWS = 'a monitor, not known which';

/** An error leaves the tools of a monitor: whoever does not handle it now is that monitor. */
export function givenTo(monitor: string, error: unknown): void {
  try {
    // There are thousands of them when many servers fail.
    if (error instanceof SystemError) error.givenTo = monitor;
    else if (error instanceof Error) Object.defineProperty(error, GIVEN, { value: monitor, configurable: true });
  } catch {
    // It is the monitor's own, and does not let itself be marked.
  }
}

/**
 * The monitor whose error this is, by its name or file as far as is known; null: ours. An exception is a monitor's only
 * when nothing of ours stands in its stack, since what it went through was left half done. A rejection goes through
 * nothing: there it is enough that a monitor took part.
 */
export function culpritOf(thrown: unknown, origin: Origin, grounds: Grounds): string | null {
  try {
    return culpritIn(thrown, origin, grounds);
  } catch {
    // It throws when somebody looks at it: nothing of ours does.
    return grounds.strangers ? NOBODY_KNOWS : null;
  }
}

function culpritIn(thrown: unknown, origin: Origin, { root, strangers }: Grounds): string | null {
  // One of these has no stack, and monitors have none that they were not given.
  if (thrown instanceof SystemError) return thrown.givenTo === null ? null : `monitor ${thrown.givenTo}`;
  const given = thrown instanceof Error && GIVEN in thrown ? thrown[GIVEN] : null;
  if (given !== null) return `monitor ${String(given)}`;
  const files = filesOf(thrown).filter((file) => !file.startsWith('node:') && !file.includes('/node_modules/'));
  const theirs = files.filter((file) => !isOurs(file, root));
  // Only Node in it, or no stack at all: nothing of ours throws what is no Error.
  if (files.length === 0) return strangers ? NOBODY_KNOWS : null;
  if (theirs.length === 0 || (origin === 'exception' && theirs.length < files.length)) return null;
  return theirs[0] ?? null;
}

/** Built-in monitors are monitors. */
function isOurs(file: string, root: string): boolean {
  return ['src/', 'dist/src/'].some((folder) => file.startsWith(root + folder));
}

/** As the stack names them, the innermost call first. */
function filesOf(thrown: unknown): readonly string[] {
  if (!(thrown instanceof Error) || typeof thrown.stack !== 'string') return [];
  // The message may be what a server said, with lines that look like a stack.
  const { stack, message } = thrown;
  const calls = stack.slice(stack.indexOf(message) + message.length).split('\n');
  return calls.flatMap((line) => {
    const file = /^\s+at (?:.* \()?((?:file:\/\/|node:|\/).*?):\d+:\d+\)?$/.exec(line)?.[1];
    return file === undefined ? [] : [file.startsWith('/') ? `file://${file}` : file];
  });
}

/** What was thrown, for the log: with its stack if there is one, on one line. */
export function strayText(thrown: unknown): string {
  return stackText(thrown).replace(/\s*\n\s*/g, ' ');
}
