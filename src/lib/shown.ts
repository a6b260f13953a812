// A value from outside as JSON, for a line that somebody reads: bounded, however long or deep it is.

/** Characters. */
const MOST = 200;

export function shown(value: unknown): string {
  let text = '';
  for (const piece of pieces(value)) {
    text += piece;
    if (text.length > MOST) return `${text.slice(0, MOST)}…`;
  }
  return text;
}

/** Nobody asks for more of them than are shown, so that it goes no deeper than that. JSON.stringify throws for what is too deep. */
function* pieces(value: unknown): Generator<string> {
  if (typeof value === 'string') yield JSON.stringify(value.slice(0, MOST));
  else if (typeof value !== 'object' || value === null) yield String(value);
  else {
    const isArray = Array.isArray(value);
    yield isArray ? '[' : '{';
    let separator = '';
    for (const [key, each] of Object.entries(value)) {
      yield isArray ? separator : `${separator}${JSON.stringify(key.slice(0, MOST))}:`;
      yield* pieces(each);
      separator = ',';
    }
    yield isArray ? ']' : '}';
  }
}
