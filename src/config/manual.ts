// The manual page docs/pybal.conf.5, made from the option tables as the commented example is (print.ts), in man(7).
// Called by the test that compares the two (and writes the file when told to). Pure.

import type { MonitorModule } from '../health/monitor.ts';
import { GLOBAL_OPTIONS, SERVICE_OPTIONS } from './options.ts';
import { PEER_OPTIONS } from './options-bgp.ts';
import { exampleOf } from './print.ts';
import type { OptionRow } from './rows.ts';
import { describeKind, printValue } from './values.ts';

const HEAD = String.raw`.\" Made from the option tables: edit those, not this.
.TH PYBAL.CONF 5 "" anybal "File formats"
.SH NAME
pybal.conf \- configuration of anybal
.SH SYNOPSIS
.I /etc/pybal/pybal.conf
.SH DESCRIPTION
The file has sections with a name in brackets, and options below them.
.B [global]
is about this director,
.BI "[peer " name ]
about one BGP peer, and every other section is a service, whose name is the name of its pool.
What stands in
.B [DEFAULT]
holds for all sections that do not say otherwise.
A configuration of PyBal works as it is.
.PP
An option is written
.BI "key = " value
or
.BI "key: " value\fR.
A line that begins with a blank continues the value above it.
# and ; begin a comment in the first column, ; also behind a value and a blank.
A per cent sign is written
.BR %% ,
and
.BI %( key )s
stands for another key of the section.
Lists are written as in Python:
.BR "[ 'a', 'b' ]" .
.PP
A peer is known by the name of its section: under another name it is another peer, with a session of its own.
A session is ended and begun again for what the OPENs say (AS numbers, router id, hold time, families, graceful restart),
for its addresses, port, TTL and
.BR passive ,
and for a first key or none; for all else it is not.
.PP
A section that can not be used is named with its line and runs on as it was last good; the others are not affected.
.BR "anybal check" " tells what is wrong with a file before it is used."
Options that no version of PyBal is named for are anybal's own.`;

const TAIL = String.raw`.SH SEE ALSO
.BR anybal (8)
`;

/** The whole page. */
export function printManual(modules: readonly MonitorModule[]): string {
  return [
    HEAD,
    ...chapter('THIS DIRECTOR: [global]', GLOBAL_OPTIONS),
    ...chapter('A BGP PEER: [peer NAME]', PEER_OPTIONS),
    ...chapter('A SERVICE', SERVICE_OPTIONS),
    ...modules
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap(({ name, options }) => chapter(`MONITOR ${name}`, options, `${name.toLowerCase()}.`)),
    TAIL,
  ].join('\n');
}

function chapter(title: string, rows: readonly OptionRow[], prefix = ''): readonly string[] {
  return [`.SH "${escape(title)}"`, ...rows.map((row) => option(row, prefix))];
}

function option(row: OptionRow, prefix: string): string {
  const facts = [
    `${describeKind(row)}.`,
    row.default === undefined
      ? 'Required.'
      : row.default === null
        ? ''
        : `Default: ${printValue(row, row.default) || '(empty)'}.`,
    row.pybal === undefined ? '' : `PyBal ${row.pybal}.`,
  ];
  const line = [capital(facts[0] ?? ''), ...facts.slice(1)].filter((fact) => fact !== '').join(' ');
  return [`.TP`, `.B ${escape(`${prefix}${row.name} = ${exampleOf(row)}`)}`, text(row.doc), '.br', text(line)].join(
    '\n',
  );
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Running text: a line that begins with a point or an apostrophe would be a request to the formatter. */
function text(words: string): string {
  return escape(words).replaceAll('\n', ' ').replace(/^[.']/, String.raw`\&$&`);
}

function escape(words: string): string {
  return words.replaceAll('\\', String.raw`\e`).replaceAll('-', String.raw`\-`).replaceAll("'", String.raw`\(aq`);
}
