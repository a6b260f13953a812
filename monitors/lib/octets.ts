// Octets as text, one character from \x00 to \xff for each: what options of kind `octets` hold, and what tcp.ts and udp.ts
// compare with what comes. And octets that came in pieces.

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

/** A copy of all of them, in one piece. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
