// Octets of DNS answers to any query, as a test wants them.

export interface AnswerOptions {
  /** Instead of the query's own. */
  readonly id?: number;
  readonly rcode?: number;
  readonly authoritative?: boolean;
  readonly truncated?: boolean;
  /** RDATA of records of the type that was asked for, each with its owner compressed to the question's name. */
  readonly data?: readonly (readonly number[])[];
  /** Their type, when it is another. */
  readonly type?: number;
  /** The question section; the query's own when absent. */
  readonly question?: Uint8Array;
}

/** The question section of a query. */
export function questionOf(query: Uint8Array): Uint8Array {
  let at = 12;
  while ((query[at] ?? 0) !== 0) at += 1 + (query[at] ?? 0);
  return query.slice(12, at + 5);
}

export function answerTo(query: Uint8Array, options: AnswerOptions = {}): Uint8Array {
  const { rcode = 0, authoritative = false, truncated = false, data = [], question = questionOf(query) } = options;
  const id = options.id ?? ((query[0] ?? 0) << 8) | (query[1] ?? 0);
  const asked = questionOf(query);
  const type = options.type ?? ((asked.at(-4) ?? 0) << 8) | (asked.at(-3) ?? 0);
  const flags = 0x8180 | rcode | (authoritative ? 0x400 : 0) | (truncated ? 0x200 : 0);
  const two = (value: number) => [value >> 8, value & 255];
  const records = data.flatMap((rdata) => [0xc0, 12, ...two(type), 0, 1, 0, 0, 0, 60, ...two(rdata.length), ...rdata]);
  const questions = question.length === 0 ? 0 : 1;
  return Uint8Array.from([...[id, flags, questions, data.length, 0, 0].flatMap(two), ...question, ...records]);
}

/** `www.example.org` as labels. */
export function labels(name: string): number[] {
  const each = name === '.' ? [] : name.split('.');
  return [...each.flatMap((label) => [label.length, ...Buffer.from(label)]), 0];
}
