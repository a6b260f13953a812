// What monitors say of servers, safe for a line of the log. Used by the monitors and their libraries.

import type { Cut, Target } from 'anybal/monitor';

const MOST_QUOTED = 80;
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '"': '\\"', '\\': '\\\\' };

/** What a server sent as text: the beginning, with a question mark for what no terminal should see. */
export function printable(text: string, limit = 200): string {
  return text.slice(0, limit).replace(/[^\x20-\x7e]/g, '?');
}

/** What a server sent octet by octet: the beginning, in quotes, with escapes. */
export function quote(text: string): string {
  const start = text.slice(0, MOST_QUOTED).replace(/[^\x20-\x7e]|["\\]/g, escape);
  return `"${start}${text.length > MOST_QUOTED ? '…' : ''}"`;
}

function escape(character: string): string {
  return SHORT[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

/** The text of anything that was thrown. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Why there is no connection: time ran out, or what was thrown. `tls`: it would have been one with TLS. */
export function noConnection(thrown: unknown, cut: Cut, seconds: number, tls = false): string {
  return cut.aborted ? `no connection${tls ? ' with TLS' : ''} in ${seconds} seconds` : textOf(thrown);
}

/** As in a URL. */
export function endpoint({ address, port }: Pick<Target, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** To remember something of it by. A monitor may be asked about several ports of a server. */
export function keyOf({ host, address, port }: Target): string {
  return `${host}\n${address}\n${port}`;
}
