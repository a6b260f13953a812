// HTTP as a World hands it out, request by request: pool servers that answer (or do not) and the endpoints that a director
// serves itself. Bytes on the wire are the monitors' matter and go through network.ts.

import { SystemError } from '../../src/lib/errors.ts';
import { canonicalAddress } from '../../src/lib/address.ts';
import type { Cut } from '../../src/lib/cut.ts';
import type {
  Endpoint,
  Http,
  HttpRequest,
  HttpResponse,
  Names,
  ServedRequest,
  ServedResponse,
} from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Host, Network } from './network.ts';

/** What a web server does with a request. */
export type WebAnswer =
  | { readonly is: 'response'; readonly response: HttpResponse; readonly delayMs: number }
  /** Accepts and never answers. */
  | { readonly is: 'hang' }
  /** Closes in the middle. */
  | { readonly is: 'cut off' }
  /** Nobody listens. */
  | { readonly is: 'refused' }
  /** Goes on and on: `open` gets what sends a piece and what ends the answer; what it answers is called when the client goes. */
  | { readonly is: 'stream'; open(push: (text: string) => void, end: (broken: boolean) => void): () => void };

export type WebSite = (request: WebRequest) => WebAnswer;

export interface WebRequest extends ServedRequest {
  readonly body: string;
}

type Asked = HttpRequest & { readonly body?: string; readonly onData?: (bytes: Uint8Array) => void };
/** What was sent and is lost is sent again after this. */
const RETRANSMIT_MS = 1000;

type Handle = (request: ServedRequest) => ServedResponse | Promise<ServedResponse>;

export class Web {
  readonly #network: Network;
  readonly #sites = new Map<string, WebSite>();
  readonly #served = new Map<Host, ServedTable>();

  constructor(network: Network) {
    this.#network = network;
  }

  /** A web server of the simulation itself on an address that some host has. */
  site(at: Endpoint, site: WebSite): void {
    this.#sites.set(`${at.address} ${at.port}`, site);
  }

  remove(at: Endpoint): void {
    this.#sites.delete(`${at.address} ${at.port}`);
  }

  http(host: Host, life: Life, names: Names, served: ServedTable): Http {
    this.#served.set(host, served);
    return {
      get: (request, cut) => this.#ask(host, life, names, request, cut),
      post: (request, cut) => this.#ask(host, life, names, request, cut),
      stream: (request, onData, cut) => this.#ask(host, life, names, { ...request, onData }, cut),
      serve: (at, handle) =>
        life.promise((resolve, reject) => {
          const key = 'path' in at ? at.path : `${at.address} ${at.port}`;
          life.after(0.2, () => {
            if (served.has(key)) reject(new SystemError('EADDRINUSE', `serve ${key}`));
            else {
              const close = served.add(key, life, handle);
              resolve({ close: () => life.promise((done) => void life.after(0.1, () => (close(), done()))) });
            }
          });
        }),
    };
  }

  #ask(host: Host, life: Life, names: Names, request: Asked, cut: Cut): Promise<HttpResponse> {
    const call = `${request.body === undefined ? 'GET' : 'POST'} ${request.url}`;
    const url = URL.canParse(request.url) ? new URL(request.url) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) return Promise.reject(new SystemError('EINVAL', call));
    return life.promise((resolve, reject) => {
      let done = false;
      let cancelStep = (): void => {};
      let forget = (): void => {};
      let close = (): void => {};
      const finish = (settle: () => void): void => {
        if (done) return;
        done = true;
        close();
        cancelStep();
        cancelLimit();
        forget();
        settle();
      };
      const fail = (code: string): void => finish(() => reject(new SystemError(code, call)));
      const cancelLimit = life.after(request.timeoutMs, () => fail('ETIMEDOUT'));
      forget = cut.onAbort(() => fail('ECANCELED'));
      if (done) return;
      const then = (delayMs: number, fn: () => void): void => {
        cancelStep = this.#network.scheduler.at(delayMs, () => {
          if (!done) fn();
        });
      };
      const ask = (address: string): void => {
        const to = this.#network.at(address);
        const tally = this.#network.tally;
        if (host.connectError !== null) {
          const code = host.connectError;
          tally.hit(code, 'http');
          then(0.01, () => fail(code));
        } else if (to === undefined || !to.power) {
          tally.hit('host is off', 'http');
          then(3000, () => fail('EHOSTUNREACH'));
        } else if (!this.#network.reaches(host, to) || !this.#network.reaches(to, host)) {
          tally.hit('packets are dropped', 'http');
        } else {
          const follow = (answer: WebAnswer & { readonly is: 'stream' }): void => {
            cancelLimit();
            close = this.#follow(host, to, life, answer, request, fail, (end) => finish(() => resolve(end)));
          };
          const answer = (response: HttpResponse): void => finish(() => resolve(response));
          this.#exchange(to, address, url, request, then, fail, answer, follow);
        }
      };
      const name = url.hostname.replace(/^\[|\]$/g, '');
      const literal = canonicalAddress(name);
      if (literal !== null) ask(literal);
      else {
        names.resolve(name, 4, cut).then(
          ([first]) => (first === undefined ? fail('ENOTFOUND') : ask(first)),
          (error) => fail(error instanceof SystemError ? error.code : 'EIO'),
        );
      }
    });
  }

  #exchange(
    to: Host,
    address: string,
    url: URL,
    request: Asked,
    then: (delayMs: number, fn: () => void) => void,
    fail: (code: string) => void,
    answer: (response: HttpResponse) => void,
    follow: (answer: WebAnswer & { readonly is: 'stream' }) => void,
  ): void {
    const roundTrip = 2 * this.#network.latency();
    const key = `${address} ${url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)}`;
    const headers = lowerCase(request.headers ?? {});
    const { body = '' } = request;
    const method = request.body === undefined ? 'GET' : 'POST';
    const asked = { method, url: `${url.pathname}${url.search}`, headers, body };
    const reply = (response: HttpResponse, delayMs: number): void =>
      then(delayMs, () => {
        if (response.body.length > request.maxBytes) fail('EFBIG');
        else answer(response);
      });
    const site = this.#sites.get(key);
    const served = this.#served.get(to);
    if (site !== undefined) then(2 * roundTrip, () => answerOf(site(asked), roundTrip, then, fail, reply, follow));
    else if (served?.has(key) === true) {
      then(2 * roundTrip, () => {
        void served.ask(key, asked).then((response) => {
          if (response === null) fail('ECONNRESET');
          else reply(asReceived(response), roundTrip);
        });
      });
    } else {
      this.#network.tally.hit('refused', 'http');
      then(roundTrip, () => fail('ECONNREFUSED'));
    }
  }

  /** Pieces arrive in order, each when the path lets it through; nobody is told of a path that does not. */
  #follow(
    host: Host,
    to: Host,
    life: Life,
    answer: WebAnswer & { readonly is: 'stream' },
    request: Asked,
    fail: (code: string) => void,
    end: (response: HttpResponse) => void,
  ): () => void {
    const waiting: (() => void)[] = [];
    let cancel = (): void => {};
    let sending = false;
    let close = (): void => {};
    const send = (): void => {
      if (!life.alive) {
        waiting.length = 0;
        close();
      }
      sending = waiting.length > 0;
      if (!sending) return;
      const open = this.#network.reaches(to, host) && to.power;
      if (!open) this.#network.tally.hit('packets are dropped', 'http stream');
      cancel = this.#network.scheduler.at(open ? this.#network.latency() : RETRANSMIT_MS, () => {
        const piece = open ? waiting.shift() : undefined;
        if (piece !== undefined) life.enter(piece);
        send();
      });
    };
    const queue = (piece: () => void): void => {
      waiting.push(piece);
      if (!sending) send();
    };
    close = answer.open(
      (text) => queue(() => request.onData?.(new TextEncoder().encode(text))),
      (broken) =>
        queue(() => (broken ? fail('ECONNRESET') : end({ status: 200, headers: {}, body: new Uint8Array() }))),
    );
    return () => {
      waiting.length = 0;
      cancel();
      close();
    };
  }
}

function answerOf(
  reply: WebAnswer,
  roundTrip: number,
  then: (delayMs: number, fn: () => void) => void,
  fail: (code: string) => void,
  answer: (response: HttpResponse, delayMs: number) => void,
  follow: (answer: WebAnswer & { readonly is: 'stream' }) => void,
): void {
  switch (reply.is) {
    case 'hang':
      return;
    case 'cut off':
      then(roundTrip, () => fail('ECONNRESET'));
      return;
    case 'refused':
      fail('ECONNREFUSED');
      return;
    case 'response':
      answer(reply.response, reply.delayMs);
      return;
    case 'stream':
      then(roundTrip, () => follow(reply));
      return;
    default:
      reply satisfies never;
  }
}

function lowerCase(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function asReceived({ status, headers, body }: ServedResponse): HttpResponse {
  return { status, headers: lowerCase(headers), body: new TextEncoder().encode(body) };
}

/** What the processes of one machine serve over HTTP, by Unix path or endpoint. */
export class ServedTable {
  readonly #handlers = new Map<string, { readonly life: Life; readonly handle: Handle }>();

  has(key: string): boolean {
    return this.#handlers.get(key)?.life.alive === true;
  }

  add(key: string, life: Life, handle: Handle): () => void {
    const entry = { life, handle };
    this.#handlers.set(key, entry);
    return () => {
      if (this.#handlers.get(key) === entry) this.#handlers.delete(key);
    };
  }

  /** Ask as a client on the same machine would. Null: nobody listens. */
  async ask(key: string, request: ServedRequest): Promise<ServedResponse | null> {
    const entry = this.#handlers.get(key);
    if (entry === undefined || !entry.life.running) return null;
    try {
      return await entry.handle(request);
    } catch {
      return { status: 500, headers: {}, body: '' };
    }
  }
}
