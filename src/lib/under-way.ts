// Calls that may never settle, such as those to a file system that hangs: one of a kind at a time, so that they do not pile up.

export class UnderWay<T> {
  readonly #calls = new Map<string, Promise<T>>();

  /** The call of this name that is under way, or else a new one. */
  join(name: string, start: () => Promise<T>): Promise<T> {
    const known = this.#calls.get(name);
    if (known !== undefined) return known;
    const call = start();
    this.#calls.set(name, call);
    const end = () => void this.#calls.delete(name);
    call.then(end, end);
    return call;
  }
}
