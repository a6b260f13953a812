import { expect } from 'chai';
import fc from 'fast-check';
import { InterpolationError, interpolate, printSection, type ScannedText, scanText } from '../../../src/config/text.ts';
import { printComplaint } from '../../../src/lib/errors.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';
import { askPython } from '../../support/python.ts';

function scan(text: string): ScannedText {
  return scanText(text, 'f');
}

/** `{ section: { key: value } }`, before interpolation. */
function values(text: string): Record<string, Record<string, string>> {
  const pairs = scan(text).sections.map((section) => {
    const entries = [...section.entries].map(([key, entry]) => [key, entry.value] as const);
    return [section.name, Object.fromEntries(entries)] as const;
  });
  return Object.fromEntries(pairs);
}

function value(line: string): string | undefined {
  return values(`[s]\n${line}`)['s']?.['k'];
}

function complaints(text: string): readonly string[] {
  return scan(text).complaints.map(printComplaint);
}

describe('config/text', () => {
  describe('lines, as Python 2 reads them', () => {
    const CASES: readonly (readonly [string, string, string | undefined])[] = [
      ['an equals sign', 'k = v', 'v'],
      ['a colon', 'k: v', 'v'],
      ['whichever comes first', 'k: a = b', 'a = b'],
      ['no blanks', 'k=v', 'v'],
      ['key case', 'K = V', 'V'],
      ['blanks behind', 'k = v \t', 'v'],
      ['a carriage return', 'k = v\r', 'v'],
      ['an inline comment', 'k = v ;c', 'v'],
      ['a tab before the comment', 'k = v\t; c', 'v'],
      ['a semicolon without a blank', 'k = a;b', 'a;b'],
      ['only the first semicolon is looked at', 'k = a;b ;c', 'a;b ;c'],
      ['a semicolon at the start', 'k = ;c', ';c'],
      ['and a blank at the end', 'k = ;c ', ''],
      ['a hash behind the value', 'k = v # c', 'v # c'],
      ['a fragment', 'k = http://h/#f', 'http://h/#f'],
      ['nothing', 'k =', ''],
      ['two double quotes', 'k = ""', ''],
      ['quotes stay', "k = 'v'", "'v'"],
      ['a continuation', 'k = a\n b', 'a\nb'],
      ['a continuation behind blank lines and comments', 'k = a\n\n# c\n\tb', 'a\nb'],
      ['an indented comment continues', 'k = a\n # c', 'a\n# c'],
      ['no inline comment in a continuation', 'k = a\n b ;c', 'a\nb ;c'],
      ['an empty first line', 'k =\n a', '\na'],
      ['a comment with #', '#k = v', undefined],
      ['a comment with ;', ';k = v', undefined],
      ['rem', 'rem k = v', undefined],
      ['Rem and a tab', 'Rem\tk', undefined],
      ['rem as the start of a word', 'k = v\nremx = 1', 'v'],
      ['the last of two', 'k = a\nK: b', 'b'],
      ['a per cent sign', 'k = 5%%', '5%%'],
      ['a byte order mark is nothing', 'k = v', 'v'],
    ];
    for (const [title, text, expected] of CASES) it(title, () => expect(value(text)).to.equal(expected));

    it('a byte order mark does not hide the first section', () => {
      expect(values('\ufeff[s]\nk = v')).to.deep.equal({ s: { k: 'v' } });
    });

    it('a header may be followed by anything, but nothing stands before it', () => {
      expect(values('[s] # note\nk = v')).to.deep.equal({ s: { k: 'v' } });
      expect(complaints('[s]\n [t]')).to.deep.equal([
        'f:2: [s] neither a comment, a [section], nor “key = value”: [t]',
      ]);
    });

    it('[DEFAULT] is inherited, wherever it stands, and known to be', () => {
      const { sections, defaults } = scan('[s]\na = 1\n[DEFAULT]\na = 0\nb = 2');
      expect([...(sections[0]?.entries ?? [])]).to.deep.equal([
        ['a', { value: '1', lines: [2], inherited: false }],
        ['b', { value: '2', lines: [5], inherited: true }],
      ]);
      expect(defaults.line).to.equal(3);
      expect(sections).to.have.length(1);
    });

    it('sections keep their order and their case, numbers too', () => {
      expect(scan('[b]\n[80]\n[B]\n[1]').sections.map((section) => section.name)).to.deep.equal(['b', '80', 'B', '1']);
    });

    it('every line of a value has its number', () => {
      expect(scan('[s]\nk = [\n# c\n  1,\n\n  2 ]').sections[0]?.entries.get('k')?.lines).to.deep.equal([2, 4, 6]);
    });
  });

  describe('what ini alone would misread', () => {
    const text = [
      '[api.example.org]',
      'colon: one',
      'list = [ 1,',
      '  2 ]',
      'command = a;b',
      'fragment = http://h/#f',
      'url[] = x',
      'true = true',
      'json = \'{"a":1}\'',
      '__proto__ = p',
      'null = null',
      'backslash = \\\\;\\#',
      'separator = a\u2028b\u2029c',
      '[__proto__]',
      'k = v',
      '[a\\.b]',
      'k = v',
      '[constructor]',
      'k = "quoted"',
    ].join('\n');

    it('is kept', () => {
      const got = scan(text).sections.map(({ name, entries }) => [name, [...entries].map(([k, e]) => [k, e.value])]);
      expect(got).to.deep.equal([
        [
          'api.example.org',
          [
            ['colon', 'one'],
            ['list', '[ 1,\n2 ]'],
            ['command', 'a;b'],
            ['fragment', 'http://h/#f'],
            ['url[]', 'x'],
            ['true', 'true'],
            ['json', '\'{"a":1}\''],
            ['__proto__', 'p'],
            ['null', 'null'],
            ['backslash', '\\\\;\\#'],
            ['separator', 'a\u2028b\u2029c'],
          ],
        ],
        ['__proto__', [['k', 'v']]],
        ['a\\.b', [['k', 'v']]],
        ['constructor', [['k', '"quoted"']]],
      ]);
    });
  });

  describe('what can not be read', () => {
    it('text before the first section refuses the file, with its line', () => {
      expect(scan('# c\n\nk = v\n[s]').refused).to.equal(true);
      expect(complaints('# c\n\nk = v\n[s]')).to.deep.equal(['f:3: text before the first [section]: k = v']);
    });

    for (const [what, text] of [
      ['nothing', ''],
      ['blanks', ' \n\t\n'],
      ['comments', '# [s]\n; [s]\nrem [s]'],
    ] as const)
      it(`a file of ${what} has no section and is refused`, () => {
        expect(scan(text).refused).to.equal(true);
        expect(complaints(text)).to.deep.equal(['f:1: the file has no [section] at all']);
      });

    it('a bad line breaks its own section, one in [DEFAULT] all', () => {
      const broken = (text: string) => scan(text).sections.map((section) => section.broken);
      expect(broken('[a]\nfoo\n[b]\nk = v')).to.deep.equal([true, false]);
      expect(broken('[a]\n[DEFAULT]\nfoo\n[b]')).to.deep.equal([true, true]);
    });

    it('every bad line is named', () => {
      expect(complaints('[a]\nfoo\n[]\n= v')).to.deep.equal([
        'f:2: [a] neither a comment, a [section], nor “key = value”: foo',
        'f:3: [a] neither a comment, a [section], nor “key = value”: []',
        'f:4: [a] neither a comment, a [section], nor “key = value”: = v',
      ]);
    });

    it('duplicates are warned of', () => {
      expect(complaints('[a]\nk = 1\n[b]\n[a]\nK = 2')).to.deep.equal([
        'f:4: warning: [a] the section began in line 1 already: both are one section',
        'f:5: warning: [a] k: given in line 2 already: the last one counts',
      ]);
    });
  });

  describe('interpolation', () => {
    const of = (text: string) => {
      const section = scan(text).sections[0];
      return section === undefined ? '' : interpolate(section, section.entries.get('k')?.value ?? '');
    };

    it('replaces keys of the section and of [DEFAULT], in any case, and the section name', () => {
      expect(of('[DEFAULT]\nd = D\n[s]\na = A\nk = %(a)s-%(D)s-%(__name__)s-%%')).to.equal('A-D-s-%');
    });

    it('goes through several levels', () => {
      expect(of('[s]\na = 1%%\nb = %(a)s%(a)s\nk = %(b)s')).to.equal('1%1%');
    });

    const ERRORS: readonly (readonly [string, string, RegExp])[] = [
      ['a lone per cent sign', 'k = 5%', /literal % is written %%/],
      ['an escaped URL', 'k = http://a/%20b', /literal % is written %%/],
      ['an unclosed reference', 'k = %(a', /literal % is written %%/],
      ['a reference without s', 'k = %(a)d', /literal % is written %%/],
      ['an unknown key', 'k = %(x)s', /%\(x\)s: this section has no key x/],
      ['itself', 'k = %(k)s', /more than 10 deep/],
      ['a circle', 'k = %(a)s\na = %(b)s\nb = %(a)s', /more than 10 deep/],
    ];
    for (const [title, lines, message] of ERRORS)
      it(`${title} is an error`, () => expect(() => of(`[s]\n${lines}`)).to.throw(InterpolationError, message));

    it('can not be made to grow without bound', () => {
      const levels = Array.from({ length: 9 }, (_, i) => `k${i} = ${`%(k${i + 1})s`.repeat(20)}`);
      const bomb = `[s]\n${levels.join('\n')}\nk9 = ${'x'.repeat(100)}\nk = %(k0)s`;
      expect(() => of(bomb)).to.throw(InterpolationError, /longer than 65536/);
    });
  });

  it('never throws, whatever the text, and a section printed reads the same again', () => {
    const piece = fc.constantFrom('[s]', '[t]', '\n', '\n ', ' ', '=', ':', ';', '#', '""', '%', 'rem', 'k', '[', ']');
    const text = fc.array(fc.oneof(piece, fc.string({ maxLength: 3, unit: ANY_CHARACTER })), { maxLength: 20 });
    fc.assert(
      fc.property(text, (pieces) => {
        for (const section of scan(`[s]\n${pieces.join('')}`).sections) {
          const again = scan(printSection(section)).sections[0];
          const plain = (one: typeof section) => [...one.entries].map(([key, entry]) => [key, entry.value]);
          expect(again?.name).to.equal(section.name);
          expect(again === undefined ? null : plain(again)).to.deep.equal(plain(section));
        }
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it("reads what Python's configparser reads, where Python 2 and 3 agree", () => {
    // Not in the common ground: inline comments, `""`, indented comments, rem, blank lines inside a value.
    const word = fc.constantFrom(
      'v',
      'http://h/a#b',
      "[ 'x',",
      '%%',
      '%(a)s',
      '%(b)s',
      '%(none)s',
      'ä',
      'true',
      '\\',
      '=:',
    );
    const line = fc.oneof(
      fc.constantFrom('[s]', '[t.u]', '[80]', '[DEFAULT]', '# c', '; c', ''),
      fc
        .tuple(
          fc.constantFrom('a', 'B', 'b c', 'x[]', 'k.l'),
          fc.constantFrom('=', ' = ', ':', ': '),
          fc.array(word, { minLength: 1, maxLength: 3 }),
          fc.array(word, { maxLength: 2 }),
        )
        .map(([key, sign, first, more]) => [`${key}${sign}${first.join(' ')}`, ...more].join('\n  ')),
    );
    const texts = fc
      .sample(fc.array(line, { minLength: 1, maxLength: 12 }), { numRuns: 600, seed: 7 })
      .map((lines) => ['[s]', ...lines].join('\n'));
    const program = `
import configparser, json, sys
def read(text):
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(text)
    def get(section, key):
        try:
            return parser.get(section, key)
        except configparser.InterpolationError:
            return None
    return [[s, sorted([k, get(s, k)] for k in parser.options(s))] for s in parser.sections()]
print(json.dumps([read(text) for text in json.load(sys.stdin)]))`;
    const expected = askPython(program, texts) as readonly unknown[];
    expect(expected).to.have.length(600);
    for (const [i, text] of texts.entries()) {
      const got = scan(text).sections.map((section) => {
        const entries = [...section.entries].map(([key, entry]) => [key, interpolated(section, entry.value)] as const);
        return [section.name, entries.toSorted(([a], [b]) => (a < b ? -1 : 1))];
      });
      expect(got, text).to.deep.equal(expected[i]);
    }
  });
});

function interpolated(section: ScannedText['defaults'], text: string): string | null {
  try {
    return interpolate(section, text);
  } catch (error) {
    if (error instanceof InterpolationError) return null;
    throw error;
  }
}
