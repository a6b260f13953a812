// Octets of DNS answers to any query, as a test wants them.

export interface AnswerOptions {
  /** Instead of the query's own. */
  readonly id?: number;
  readonly rcode?: number;
  readonly authoritative?: boolean;
  readonly truncated?: boolean;
  /** RDATA of records of the type that was asked for, each with its owner compressed to the question's name. */
  readonly data?: readonly (readonly number[])[];
  /** Whole records, behind those. */
  readonly records?: readonly (readonly number[])[];
  /** QUERY when absent. */
  readonly opcode?: number;
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
  const whole = options.records ?? [];
  const flags = 0x8180 | ((options.opcode ?? 0) << 11) | rcode | (authoritative ? 0x400 : 0) | (truncated ? 0x200 : 0);
  const records = [...data.map((rdata) => recordOf([0xc0, 12], type, rdata)), ...whole];
  const questions = question.length === 0 ? 0 : 1;
  return Uint8Array.from([
    ...[id, flags, questions, records.length, 0, 0].flatMap(two),
    ...question,
    ...records.flat(),
  ]);
}

function two(value: number): readonly number[] {
  return [value >> 8, value & 255];
}

/** `group`: its class, IN when absent. */
export function recordOf(owner: readonly number[], type: number, rdata: readonly number[], group = 1): number[] {
  return [...owner, ...two(type), ...two(group), 0, 0, 0, 60, ...two(rdata.length), ...rdata];
}

/** `www.example.org` as labels. */
export function labels(name: string): number[] {
  const each = name === '.' ? [] : name.split('.');
  return [...each.flatMap((label) => [label.length, ...Buffer.from(label)]), 0];
}
