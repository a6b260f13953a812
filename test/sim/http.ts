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
  | { readonly is: 'cut off' };

export type WebSite = (request: ServedRequest) => WebAnswer;

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
      get: (request, cut) => this.#get(host, life, names, request, cut),
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

  #get(host: Host, life: Life, names: Names, request: HttpRequest, cut: Cut): Promise<HttpResponse> {
    const call = `GET ${request.url}`;
    const url = URL.canParse(request.url) ? new URL(request.url) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) return Promise.reject(new SystemError('EINVAL', call));
    return life.promise((resolve, reject) => {
      let done = false;
      let cancelStep = (): void => {};
      let forget = (): void => {};
      const finish = (settle: () => void): void => {
        if (done) return;
        done = true;
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
        } else this.#exchange(to, address, url, request, then, fail, (response) => finish(() => resolve(response)));
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
    request: HttpRequest,
    then: (delayMs: number, fn: () => void) => void,
    fail: (code: string) => void,
    answer: (response: HttpResponse) => void,
  ): void {
    const roundTrip = 2 * this.#network.latency();
    const key = `${address} ${url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)}`;
    const headers = lowerCase(request.headers ?? {});
    const asked = { method: 'GET', url: `${url.pathname}${url.search}`, headers };
    const reply = (response: HttpResponse, delayMs: number): void =>
      then(delayMs, () => {
        if (response.body.length > request.maxBytes) fail('EFBIG');
        else answer(response);
      });
    const site = this.#sites.get(key);
    const served = this.#served.get(to);
    if (site !== undefined) then(2 * roundTrip, () => answerOf(site(asked), roundTrip, then, fail, reply));
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
}

function answerOf(
  reply: WebAnswer,
  roundTrip: number,
  then: (delayMs: number, fn: () => void) => void,
  fail: (code: string) => void,
  answer: (response: HttpResponse, delayMs: number) => void,
): void {
  switch (reply.is) {
    case 'hang':
      return;
    case 'cut off':
      then(roundTrip, () => fail('ECONNRESET'));
      return;
    case 'response':
      answer(reply.response, reply.delayMs);
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
