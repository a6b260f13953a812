import { expect } from 'chai';
import fc from 'fast-check';
import { atLeast, formatRecord, isoTime, type LineStyle } from '../../../src/log/format.ts';
import type { LogLevel, LogRecord } from '../../../src/log/record.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';

const AT = isoTime(Date.UTC(2026, 4, 4, 3, 2, 1, 123));
const PLAIN: LineStyle = { format: 'text', prefix: 'none' };
const record = (text: string, level: LogLevel = 'error', system = 'text_80'): LogRecord => ({ level, system, text });

describe('A log line', () => {
  it("has PyBal's shape", () => {
    expect(formatRecord(record('Could not depool server cp1 because of too many down!'), PLAIN, AT)).to.equal(
      '[text_80] ERROR: Could not depool server cp1 because of too many down!\n',
    );
  });

  it("has PyBal's level names", () => {
    const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'critical'];
    expect(levels.map((level) => formatRecord(record('x', level, 'pybal'), PLAIN, AT))).to.deep.equal([
      '[pybal] DEBUG: x\n',
      '[pybal] INFO: x\n',
      '[pybal] WARN: x\n',
      '[pybal] ERROR: x\n',
      '[pybal] CRITICAL: x\n',
    ]);
  });

  it('has the time in front in a file', () => {
    expect(formatRecord(record('x'), { format: 'text', prefix: 'time' }, AT)).to.equal(
      '2026-05-04T03:02:01.123Z [text_80] ERROR: x\n',
    );
  });

  it('has the syslog priority in front under systemd, on continuation lines too', () => {
    const style: LineStyle = { format: 'text', prefix: 'priority' };
    expect(formatRecord(record('one\ntwo', 'warn'), style, AT)).to.equal('<4>[text_80] WARN: one\n<4>\ttwo\n');
    expect(formatRecord(record('x', 'critical'), style, AT)).to.match(/^<2>/);
    expect(formatRecord(record('x', 'debug'), style, AT)).to.match(/^<7>/);
  });

  it('indents continuation lines by a tab', () => {
    expect(formatRecord(record('one\ntwo\n\nthree\n'), PLAIN, AT)).to.equal(
      '[text_80] ERROR: one\n\ttwo\n\t\n\tthree\n',
    );
  });

  it('is JSON on request, with the fields of the record', () => {
    const line = formatRecord(
      { level: 'info', system: 'text_80', text: 'a\n"b"', data: { event: 'depooled', weight: 10 } },
      { format: 'json', prefix: 'time' },
      AT,
    );
    expect(line).to.equal(
      '{"time":"2026-05-04T03:02:01.123Z","level":"info","system":"text_80","text":"a\\n\\"b\\"","data":{"event":"depooled","weight":10}}\n',
    );
  });

  it('can not be forged or coloured by what a server answered', () => {
    expect(formatRecord(record('\x1b[2J\r[text_80] INFO: \0 \u202e'), PLAIN, AT)).to.equal(
      '[text_80] ERROR: \\x1b[2J\\x0d[text_80] INFO: \\x00 \\u202e\n',
    );
    expect(formatRecord(record('x', 'info', 'a\n[b] CRITICAL: '), PLAIN, AT)).to.equal(
      '[a\\x0a[b] CRITICAL: ] INFO: x\n',
    );
  });

  it('is always whole lines, and only ever one that does not begin with a tab', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER, maxLength: 200 }), (text) => {
        const lines = formatRecord(record(text), PLAIN, AT).split('\n');
        expect(lines.at(-1)).to.equal('');
        expect(lines.slice(0, -1).filter((line) => !line.startsWith('\t')).length).to.equal(1);
      }),
    );
  });

  it('of a very long text says how much was left out', () => {
    const line = formatRecord(record('x'.repeat(100_000)), PLAIN, AT);
    expect(line.length).to.be.below(9000);
    expect(line).to.contain('91872 more characters');
  });
});

describe('The time in a log line', () => {
  it('is what Date would print, for every millisecond of 400 years', () => {
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(1970, 0, 1), max: Date.UTC(2369, 11, 31) }), (ms) => {
        expect(isoTime(ms)).to.equal(new Date(ms).toISOString());
      }),
      { numRuns: 2000 },
    );
  });

  it('knows the leap days', () => {
    for (const day of ['2000-02-29', '2024-02-29', '2100-02-28', '2100-03-01', '1999-12-31']) {
      expect(isoTime(Date.parse(`${day}T23:59:59.999Z`))).to.equal(`${day}T23:59:59.999Z`);
    }
  });
});

describe('The levels of the log', () => {
  it('are in order of severity', () => {
    expect(atLeast('warn', 'info')).to.equal(true);
    expect(atLeast('info', 'info')).to.equal(true);
    expect(atLeast('debug', 'info')).to.equal(false);
    expect(atLeast('critical', 'error')).to.equal(true);
  });
});
