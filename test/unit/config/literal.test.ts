import { expect } from 'chai';
import fc from 'fast-check';
import { dictGet, type Literal, LiteralError, parseLiteral, printLiteral } from '../../../src/config/literal.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';
import { askPython } from '../../support/python.ts';

/** A literal as the JSON-like value that it stands for; floats are marked, because 1.0 is not 1 in Python. */
function plain(literal: Literal): unknown {
  switch (literal.is) {
    case 'string':
    case 'int':
    case 'bool':
      return literal.value;
    case 'float':
      return { float: literal.value };
    case 'none':
      return null;
    case 'list':
      return literal.items.map(plain);
    case 'dict': {
      const entries = new Map(literal.entries.map(([key, value]) => [JSON.stringify(plain(key)), plain(value)]));
      return { dict: [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1)) };
    }
    case 'name':
      return { name: literal.name };
    default:
      return literal satisfies never;
  }
}

const GOOD: readonly string[] = [
  "'abc'",
  '"abc"',
  "u'abc'",
  'U"abc"',
  "r'a\\n'",
  "r'a\\''",
  "''",
  "'''a'b\nc'''",
  '"""a"b"""',
  "'a' 'b'",
  "[ 'a'\n 'b' ]",
  "'a' \\\n'b'",
  "'it\\'s'",
  '"say \\"x\\""',
  "'\\n\\t\\r\\a\\b\\f\\v\\\\'",
  "'\\x41\\101\\0\\u00e9\\U0001F600'",
  "'\\q\\/'",
  "'a\\\nb'",
  "'ä€😀'",
  '0',
  '00',
  '7',
  '+7',
  '-7',
  '-0',
  '0x1F',
  '0o17',
  '0b101',
  '1.',
  '.5',
  '1.50',
  '1e3',
  '1E-2',
  '-1.5e+3',
  '10.0',
  'True',
  'False',
  'None',
  '[]',
  '[ ]',
  '[1]',
  '[1,]',
  "[ 'a', 'b', ]",
  '[[1, [2]], []]',
  '{}',
  "{ 'host': 'a', 'weight': 10, 'enabled': True }",
  "{'host':'a','weight':10,'enabled':True,}",
  "{ 'a': 1, 'a': 2 }",
  "{ 1: 'x', None: 'y' }",
  "['a', # comment\n 'b'] # end",
  "\n\n ['a']\n",
  '[ 1,\n\n 2 ]',
];

const BAD: readonly (readonly [string, RegExp])[] = [
  ['', /nothing there/],
  ['  # only a comment', /nothing there/],
  ['abc', /abc means nothing here \(a string needs quotes\)/],
  ['true', /true is not Python, write True/],
  ['null', /null is not Python, write None/],
  ["'abc", /not closed with '/],
  ["'a\nb'", /not closed with '/],
  ['"abc\'', /not closed with "/],
  ["'''abc'", /not closed with '''/],
  ['[1, 2', /\[ is never closed/],
  ["{'a': 1", /\{ is never closed/],
  ['[1 2]', /expected a comma or \], found “2”/],
  ['[1,,2]', /unexpected “,”/],
  ['[,]', /unexpected “,”/],
  ["{'a' 1}", /expected a colon, found “1”/],
  ["{'a'}", /expected a colon, found “}”/],
  ['{[1]: 2}', /a list can not be a key/],
  ['{1, 2}', /expected a colon/],
  ['(1, 2)', /a tuple is not taken here/],
  ['1 2', /unexpected “2” after the value/],
  ["'a'\n'b'", /unexpected “'” after the value/],
  ['1 + 1', /unexpected “\+” after the value/],
  ["'a' + 'b'", /unexpected “\+” after the value/],
  ["'%s' % x", /unexpected “%” after the value/],
  ['__import__("os")', /__import__ means nothing/],
  ['dict(a=1)', /dict means nothing/],
  ['[x for x in y]', /x means nothing/],
  ['lambda: 1', /lambda means nothing/],
  ['server.host', /server\.host means nothing here/],
  ['010', /leading zeros are ambiguous/],
  ['1abc', /not a number/],
  ['0x', /not a number/],
  ['1_000', /not a number/],
  ['99999999999999999999', /too large/],
  ['1e999', /too large/],
  ["'\\x4'", /\\x needs 2 hexadecimal digits/],
  ["'\\U00110000'", /\\U needs 8 hexadecimal digits/],
  ['-', /unexpected “-”/],
  ['-True', /unexpected “-”/],
  ['['.repeat(33), /nested more than 32 deep/],
  ['['.repeat(100_000), /nested more than 32 deep/],
];

describe('config/literal', () => {
  it("means what Python's literal_eval means", () => {
    const program = `
import ast, json, sys
def plain(v):
    if isinstance(v, float): return {'float': v}
    if isinstance(v, list): return [plain(i) for i in v]
    if isinstance(v, dict):
        return {'dict': sorted([json.dumps(plain(k), ensure_ascii=False), plain(i)] for k, i in v.items())}
    return v
print(json.dumps([plain(ast.literal_eval(text.strip())) for text in json.load(sys.stdin)]))`;
    const expected = askPython(program, GOOD) as readonly unknown[];
    for (const [i, text] of GOOD.entries()) expect(plain(parseLiteral(text)), text).to.deep.equal(expected[i]);
  });

  it("reads Python 2's long numbers", () => {
    expect(parseLiteral('10L')).to.deep.equal({ is: 'int', value: 10 });
  });

  for (const [text, message] of BAD)
    it(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => {
      expect(() => parseLiteral(text)).to.throw(LiteralError, message);
    });

  it('takes exactly the names that it is told', () => {
    const names = ['server.host'];
    expect(plain(parseLiteral("[ '-H', server.host ]", { names }))).to.deep.equal(['-H', { name: 'server.host' }]);
    for (const text of ['server', 'server.ip', 'server.host.x', 'xserver.host', 'server.host()', 'server.host[0]'])
      expect(() => parseLiteral(text, { names }), text).to.throw(LiteralError);
  });

  it('says where it stopped', () => {
    const at = (text: string) => {
      try {
        parseLiteral(text);
      } catch (error) {
        if (error instanceof LiteralError) return error.at;
      }
      return null;
    };
    expect(at("[ 'a',\n  b ]")).to.equal(9);
    expect(at("[ 'a', 'b")).to.equal(7);
  });

  it('finds the last value of a key', () => {
    const dict = parseLiteral("{ 'a': 1, 'b': 2, 'a': 3, 4: 5 }");
    if (dict.is !== 'dict') throw new Error('not a dict');
    expect([dictGet(dict, 'a'), dictGet(dict, '4'), dictGet(dict, 'constructor')]).to.deep.equal([
      { is: 'int', value: 3 },
      undefined,
      undefined,
    ]);
  });

  const { literal } = fc.letrec<{ literal: Literal }>((tie) => ({
    literal: fc.oneof(
      { maxDepth: 4 },
      fc.string({ unit: 'grapheme' }).map((value): Literal => ({ is: 'string', value })),
      fc.string({ unit: ANY_CHARACTER }).map((value): Literal => ({ is: 'string', value })),
      fc.maxSafeInteger().map((value): Literal => ({ is: 'int', value })),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value): Literal => ({ is: 'float', value })),
      fc.boolean().map((value): Literal => ({ is: 'bool', value })),
      fc.constant<Literal>({ is: 'none' }),
      fc.constant<Literal>({ is: 'name', name: 'server.host' }),
      fc.array(tie('literal'), { maxLength: 4 }).map((items): Literal => ({ is: 'list', items })),
      fc
        .array(
          fc.tuple(
            fc.string().map((value): Literal => ({ is: 'string', value })),
            tie('literal'),
          ),
          { maxLength: 3 },
        )
        .map((entries): Literal => ({ is: 'dict', entries })),
    ),
  }));

  it('reads back what it prints', () => {
    fc.assert(
      fc.property(literal, (value) => {
        expect(parseLiteral(printLiteral(value), { names: ['server.host'] })).to.deep.equal(value);
      }),
      { numRuns: 500, seed: 2 },
    );
  });

  it('throws nothing but LiteralError, whatever the text', () => {
    const piece = fc.constantFrom(
      "'",
      '"',
      '[',
      ']',
      '{',
      '}',
      ':',
      ',',
      '\\',
      '\\x',
      'u',
      '1',
      '.',
      'e',
      '-',
      '#',
      '\n',
      ' ',
    );
    const text = fc.array(fc.oneof(piece, fc.string({ maxLength: 2, unit: ANY_CHARACTER })), { maxLength: 15 });
    fc.assert(
      fc.property(text, (pieces) => {
        try {
          parseLiteral(pieces.join(''), { names: ['server.host'] });
        } catch (error) {
          expect(error).to.be.instanceOf(LiteralError);
        }
      }),
      { numRuns: 2000, seed: 3 },
    );
  });
});
