// `anybal monitor test FILE`: the conformance kit on one file, and its findings as a table. Called by main.ts.

import { table } from '../cli/table.ts';
import { readValue, ValueError } from '../config/values.ts';
import { examine, type Finding, type Outside } from '../health/kit/kit.ts';
import type { MonitorModule, Sample } from '../health/monitor.ts';
import { errorText } from '../lib/errors.ts';
import { escaped } from '../log/format.ts';

export interface MonitorTest {
  readonly file: string;
  /** `option=value` each, as in a section but without the monitor's name. */
  readonly settings: readonly string[];
}

export interface MonitorTestIo {
  /** The monitor in a file, and its sample if it has one. Rejects with why it can not be used. */
  load(file: string): Promise<{ readonly module: MonitorModule; readonly sample: Sample | null }>;
  /** What is printed, with where it hangs in the middle, if the monitor never returns from what comes now. */
  lastWords(words: { readonly before: string; readonly after: string }): void;
  print(text: string): void;
  printError(text: string): void;
}

const NO_SAMPLE: Finding = {
  tried: 'its sample',
  seen: 'the file has no export `sample`: nobody can tell whether it ever finds a healthy server up',
  good: false,
};

/** The exit code: 0 it keeps to the contract, 1 it does not, 2 it can not be tried at all. */
export async function monitorTest(
  { file, settings }: MonitorTest,
  outside: Omit<Outside, 'trying'>,
  io: MonitorTestIo,
): Promise<number> {
  let title = file;
  const trying = (tried: string, found: readonly Finding[]) => {
    const findings = [...found, { tried, seen: 'BLOCKS THE EVENT LOOP:', good: false }];
    io.lastWords({ before: `${report(title, findings)} `, after: `\n${summary(findings)}` });
  };
  try {
    trying('loading it', []);
    const { module, sample } = await io.load(file);
    title = `${module.name}, ${file}`;
    const before = sample === null ? [NO_SAMPLE] : [];
    trying('its options', before);
    const options = optionsOf(module, sample?.options ?? {}, settings);
    const found = await examine(
      { module, options, sample: sample ?? {} },
      { ...outside, trying: (tried, found) => trying(tried, [...before, ...found]) },
    );
    const findings = [...before, ...found];
    io.print(`${report(title, findings)}\n${summary(findings)}`);
    return against(findings) === 0 ? 0 : 1;
  } catch (error) {
    io.printError(`anybal: ${errorText(error)}\n`);
    return 2;
  }
}

function report(title: string, findings: readonly Finding[]): string {
  return [title, ...rows(findings)].map(escaped).join('\n');
}

function summary(findings: readonly Finding[]): string {
  const bad = against(findings);
  return bad === 0 ? 'It keeps to the contract.\n' : `${bad} of ${findings.length} against the contract.\n`;
}

function against(findings: readonly Finding[]): number {
  return findings.filter(({ good }) => good === false).length;
}

export function rows(findings: readonly Finding[]): readonly string[] {
  const mark = ({ good }: Finding) => (good === null ? '-' : good ? 'ok' : 'FAILS');
  return table(
    findings.map((finding) => [mark(finding), finding.tried, finding.seen]),
    '  ',
  );
}

/** Decoded as configuration would; throws with what is wrong. */
export function optionsOf(
  module: MonitorModule,
  sample: Readonly<Record<string, string>>,
  settings: readonly string[],
): Readonly<Record<string, unknown>> {
  const given = new Map(Object.entries(sample));
  for (const setting of settings) {
    const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
    if (name === '') throw new Error(`--set ${setting}: write OPTION=VALUE`);
    given.set(name.trim(), value.trim());
  }
  for (const name of given.keys()) {
    if (!module.options.some((row) => row.name === name)) throw new Error(`${module.name} has no option ${name}`);
  }
  const options: Record<string, unknown> = {};
  for (const row of module.options) {
    const text = given.get(row.name);
    if (text === undefined && row.default === undefined)
      throw new Error(`option ${row.name} is required: give it in the sample, or by --set ${row.name}=…`);
    try {
      options[row.name] = text === undefined ? row.default : readValue(row, text);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      throw new Error(`option ${row.name}: ${error.message}`, { cause: error });
    }
  }
  for (const { option, why } of module.refuse?.(options as never) ?? []) throw new Error(`option ${option}: ${why}`);
  return options;
}
