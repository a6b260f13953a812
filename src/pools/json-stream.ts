// An answer that goes on, as JSON values line by line: what etcd and Kubernetes make a watch of.

import { type Cut, Knife } from '../lib/cut.ts';
import { errorText } from '../lib/errors.ts';
import type { HttpResponse } from '../world/world.ts';
import { jsonLines } from './json.ts';

type Open = (onData: (bytes: Uint8Array) => void, cut: Cut) => Promise<HttpResponse>;
type Outcome<T> = { readonly is: 'found'; readonly found: T } | { readonly is: 'failed'; readonly error: Error };

/**
 * Until `onValue` answers something else than null, which ends it and is `found`; or until the answer ends by itself: then
 * `ended` is its head. Rejects with what `onValue` throws, for lines that are no JSON or too long, and as the request does.
 */
export async function followJson<T>(
  open: Open,
  maxLineBytes: number,
  onValue: (value: unknown) => T | null,
  cut: Cut,
): Promise<{ readonly found: T } | { readonly ended: HttpResponse }> {
  const knife = new Knife();
  const forget = cut.onAbort(() => knife.abort());
  const state: { outcome: Outcome<T> | null } = { outcome: null };
  const hear = jsonLines(maxLineBytes, (value) => {
    const found = state.outcome === null ? onValue(value) : null;
    if (found !== null) state.outcome = { is: 'found', found };
  });
  const onData = (bytes: Uint8Array): void => {
    if (state.outcome !== null) return;
    try {
      hear(bytes);
    } catch (thrown) {
      state.outcome = { is: 'failed', error: new Error(errorText(thrown)) };
    }
    if (state.outcome !== null) knife.abort();
  };
  try {
    const ended = await open(onData, knife);
    if (state.outcome === null) return { ended };
  } catch (thrown) {
    if (state.outcome === null) throw thrown;
  } finally {
    forget();
  }
  if (state.outcome.is === 'failed') throw state.outcome.error;
  return { found: state.outcome.found };
}
