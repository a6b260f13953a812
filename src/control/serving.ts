// Where anybal answers: PyBal's instrumentation port and the control socket. Configured by the daemon at each reload. A place that can
// not be had now, since its address comes later at boot or somebody else has its port, is tried again until it can.

import { errorText } from '../lib/errors.ts';
import type { ServedRequest, ServedResponse, World } from '../world/world.ts';

export interface Place {
  readonly at: { readonly path: string } | { readonly address: string; readonly port: number };
  answer(request: ServedRequest): ServedResponse;
}

const RETRY_MS = 5_000;

export class Serving {
  readonly #world: Pick<World, 'clock' | 'http' | 'log'>;
  readonly #servers = new Map<string, { close(): Promise<void> }>();
  /** By place: why nobody answers there. */
  readonly #missing = new Map<string, string>();
  #wanted: ReadonlyMap<string, Place> = new Map();
  /** One after the other. */
  #work: Promise<void> = Promise.resolve();
  #cancelRetry = (): void => {};

  constructor(world: Pick<World, 'clock' | 'http' | 'log'>) {
    this.#world = world;
  }

  /** What can not be served now, with the reason. */
  get missing(): readonly string[] {
    return [...this.#missing.values()];
  }

  /** Places that stay the same stay open. Resolves when each has been tried. */
  configure(places: readonly Place[]): Promise<void> {
    this.#wanted = new Map(places.map((place) => [nameOf(place), place]));
    return this.#soon();
  }

  /** None any more. */
  close(): Promise<void> {
    return this.configure([]);
  }

  #soon(): Promise<void> {
    const open = () => this.#open();
    this.#work = this.#work.then(open, open);
    return this.#work;
  }

  async #open(): Promise<void> {
    this.#cancelRetry();
    const wanted = this.#wanted;
    for (const name of this.#missing.keys()) if (!wanted.has(name)) this.#missing.delete(name);
    for (const [name, server] of this.#servers) {
      if (wanted.has(name)) continue;
      this.#servers.delete(name);
      await server.close();
    }
    for (const [name, place] of wanted) if (!this.#servers.has(name)) await this.#openOne(name, place);
    if (this.#missing.size > 0) this.#cancelRetry = this.#world.clock.at(RETRY_MS, () => void this.#soon());
  }

  async #openOne(name: string, { at, answer }: Place): Promise<void> {
    try {
      this.#servers.set(name, await this.#world.http.serve(at, answer));
      if (this.#missing.delete(name)) this.#log('info', `Serving on ${name} now`);
    } catch (error) {
      const why = `Cannot serve on ${name}: ${errorText(error)}`;
      if (this.#missing.get(name) !== why) this.#log('error', why);
      this.#missing.set(name, why);
    }
  }

  #log(level: 'info' | 'error', text: string): void {
    this.#world.log({ level, system: 'pybal', text });
  }
}

function nameOf({ at }: Place): string {
  return 'path' in at ? at.path : `${at.address} port ${at.port}`;
}
