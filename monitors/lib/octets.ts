// Octets as text, one character from \x00 to \xff for each: what options of kind `octets` hold, and what tcp.ts and udp.ts
// compare with what comes.

/** String.fromCharCode takes its arguments on the stack. */
const CHUNK = 8192;
const MOST_QUOTED = 80;
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '"': '\\"', '\\': '\\\\' };

export function toOctets(text: string): Uint8Array {
  return Uint8Array.from(text, (octet) => octet.charCodeAt(0));
}

export function fromOctets(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return text;
}

/** Safe for a line of the log: the beginning, in quotes, with escapes. */
export function quote(text: string): string {
  const start = text.slice(0, MOST_QUOTED).replace(/[^\x20-\x7e]|["\\]/g, escape);
  return `"${start}${text.length > MOST_QUOTED ? '…' : ''}"`;
}

function escape(character: string): string {
  return SHORT[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
