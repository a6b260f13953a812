import { expect } from 'chai';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { expectDigest, expectJson, expectPattern, expectText, NoExpectation } from '../../../../monitors/lib/expect.ts';
import { compilePattern, type Pattern, PatternError } from '../../../../monitors/lib/pattern.ts';
import { sha256 } from '../../../../monitors/lib/sha256.ts';

const body = (text: string, cut = false) => ({ bytes: new TextEncoder().encode(text), cut });

describe('A pattern', () => {
  const noTable = () => null;

  for (const [source, flags, texts] of [
    ['a', '', ['a', 'xax', 'b', '']],
    ['', '', ['', 'x']],
    ['^ok$', '', ['ok', 'ok\n', 'not ok', 'x\nok']],
    ['^ok$', 'm', ['x\nok\ny', 'x\r\nok\r\ny', 'xok']],
    ['a.c', '', ['abc', 'a\nc', 'ac']],
    ['a.c', 's', ['a\nc']],
    ['STATUS', 'i', ['status', 'Status', 'stat']],
    ['[^a-c]x', 'i', ['ax', 'BX', 'dX']],
    ['(foo|bar|)+baz', '', ['foobarbaz', 'baz', 'ba']],
    ['x{2,3}y', '', ['xy', 'xxy', 'xxxxy']],
    ['^x{3}$', '', ['xx', 'xxx', 'xxxx']],
    ['^x{2,}$', '', ['x', 'xx', 'xxxxx']],
    ['(a*)*b', '', ['aaaa', 'aaab']],
    ['(a|aa)+$', '', ['aaaaX', 'aaaa']],
    ['a??b+?', '', ['b', 'a']],
    ['\\bup\\b', '', ['is up.', 'upper', 'up']],
    ['\\Bup', '', ['up', 'cup']],
    ['\\d+\\s\\w+\\D\\S\\W', '', ['12 ab-c!', '12ab']],
    ['"status":\\s*"(green|yellow)"', '', ['{"status": "green"}', '{"status":"red"}']],
    ['{"a":{}}', '', ['{"a":{}}', '{}']],
    ['[\\]\\-x]', '', [']', '-', 'x', 'y']],
    ['[a-]|[\\d-x]', '', ['-', '5', 'x', 'b']],
    ['[]', '', ['', 'a']],
    ['[^]', '', ['', '\n']],
    ['\\x41\\u00e9\\t\\0\\/', '', ['Aé\t\0/', 'Aé']],
    ['é+', '', ['café', 'cafe']],
    ['[α-ω]\\B[^Ā-\\uffff]', '', ['αa', 'α!', 'ωĀ', 'ϊ a', '\uffffα-', 'βé']],
    ['straße|ÀB|Ж', 'i', ['STRAßE', 'àb', 'ж', 'з']],
    ['^\\s*\\u2028', 'm', ['a\u2028', 'a\n\u3000\u2028', '\u2029\u2028']],
    ['(?:a)(?<name>b)', '', ['ab', 'ba']],
    ['[\\D]', '', ['5', 'x']],
  ] as const) {
    it(`/${source}/${flags} finds what JavaScript's own finds`, () => {
      const written = flags === '' ? source : `(?${flags})${source}`;
      const theirs = new RegExp(source, flags);
      for (const ours of [compilePattern(written), compilePattern(written, noTable)])
        for (const text of texts) expect(ours.test(text), text).to.equal(theirs.test(text));
    });
  }

  it('finds what JavaScript finds, also where nobody would have thought of it', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '[ab]',
      '[^a]',
      '\\w',
      '\\b',
      '^',
      '$',
      '(a|b)',
      '(ab)',
      '(a*)',
      '(b|)',
      '()',
    );
    const sign = fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{0,2}', '{1,}', '*?', '{0}');
    const piece = fc.tuple(atom, sign).map(([a, s]) => (/^(\\b|\^|\$)$/.test(a) ? a : a + s));
    const sequence = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(''));
    const group = fc.tuple(sequence, sequence, sign).map(([a, b, s]) => `(${a}|${b})${s}`);
    const source = fc.array(fc.oneof(sequence, group), { maxLength: 3 }).map((parts) => parts.join(''));
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'A', '\n', '-', 'é'), maxLength: 8 });
    fc.assert(
      fc.property(source, text, fc.constantFrom('', 'i', 'm', 's'), (pattern, given, flags) => {
        const written = flags === '' ? pattern : `(?${flags})${pattern}`;
        const theirs = new RegExp(pattern, flags).test(given);
        expect(compilePattern(written, noTable).test(given), 'without a table').to.equal(theirs);
        expect(compilePattern(written).test(given)).to.equal(theirs);
      }),
      { seed: 1968, numRuns: 3000 },
    );
  });

  it('takes no time to speak of where going back would take for ever', () => {
    const start = performance.now();
    for (const source of ['(a*)*b', '(a|a)*b', '(a|aa)+$', '(.*)(.*)(.*)(.*)x', '(x+x+)+y', 'a?'.repeat(30)]) {
      compilePattern(source).test('a'.repeat(20_000));
      compilePattern(source, noTable).test('a'.repeat(20_000));
    }
    expect(performance.now() - start).to.be.lessThan(3000);
  });

  it('mostly is a table, in which a character is one look, whatever the pattern is', () => {
    const text = 'a'.repeat(1 << 20);
    const plain = compilePattern('b');
    const timed = (pattern: Pattern) => {
      const times = [1, 2, 3].map(() => {
        const start = performance.now();
        expect(pattern.test(text)).to.equal(false);
        return performance.now() - start;
      });
      return Math.min(...times);
    };
    for (const source of [
      '(a?){20}b',
      '(?:a|aa|aaa|aaaa|aaaaa|aaaaaa)*b',
      '(.*a){8}.*b',
      '(?i)\\bALL\\s+(is|are)\\s+(well|ok)\\b',
    ])
      expect(timed(compilePattern(source)), source).to.be.below(4 * timed(plain) + 30);
  });

  it('is no table when that would be large, which is known before long', () => {
    const start = performance.now();
    for (const source of ['a.{0,50}b', '(a|b)*a(a|b){20}c', 'a{999}'])
      expect(compilePattern(source), source).to.have.property('isTable', false);
    expect(performance.now() - start).to.be.below(1500);
  });

  for (const [source, why] of [
    ['(a', /a \( that is not closed/],
    ['a)', /a \) that closes nothing/],
    ['[a', /a \[ that is not closed/],
    ['*a', /nothing to repeat, at character 2/],
    ['a**', /a repetition of a repetition/],
    ['^*', /nothing to repeat/],
    ['a{3,2}', /more than its most/],
    ['a{1001}', /more than 1000 repetitions/],
    ['(a{1000}){2}', /more than 1000 steps/],
    ['((((){1000}){1000}){1000}){1000}', /too much of nothing/],
    ['(a)\\1', /going back .* could take for ever/],
    ['a(?=b)', /looking around could take for ever/],
    ['(?<!b)a', /looking around/],
    ['\\p', /a backslash that means nothing/],
    ['\\', /a backslash that means nothing/],
    ['[z-a]', /runs backwards/],
    ['(?x)a', /a \? that means nothing/],
    ['('.repeat(200), /more than 100 brackets/],
  ] as const) {
    it(`${source.slice(0, 40)} is refused with its reason`, () => {
      expect(() => compilePattern(source)).to.throw(PatternError, why);
    });
  }

  it('is made or refused, whatever is written', () => {
    const any = fc.string({ unit: fc.constantFrom(...'ab(){}[]*+?|^$.\\-,:<=!129dwx'), maxLength: 30 });
    fc.assert(
      fc.property(any, (source) => {
        try {
          compilePattern(source).test('ab12');
        } catch (error) {
          expect(error).to.be.instanceOf(PatternError);
        }
      }),
      { seed: 7, numRuns: 3000 },
    );
  });
});

describe('SHA-256', () => {
  it("is what Node's is, around each edge of a block", () => {
    for (const length of [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 70_000]) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 7) % 251);
      expect(sha256(bytes), String(length)).to.equal(createHash('sha256').update(bytes).digest('hex'));
    }
  });
});

describe('What is expected of a body', () => {
  it('is a text', () => {
    expect(expectText('grün')(body('alles grün'))).to.equal(null);
    expect(expectText('OK')(body('<html>\nError'))).to.equal(
      'expected “OK” in the body, got 12 bytes that begin with “<html>?Error”',
    );
    expect(expectText('OK')(body(''))).to.equal('expected “OK” in the body, got an empty body');
    expect(expectText('OK')(body('x'.repeat(200), true))).to.match(/got more than 200 bytes that begin with “x{80}”$/);
  });

  it('is a pattern, if it is not too much work', () => {
    expect(expectPattern('(?i)^OK$', 100)(body('ok'))).to.equal(null);
    expect(expectPattern('^OK$', 100)(body('KO'))).to.equal(
      'expected a match of /^OK$/ in the body, got 2 bytes that begin with “KO”',
    );
    expect(() => expectPattern('(', 100)).to.throw(NoExpectation, 'not closed');
    for (const [source, most] of [
      ['a{999}', 400],
      ['a.{0,50}b', 3883],
    ] as const) {
      expect(() => expectPattern(source, 65_536)).to.throw(
        NoExpectation,
        `too much work for a body of 65536 bytes: max-body can be ${most} with it, or repeat less in it`,
      );
      expect(expectPattern(source, most)(body('x'))).to.match(/^expected a match/);
    }
  });

  it('is a pattern somewhere in a large page', () => {
    const page = '<p class="s">all of it stands here</p>\n'.repeat(20_000);
    for (const source of [
      '"status":\\s*"(green|yellow)"',
      '(?i)<h1[^>]*>\\s*Welcome.*</h1>',
      '^build-[0-9a-f]{40}$|ready$',
    ]) {
      const expected = expectPattern(source, 1 << 20);
      expect(expected(body(page)), source).to.match(/^expected a match/);
      for (const good of ['"status": "green"', '<H1 id="a">\nWelcome to us</H1>', 'ready'])
        expect(expected(body(page + good)) === null, `${source} in ${good}`).to.equal(
          new RegExp(source.replace('(?i)', ''), 'i').test(good),
        );
    }
  });

  it('are values in JSON', () => {
    const health = body('{"status": "ok", "checks": [{"up": true, "n": 3, "a.b": null}]}');
    const rules = ['status = ok', '$.checks[0].up = true', 'checks[0].n=3', 'checks[0]["a.b"] = null', 'status = "ok"'];
    expect(expectJson(rules)(health)).to.equal(null);
    for (const [rule, why] of [
      ['status = red', 'expected status to be "red" in the JSON, got "ok"'],
      ['checks[0].n = "3"', 'expected checks[0].n to be "3" in the JSON, got 3'],
      ['checks = 1', 'expected checks to be 1 in the JSON, got [{"up":true,"n":3,"a.b":null}]'],
      ['checks[1].up = true', 'expected checks[1].up to be true in the JSON, but there is none'],
      ['__proto__.x = 1', 'expected __proto__.x to be 1 in the JSON, but there is none'],
    ] as const) {
      expect(expectJson([rule])(health)).to.equal(why);
    }
    expect(expectJson(['$ = ok'])(body('"ok"'))).to.equal(null);
    expect(expectJson(['a = 1'])(body('<html>'))).to.equal('expected JSON, got 6 bytes that begin with “<html>”');
    expect(expectJson(['a = 1'])(body('{"a":1', true))).to.equal(
      'expected JSON of at most 6 bytes, the body is longer',
    );
    expect(expectJson(['a = 1'])(body('['.repeat(60_000)))).to.match(/^expected JSON, got 60000 bytes/);
    for (const rule of ['status', 'a..b = 1', 'a[x] = 1', 'a = [1]'])
      expect(() => expectJson([rule]), rule).to.throw(NoExpectation);
  });

  it('is a digest', () => {
    const digest = createHash('sha256').update('ok').digest('hex');
    expect(expectDigest(digest.toUpperCase())(body('ok'))).to.equal(null);
    expect(expectDigest(digest)(body('ko'))).to.match(
      /^expected a body with SHA-256 2689367b.*, got [0-9a-f]{64} of 2 bytes$/,
    );
    expect(expectDigest(digest)(body('ok', true))).to.equal('expected a body of at most 2 bytes, it is longer');
    expect(() => expectDigest('abc')).to.throw(NoExpectation);
  });
});
