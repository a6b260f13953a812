// The commented example etc/pybal.conf, made from the option tables, so that it can not disagree with what is read.
// Called by the test that compares the two (and writes the file when told to). Pure.

import type { MonitorModule } from '../health/monitor.ts';
import { GLOBAL_OPTIONS, SERVICE_OPTIONS } from './options.ts';
import { PEER_OPTIONS } from './options-bgp.ts';
import type { OptionRow } from './rows.ts';
import { describeKind, printValue } from './values.ts';

const WIDTH = 100;

const INTRODUCTION = `Configuration of anybal. A pybal.conf works here as it is; this file names every option with what it accepts
and its default. Options without "PyBal" behind their kind are anybal's own.

Check a file before it is used:   anybal check -c FILE

[global] is about this director, [peer NAME] about one BGP peer, and every other section is a service. What stands
in [DEFAULT] holds for all sections that do not say otherwise. "key = value" or "key: value"; a line that begins with
a blank continues the value above it; # and ; begin a comment in the first column, ; also behind a value and a blank.
A per cent sign is written %%, and %(key)s stands for another key of the section. Lists are Python's: [ 'a', 'b' ].

A section that can not be used is named with its line and runs on as it was last good; the others are not affected.`;

/** The example file. Only [global] is there, switched off: everything else is in comments. */
export function printExample(modules: readonly MonitorModule[]): string {
  const monitors = modules.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return [
    comment(INTRODUCTION),
    '',
    '[global]',
    ...GLOBAL_OPTIONS.map((row) => option(row)),
    heading('A BGP peer with settings of its own, any number of times. Under another name it is another peer.'),
    '#[peer 192.0.2.1]',
    ...PEER_OPTIONS.map((row) => option(row)),
    heading('A service. The name in the brackets is the name of its pool.'),
    '#[text_80]',
    ...SERVICE_OPTIONS.map((row) => option(row)),
    ...monitors.flatMap((module) => [
      heading(`Options of the monitor ${module.name}, in the sections of the services that use it (or in [DEFAULT]).`),
      ...module.options.map((row) => option(row, `${module.name.toLowerCase()}.`)),
    ]),
    '',
  ].join('\n');
}

/** Documentation, kind and default of one option as comments, and the option itself as one would switch it on. */
function option(row: OptionRow, prefix = ''): string {
  const kind = describeKind(row) + (row.pybal === undefined ? '' : `; PyBal ${row.pybal}`);
  const shown =
    row.default === undefined ? 'required' : row.default === null ? 'not set' : printValue(row, row.default);
  return `\n${comment(`${row.doc}\n${kind}. Default: ${shown}`)}\n#${prefix}${row.name} = ${exampleOf(row)}`;
}

/** A value for an option's line: its example, its default, or what its kind looks like. */
export function exampleOf(row: OptionRow): string {
  if (row.example !== undefined) return row.example;
  if (row.default !== undefined && row.default !== null) return printValue(row, row.default);
  switch (row.kind) {
    case 'int':
    case 'float':
    case 'seconds':
    case 'port':
      return String(row.min ?? row.max ?? 1);
    case 'bool':
      return 'yes';
    case 'string':
    case 'secret':
      return 'text';
    case 'path':
      return '/usr/local/bin/example';
    case 'url':
      return exampleUrl(row.schemes);
    case 'urls':
      return `[ '${exampleUrl(row.schemes)}' ]`;
    case 'address':
      return row.family === 6 ? '2001:db8::1' : '192.0.2.1';
    case 'addresses':
      return "[ '192.0.2.1', '2001:db8::1' ]";
    case 'strings':
      return "[ 'a', 'b' ]";
    case 'octets':
      return "[ 'text\\r\\n', 'hex:00ff' ]";
    case 'template':
      return "[ '-H', server.host ]";
    case 'ints':
      return String(row.min ?? row.max ?? 1);
    case 'choice':
    case 'words':
      return row.choices?.[0] ?? 'word';
    default:
      return row satisfies never;
  }
}

function exampleUrl(schemes: readonly string[]): string {
  const scheme = schemes.find((name) => name !== 'file');
  return scheme === undefined ? 'file:///etc/example' : `${scheme}://www.example.org/`;
}

function heading(text: string): string {
  return `\n\n${comment(text)}`;
}

/** Lines of comment, broken at blanks. A blank behind the # keeps them apart from options, which have none. */
function comment(text: string): string {
  return text
    .split('\n')
    .flatMap(wrap)
    .map((line) => `# ${line}`.trimEnd())
    .join('\n');
}

function wrap(text: string): readonly string[] {
  if (text.length <= WIDTH + 20) return [text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
