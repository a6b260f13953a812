// A hash that is the same in every process and after every restart. Pure. Not for anything that an enemy may choose.

/** FNV-1a over UTF-16 units: an integer of 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
