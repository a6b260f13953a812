// What monitors say of options that they take though they do nothing, or not what was meant. See `doubt` in the contract.

export interface Doubt<N extends string> {
  readonly option: N;
  readonly why: string;
  readonly blind?: boolean;
}

/** Of each of these options, if it `is` so. */
export function idle<N extends string>(is: boolean, options: readonly N[], why: string): readonly Doubt<N>[] {
  return is ? options.map((option) => ({ option, why: `has no effect: ${why}` })) : [];
}

/** A limit that the deadline comes before. */
export function idleLatency(o: {
  readonly 'max-latency': number | null;
  readonly timeout: number;
}): readonly Doubt<'max-latency'>[] {
  const limit = o['max-latency'];
  return idle(limit !== null && limit >= o.timeout, ['max-latency'], `the timeout, ${o.timeout}, comes first`);
}

/** So many of the URLs may fail. */
export function failing<N extends string>(option: N, most: number, all: boolean, urls: number): readonly Doubt<N>[] {
  if (!all) return idle(most > 0, [option], 'only one URL is asked for in each check');
  const why = `of ${urls} ${urls === 1 ? 'URL' : 'URLs'} ${most} may fail: no server is ever down`;
  return most >= urls ? [{ option, why, blind: true }] : [];
}
