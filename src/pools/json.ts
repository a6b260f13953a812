// JSON from strangers: looked at, never believed. Pure. Used by the sources that speak it, and for the list that is kept on disk.

import { joined } from '../lib/bytes.ts';

/** An object, not an array. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function objectIn(value: unknown, key: string): JsonObject {
  const found = isObject(value) ? value[key] : undefined;
  return isObject(found) ? found : {};
}

export function arrayIn(value: unknown, key: string): readonly unknown[] {
  const found: unknown = isObject(value) ? value[key] : undefined;
  return Array.isArray(found) ? (found as readonly unknown[]) : [];
}

/** Empty when it is absent or something else. */
export function textIn(value: unknown, key: string): string {
  const found = isObject(value) ? value[key] : undefined;
  return typeof found === 'string' ? found : '';
}

/** Undefined: not JSON. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

/** Values that come one per line, in pieces of any size. Throws when a line is no JSON, or longer than `maxBytes`. */
export function jsonLines(maxBytes: number, onValue: (value: unknown) => void): (bytes: Uint8Array) => void {
  let pieces: Uint8Array[] = [];
  let length = 0;
  return (bytes) => {
    let rest = bytes;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = joined([...pieces, rest.subarray(0, end)]);
      pieces = [];
      length = 0;
      rest = rest.subarray(end + 1);
      if (line.length > maxBytes) throw new Error(`a line of more than ${maxBytes} bytes`);
      if (line.every((byte) => byte <= 32)) continue;
      const value = parseJson(line);
      if (value === undefined) throw new Error('a line that is not JSON');
      onValue(value);
    }
    length += rest.length;
    if (length > maxBytes) throw new Error(`a line of more than ${maxBytes} bytes`);
    if (rest.length > 0) pieces.push(rest);
  };
}
