// Octets as text, one character from \x00 to \xff for each: what options of kind `octets` hold, and what tcp.ts and udp.ts
// compare with what comes.

/** String.fromCharCode takes its arguments on the stack. */
const CHUNK = 8192;

export function toOctets(text: string): Uint8Array {
  return Uint8Array.from(text, (octet) => octet.charCodeAt(0));
}

export function fromOctets(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return text;
}
