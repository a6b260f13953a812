// Cuts a byte stream into messages and checks their headers (RFC 4271 §6.1). Holds at most one incomplete message.

import { HEADER_BYTES, MAX_EXTENDED_MESSAGE_BYTES, MAX_MESSAGE_BYTES, MESSAGE_BYTES } from './constants.ts';
import type { Frame } from './message.ts';
import { ProtocolError } from './notification.ts';

export class Splitter {
  #held = new Uint8Array(MAX_MESSAGE_BYTES);
  #heldLength = 0;
  #maxBytes = MAX_MESSAGE_BYTES;

  /** RFC 8654 §5: from now on larger messages are taken, because we have said that we do. */
  takeExtended(): void {
    this.#maxBytes = MAX_EXTENDED_MESSAGE_BYTES;
  }

  /**
   * The messages that `chunk` completes. A frame's body is a view, good until the generator is resumed. Throws
   * ProtocolError 1/x at the first bad header; the stream cannot be read further then.
   */
  *push(chunk: Uint8Array): Generator<Frame> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#heldLength === 0) {
        const length = chunk.length - at >= HEADER_BYTES ? checkHeader(chunk, at, this.#maxBytes) : null;
        if (length !== null && at + length <= chunk.length) {
          at += length;
          yield frame(chunk, at - length, length);
          continue;
        }
      }
      // The message straddles chunks: gather its header first, then as much as that says.
      const wanted = this.#heldLength < HEADER_BYTES ? HEADER_BYTES : this.#room();
      const count = Math.min(wanted - this.#heldLength, chunk.length - at);
      this.#held.set(chunk.subarray(at, at + count), this.#heldLength);
      this.#heldLength += count;
      at += count;
      if (this.#heldLength < HEADER_BYTES) return;
      const length = this.#room();
      if (this.#heldLength < length) continue;
      this.#heldLength = 0;
      yield frame(this.#held, 0, length);
    }
  }

  /** Length of the message whose header is held; from now on it fits. */
  #room(): number {
    const length = checkHeader(this.#held, 0, this.#maxBytes);
    if (length > this.#held.length) {
      const larger = new Uint8Array(this.#maxBytes);
      larger.set(this.#held.subarray(0, this.#heldLength));
      this.#held = larger;
    }
    return length;
  }
}

function frame(bytes: Uint8Array, at: number, length: number): Frame {
  return { type: bytes[at + HEADER_BYTES - 1] ?? 0, body: bytes.subarray(at + HEADER_BYTES, at + length) };
}

/** Length of the message whose header starts at `at`. */
function checkHeader(bytes: Uint8Array, at: number, maxBytes: number): number {
  for (let i = 0; i < 16; i++) {
    if (bytes[at + i] !== 0xff) throw new ProtocolError('headerNotSynchronized', 'marker is not all ones');
  }
  const lengthOctets = bytes.slice(at + 16, at + 18);
  const length = ((lengthOctets[0] ?? 0) << 8) | (lengthOctets[1] ?? 0);
  const type = bytes[at + 18] ?? 0;
  if (length < HEADER_BYTES || length > maxBytes) {
    throw new ProtocolError('headerBadLength', `${length} octets`, lengthOctets);
  }
  const limits = MESSAGE_BYTES[type];
  if (limits === undefined) throw new ProtocolError('headerBadType', `${type}`, new Uint8Array([type]));
  if (length < limits.min || length > (limits.max ?? maxBytes)) {
    throw new ProtocolError('headerBadLength', `${length} octets for type ${type}`, lengthOctets);
  }
  return length;
}
