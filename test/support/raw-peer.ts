// A BGP peer that is nothing but bytes on a real socket: says what it is told to, well-formed or not, and keeps what it
// hears. It shares no code with src/bgp, so that a mistake there is not made here too.

import { connect, type Socket } from 'node:net';
import type { Endpoint } from '../../src/world/world.ts';

export const TYPE = { open: 1, update: 2, notification: 3, keepalive: 4, refresh: 5 } as const;

export interface Heard {
  readonly type: number;
  readonly body: readonly number[];
}

export interface OpenFields {
  readonly version?: number;
  readonly as?: number;
  readonly holdTimeSeconds?: number;
  readonly routerId?: readonly number[];
  /** Optional parameters, without their length. */
  readonly parameters?: readonly number[];
}

/** A message with an honest header, or one that lies about its length. */
export function message(type: number, body: readonly number[] = [], length = 19 + body.length): number[] {
  return [...Array.from({ length: 16 }, () => 0xff), length >> 8, length & 0xff, type, ...body];
}

export const KEEPALIVE = message(TYPE.keepalive);

/** Without fields: AS 64500, hold time 90, 192.0.2.1, no capabilities. */
export function openMessage(fields: OpenFields = {}): number[] {
  const { version = 4, as = 64500, holdTimeSeconds: hold = 90, routerId = [192, 0, 2, 1], parameters = [] } = fields;
  const fixed = [version, as >> 8, as & 0xff, hold >> 8, hold & 0xff, ...routerId];
  return message(TYPE.open, [...fixed, parameters.length, ...parameters]);
}

/** One capability in a parameter of its own. */
export function capability(code: number, ...value: readonly number[]): number[] {
  return [2, value.length + 2, code, value.length, ...value];
}

export interface UpdateFields {
  readonly withdrawn?: readonly number[];
  readonly attributes?: readonly number[];
  readonly announced?: readonly number[];
}

export function updateMessage({ withdrawn = [], attributes = [], announced = [] }: UpdateFields): number[] {
  const lengthOf = (field: readonly number[]) => [field.length >> 8, field.length & 0xff];
  return message(TYPE.update, [
    ...lengthOf(withdrawn),
    ...withdrawn,
    ...lengthOf(attributes),
    ...attributes,
    ...announced,
  ]);
}

export function attribute(flags: number, code: number, ...value: readonly number[]): number[] {
  return [flags, code, value.length, ...value];
}

const LIMIT_MS = 5_000;

export class RawPeer {
  readonly heard: Heard[] = [];
  /** The other side has ended, or reset. */
  closed = false;
  readonly #socket: Socket;
  #held: Buffer = Buffer.alloc(0);
  #tell: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('error', () => {});
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.closed = true;
        this.#tell();
      });
    }
  }

  static connect(to: Endpoint, source: string): Promise<RawPeer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: to.address, port: to.port, localAddress: source, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawPeer(socket)));
    });
  }

  say(...messages: readonly (readonly number[])[]): void {
    this.#socket.write(Uint8Array.from(messages.flat()));
  }

  /** A session like any other: OPEN and KEEPALIVE, and the speaker's own two heard. */
  async establish(fields: OpenFields = {}): Promise<void> {
    this.say(openMessage(fields), KEEPALIVE);
    await this.until('KEEPALIVE', () => this.heard.some(({ type }) => type === TYPE.keepalive));
  }

  /** Until the speaker has had its turn with an OPEN: its KEEPALIVE says so. */
  async confirm(fields: OpenFields = {}): Promise<void> {
    this.say(openMessage(fields));
    await this.until('KEEPALIVE', () => this.heard.some(({ type }) => type === TYPE.keepalive));
  }

  /** `CODE/SUBCODE [DATA]` of the NOTIFICATION, once the speaker has closed the connection after it. */
  async lastWords(): Promise<string> {
    await this.until('the end', () => this.closed);
    const said = this.heard.filter(({ type }) => type === TYPE.notification);
    return said.map(({ body: [code, subcode, ...data] }) => `${code}/${subcode} [${data.join(' ')}]`).join(', ');
  }

  stopReading(): void {
    this.#socket.pause();
  }

  readAgain(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.destroy();
  }

  until(what: string, done: () => boolean, limitMs = LIMIT_MS): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const heard = this.heard.map(({ type, body }) => `${type} [${body.slice(0, 8).join(' ')}]`).slice(-5);
        reject(new Error(`not heard in ${limitMs} ms: ${what}; heard ${heard.join(', ')}, closed ${this.closed}`));
      }, limitMs);
      this.#tell = () => {
        if (!done()) return;
        clearTimeout(timer);
        resolve();
      };
      this.#tell();
    });
  }

  #take(bytes: Buffer): void {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    let at = 0;
    while (this.#held.length - at >= 19) {
      const length = this.#held.readUInt16BE(at + 16);
      if (this.#held.length - at < length) break;
      this.heard.push({ type: this.#held[at + 18] ?? 0, body: [...this.#held.subarray(at + 19, at + length)] });
      at += length;
    }
    this.#held = this.#held.subarray(at);
    this.#tell();
  }
}
