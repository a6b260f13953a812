// Cancellation. A Cut is what a cancellable call is given; the Knife that made it stays with the caller. An own object
// instead of AbortController because thousands of checks a second each need one, and most never look at it.

export interface Cut {
  readonly aborted: boolean;
  /** Call `fn` once when cut (at once if already so). Returns a function that forgets it. */
  onAbort(fn: () => void): () => void;
  /** The same as a standard AbortSignal, for APIs that want one; made on first use. */
  readonly signal: AbortSignal;
}

export class Knife implements Cut {
  #aborted = false;
  /** Mostly there is one. */
  #listeners: Set<() => void> | (() => void) | null = null;
  #controller: AbortController | null = null;

  get aborted(): boolean {
    return this.#aborted;
  }

  /** Cut. Listeners run synchronously, once; a second call does nothing. */
  abort(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    const listeners = this.#listeners;
    this.#listeners = null;
    this.#controller?.abort();
    if (listeners instanceof Set) for (const fn of [...listeners]) this.call(fn);
    else if (listeners !== null) this.call(listeners);
  }

  /** How a listener is called. */
  protected call(fn: () => void): void {
    fn();
  }

  onAbort(fn: () => void): () => void {
    if (this.#aborted) {
      this.call(fn);
      return () => {};
    }
    const others = this.#listeners;
    if (others === null) this.#listeners = fn;
    else if (others instanceof Set) others.add(fn);
    else this.#listeners = new Set([others, fn]);
    return () => this.#forget(fn);
  }

  #forget(fn: () => void): void {
    if (this.#listeners === fn) this.#listeners = null;
    else if (this.#listeners instanceof Set) this.#listeners.delete(fn);
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }
}

/** A Knife that is also cut when `outer` is. Call `release` when done, or the outer one keeps it alive. */
export function knifeWithin(outer: Cut): { readonly knife: Knife; readonly release: () => void } {
  const knife = new Knife();
  return { knife, release: outer.onAbort(() => knife.abort()) };
}
