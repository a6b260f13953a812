// A connection to an HTTP server that carries one request after the other, in either version. Used by http.ts and grpc.ts.

import type { Cut, Stream, StreamHandlers, TlsCertificate } from 'anybal/monitor';
import { Http1Reader, type Http1Reading } from './http1.ts';
import { Http2Client } from './http2.ts';
import type { Question } from './http-options.ts';
import type { ResponseReader, Verdict } from './response.ts';

export class Connection implements StreamHandlers {
  /** Scheme, host and port of the URL that it was opened for. */
  readonly origin: string;
  readonly certificate: TlsCertificate | null;
  /** The server had closed it before the last request, or refused that, without having looked at it. */
  unseen = false;
  readonly #stream: Stream;
  readonly #http2: Http2Client | null;
  #reader: ResponseReader | null = null;
  /** Of the request under way. */
  #settle: ((failure: string | null) => void) | null = null;
  #forget: (() => void) | null = null;
  #open = true;
  #resting = false;
  #requests = 0;

  constructor(origin: string, stream: Stream, http2: boolean) {
    this.origin = origin;
    this.#stream = stream;
    this.#http2 = http2 ? new Http2Client() : null;
    this.certificate = stream.tls?.certificate ?? null;
    stream.on(this);
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

  /**
   * Resolves when as much of the response came as `reading` wants, or there will be no more: with what there is to say against
   * it as a response, null: nothing. Cutting ends it.
   */
  ask(question: Pick<Question, 'fields' | 'body' | 'bytes'>, reading: Http1Reading, cut: Cut): Promise<string | null> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#forget = cut.onAbort(() => this.#answer('cut short', false));
      this.#requests++;
      this.#resting = false;
      this.#reader = this.#http2 ?? new Http1Reader(reading);
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
    if (settle === null) return;
    this.#settle = null;
    this.#forget?.();
    this.unseen = unseen;
    settle(failure);
  }

  onData(bytes: Uint8Array): void {
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

  onEnd(): void {
    this.onClose(null);
  }

  onDrain(): void {}

  /** The server sends no more, or (with an error) the connection is gone. */
  onClose(error: Lost | null): void {
    const reader = this.#reader;
    if (reader !== null && this.#settle !== null) {
      const unseen = reader.untouched && this.#requests > 1;
      if (error === null && !reader.untouched) this.#answer(reader.end(), unseen);
      else this.#answer(ended(error, reader.progress), unseen);
    }
    this.close();
  }
}

interface Lost {
  readonly code: string;
  readonly message: string;
}

function ended(error: Lost | null, progress: string): string {
  if (error === null) return `closed by the server ${progress}`;
  return error.code === 'ECONNRESET' ? `reset by the server ${progress}` : `lost ${progress}: ${error.message}`;
}
