// Several questions to one server, some at a time. Used by http.ts and proxyfetch.ts.

/**
 * A check through the path has eight ports for all connections to one place (see decision/marks.ts), and other monitors of the
 * server want some.
 */
const AT_ONCE = 4;

/** What comes of each, in their order. */
export async function inTurn<T, R>(all: readonly T[], act: (one: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  const rest = all.entries();
  const worker = async () => {
    for (const [at, one] of rest) results[at] = await act(one);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, all.length) }, worker));
  return results;
}
