// The catalogue of errors that cross a folder's border. A programming error is a plain throw; only shells catch these.

/**
 * A failed call to the outside: `code` is the errno name ('ECONNREFUSED'), `call` what was tried. Thrown by every world port. It has
 * no stack: what failed is not in our code, and noting one costs more than the call, thousands of times when many servers fail.
 */
export class SystemError extends Error {
  readonly code: string;
  readonly call: string;
  /** What is known beside the code; empty: nothing. */
  readonly detail: string;
  /** The monitor that has seen it: see health/stray.ts. */
  givenTo: string | null = null;
  constructor(code: string, call: string, detail = '') {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(detail === '' ? `${call}: ${code}` : `${call}: ${code}: ${detail}`);
    Error.stackTraceLimit = limit;
    this.name = 'SystemError';
    this.code = code;
    this.call = call;
    this.detail = detail;
  }
}

/** A file that is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof SystemError && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** A place in a file that a person can open: `pybal.conf:41`. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

/**
 * One finding about configuration or pool data. `error` refuses its section, line or value; `danger` and `warning` do not. A danger
 * is what PyBal goes on with, though servers are then not watched as they should be: `anybal check` fails for it.
 */
export interface Complaint {
  readonly severity: 'error' | 'danger' | 'warning';
  readonly place: Place | null;
  readonly section: string | null;
  readonly option: string | null;
  readonly message: string;
}

const PREFIX = { error: '', danger: 'DANGER: ', warning: 'warning: ' } as const;

/** `pybal.conf:41: [text] depool-threshold: 1.5 is not between 0 and 1` */
export function printComplaint(complaint: Complaint): string {
  const { place, section, option, message, severity } = complaint;
  const where = place === null ? '' : `${place.file}:${place.line}: `;
  const what = [section === null ? '' : `[${section}] `, option === null ? '' : `${option}: `].join('');
  return `${where}${PREFIX[severity]}${what}${message}`;
}

/** What was thrown, with its stack if there is one. */
export function stackText(thrown: unknown): string {
  try {
    if (thrown instanceof Error && typeof thrown.stack === 'string') return thrown.stack;
  } catch {
    // As below.
  }
  return errorText(thrown);
}

/** The text of anything that was thrown, on one line. */
export function errorText(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
    return text.replace(/\s*\n\s*/g, ' ');
  } catch {
    // Anything may be thrown by a monitor, also what throws when it is to become text.
    return 'something that can not be shown';
  }
}
