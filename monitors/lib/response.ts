// What reads a response, whichever version of HTTP it comes in: http1.ts and http2.ts each make one, http.ts and proxyfetch.ts
// use them.

/** Undefined: there is more to come. Null: as much was read as was wanted. Text: what is wrong with the response. */
export type Verdict = string | null | undefined;

/** How much of a response is wanted. */
export interface Reading {
  /** 'line': only the status. 'head': the fields too. 'body': everything; what comes behind `maxBodyBytes` is not read. */
  readonly until: 'line' | 'head' | 'body';
  /** So much of the body is kept; the rest is counted and dropped. */
  readonly keepBytes: number;
  readonly maxBodyBytes: number;
  /** Of 'body': statuses whose body is of no interest. */
  readonly headIsEnough?: (status: number) => boolean;
  /** `header` will be asked. Not given: it need not know any. */
  readonly fields?: boolean;
  /** It answers a HEAD: there is no body, whatever the fields say. */
  readonly toHead: boolean;
}

/** One response, while it is read and afterwards. */
export interface ResponseReader {
  /** 0 before it is known. */
  readonly status: number;
  /** `503 Service Unavailable`, safe for a line of the log. */
  readonly line: string;
  /** Nothing has come yet. */
  readonly untouched: boolean;
  /** How far it got: `before any answer`, `after 512 bytes of the body`. */
  readonly progress: string;
  /** Bytes of the body that have come. */
  readonly bodyBytes: number;
  /** It was read to its end, and the connection can carry another one. */
  readonly reusable: boolean;
  /** Values of a field by its name in lower case, in their order: where they were wanted. */
  header(name: string): readonly string[];
  /** What was kept of the body. */
  body(): Uint8Array;
  /** What came. Nothing of it is kept but by copying. */
  push(bytes: Uint8Array): Verdict;
  /** The server will send no more. */
  end(): Exclude<Verdict, undefined>;
}

/** A body, up to a limit. What is added is copied: whose buffer it is in may want that back. */
export class Kept {
  readonly #limit: number;
  /** Not all of it is filled yet: a body may come in thousands of pieces. */
  #bytes = new Uint8Array(0);
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(bytes: Uint8Array): void {
    const taken = Math.min(bytes.length, this.#limit - this.#length);
    if (taken <= 0) return;
    const before = this.#bytes;
    const needed = this.#length + taken;
    if (needed > before.length) {
      this.#bytes = new Uint8Array(Math.min(this.#limit, Math.max(needed, 2 * before.length)));
      this.#bytes.set(before);
    }
    this.#bytes.set(bytes.subarray(0, taken), this.#length);
    this.#length = needed;
  }

  whole(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}
