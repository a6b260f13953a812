// Configurations from text, decoded as the daemon does.

import { type Decoded, decodeConfig, type SectionTexts } from '../../src/config/decode.ts';
import { scanText } from '../../src/config/text.ts';
import type { Config } from '../../src/config/types.ts';
import { printComplaint } from '../../src/lib/errors.ts';
import { fakeMonitor } from './fake-monitor.ts';

/** Decode with the fake monitors; complaints name the file `pybal.conf`. */
export function decodeText(text: string, lastGood: SectionTexts = new Map(), strict = false): Promise<Decoded> {
  return decodeConfig(scanText(text, 'pybal.conf'), { monitor: fakeMonitor, lastGood, strict });
}

/** The configuration of a text that must be accepted without a single complaint. */
export async function configOf(text: string): Promise<Config> {
  const { config, complaints } = await decodeText(text);
  if (config === null || complaints.length > 0) throw new Error(complaints.map(printComplaint).join('\n'));
  return config;
}
