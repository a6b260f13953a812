// A connection to an HTTP server that carries one request after the other, in either version. Used by http.ts and grpc.ts.

import type { Cut, Stream, TlsCertificate } from 'anybal/monitor';
import { Http1Reader } from './http1.ts';
import { Http2Client } from './http2.ts';
import type { Question } from './http-options.ts';
import type { Reading, ResponseReader, Verdict } from './response.ts';

/** How one request ended. */
export interface Answer {
  /** What there is to say against it as a response; null: as much was read as was wanted. */
  readonly failure: string | null;
  /** The server had closed a connection that was used before, or refuses to, without having looked at the request. */
  readonly unseen: boolean;
}

export class Connection {
  /** Scheme, host and port of the URL that it was opened for. */
  readonly origin: string;
  readonly certificate: TlsCertificate | null;
  readonly #stream: Stream;
  readonly #http2: Http2Client | null;
  #reader: ResponseReader | null = null;
  /** Of the request under way. */
  #settle: ((answer: Answer) => void) | null = null;
  #open = true;
  #resting = false;
  #requests = 0;

  constructor(origin: string, stream: Stream, http2: boolean) {
    this.origin = origin;
    this.#stream = stream;
    this.#http2 = http2 ? new Http2Client() : null;
    this.certificate = stream.tls?.certificate ?? null;
    stream.on({
      onData: (bytes) => this.#onData(bytes),
      onEnd: () => this.#onEnd(null),
      onDrain() {},
      onClose: (error) => this.#onEnd(error),
    });
  }

  /** The response of the last request, as far as it has come; null before the first one. */
  get response(): ResponseReader | null {
    return this.#reader;
  }

  /** Let go of the last response, of which nothing is needed any more. False: there can not be another one. */
  rest(): boolean {
    this.#resting = this.#open && this.#settle === null && this.#reader?.reusable === true;
    this.#reader = null;
    this.#http2?.dropResponse();
    return this.#resting;
  }

  /** It rests, and can be used for a body of this length. */
  canCarry(bodyBytes: number): boolean {
    return this.#open && this.#resting && (this.#http2?.fits(bodyBytes) ?? true);
  }

  /** Resolves when as much of the response came as `reading` wants, or there will be no more. Cutting ends it. */
  ask(question: Pick<Question, 'fields' | 'body' | 'bytes'>, reading: Reading, cut: Cut): Promise<Answer> {
    return new Promise((resolve) => {
      const forget = cut.onAbort(() => this.#answer('cut short', false));
      this.#settle = (answer) => {
        forget();
        resolve(answer);
      };
      this.#requests++;
      this.#resting = false;
      this.#reader = this.#http2 ?? new Http1Reader({ ...reading, skipInterim: true });
      if (cut.aborted) this.#answer('cut short', false);
      else if (!this.#open) this.#answer('closed by the server before any answer', this.#requests > 1);
      else this.#stream.write(this.#http2?.request(question.fields, question.body, reading) ?? question.bytes);
    });
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#stream.close('rst');
  }

  #answer(failure: string | null, unseen: boolean): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.({ failure, unseen });
  }

  #onData(bytes: Uint8Array): void {
    const asked = this.#settle !== null;
    // HTTP/1 says nothing unasked; HTTP/2 does.
    const reader = asked ? this.#reader : this.#http2;
    if (reader === null) {
      this.close();
      return;
    }
    const verdict: Verdict = reader.push(bytes);
    const output = this.#http2?.output() ?? null;
    if (output !== null) this.#stream.write(output);
    if (asked && verdict !== undefined) this.#answer(verdict, this.#requests > 1 && this.#http2?.refused === true);
    else if (!asked && !reader.reusable) this.close();
  }

  /** The server sends no more, or (with an error) the connection is gone. */
  #onEnd(error: { readonly code: string; readonly message: string } | null): void {
    const reader = this.#reader;
    if (reader !== null && this.#settle !== null) {
      const unseen = reader.untouched && this.#requests > 1;
      if (error === null && !reader.untouched) this.#answer(reader.end(), unseen);
      else this.#answer(ended(error, reader.progress), unseen);
    }
    this.close();
  }
}

function ended(error: { readonly code: string; readonly message: string } | null, progress: string): string {
  if (error === null) return `closed by the server ${progress}`;
  return error.code === 'ECONNRESET' ? `reset by the server ${progress}` : `lost ${progress}: ${error.message}`;
}
