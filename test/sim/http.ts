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
    const url = new URL(request.url);
    const call = `GET ${request.url}`;
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
        } else this.#exchange(address, url, request, then, fail, (response) => finish(() => resolve(response)));
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
    address: string,
    url: URL,
    request: HttpRequest,
    then: (delayMs: number, fn: () => void) => void,
    fail: (code: string) => void,
    answer: (response: HttpResponse) => void,
  ): void {
    const roundTrip = 2 * this.#network.latency();
    const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
    const site = this.#sites.get(`${address} ${port}`);
    if (site === undefined) {
      this.#network.tally.hit('refused', 'http');
      then(roundTrip, () => fail('ECONNREFUSED'));
      return;
    }
    then(2 * roundTrip, () => {
      const reply = site({ method: 'GET', url: `${url.pathname}${url.search}`, headers: request.headers ?? {} });
      switch (reply.is) {
        case 'hang':
          return;
        case 'cut off':
          then(roundTrip, () => fail('ECONNRESET'));
          return;
        case 'response':
          then(reply.delayMs, () => {
            if (reply.response.body.length > request.maxBytes) fail('EFBIG');
            else answer(reply.response);
          });
          return;
        default:
          reply satisfies never;
      }
    });
  }
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
    return entry === undefined || !entry.life.running ? null : entry.handle(request);
  }
}
