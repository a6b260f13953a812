// What anybal put into the kernel, on disk. IPVS has no owner tag, so it is written down before it is programmed; a boot or
// another network namespace has other tables and makes the record void. Read and written by the reconciler.

import { SystemError, errorText } from '../lib/errors.ts';
import type { ServiceKey } from '../ipvs/table.ts';
import type { Files } from '../world/world.ts';
import type { Owned } from './plan.ts';

const MAX_BYTES = 16 << 20;
export const NOTHING_OWNED: Owned = { services: new Set(), vips: new Set() };

interface OwnershipRecord {
  readonly kernelId: string;
  readonly services: readonly ServiceKey[];
  readonly vips: readonly string[];
}

export function printOwnership(kernelId: string, { services, vips }: Owned): string {
  const record: OwnershipRecord = { kernelId, services: [...services].sort(), vips: [...vips].sort() };
  return `${JSON.stringify(record, null, 1)}\n`;
}

/** Null if the text is not a record; empty if it speaks of another boot or namespace. */
export function parseOwnership(text: string, kernelId: string): Owned | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(parsed)) return null;
  if (parsed.kernelId !== kernelId) return NOTHING_OWNED;
  return { services: new Set(parsed.services), vips: new Set(parsed.vips) };
}

function isRecord(value: unknown): value is OwnershipRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { kernelId, services, vips } = value as Partial<Record<keyof OwnershipRecord, unknown>>;
  const strings = (list: unknown) => Array.isArray(list) && list.every((item) => typeof item === 'string');
  return typeof kernelId === 'string' && strings(services) && strings(vips);
}

/** `damage` says why a record that exists could not be used. */
export async function readOwnership(
  files: Files,
  path: string,
  kernelId: string,
): Promise<{ readonly owned: Owned; readonly damage: string | null }> {
  try {
    const text = new TextDecoder().decode(await files.read(path, MAX_BYTES));
    const owned = parseOwnership(text, kernelId);
    if (owned !== null) return { owned, damage: null };
    return { owned: NOTHING_OWNED, damage: `${path} is not an ownership record` };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return { owned: NOTHING_OWNED, damage: error.code === 'ENOENT' ? null : errorText(error) };
  }
}

export async function writeOwnership(files: Files, path: string, kernelId: string, owned: Owned): Promise<void> {
  await files.replace(path, new TextEncoder().encode(printOwnership(kernelId, owned)));
}
