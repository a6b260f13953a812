import { expect } from 'chai';
import fc from 'fast-check';
import type { OptionRow } from '../../../src/config/rows.ts';
import { nearest } from '../../../src/lib/suggest.ts';
import { describeKind, printValue, readValue, ValueError } from '../../../src/config/values.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';

const base = { name: 'x', doc: 'x.' } as const;
const INT: OptionRow = { ...base, kind: 'int' };
const FLOAT: OptionRow = { ...base, kind: 'float' };
const BOOL: OptionRow = { ...base, kind: 'bool' };
const ADDRESSES: OptionRow = { ...base, kind: 'addresses' };
const STRINGS: OptionRow = { ...base, kind: 'strings' };
const OCTETS: OptionRow = { ...base, kind: 'octets' };
const TEMPLATE: OptionRow = { ...base, kind: 'template' };
const URL_ROW: OptionRow = { ...base, kind: 'url', schemes: ['http', 'https', 'file'] };

const GOOD: readonly (readonly [OptionRow, string, unknown])[] = [
  [INT, '10', 10],
  [INT, ' 10 ', 10],
  [INT, '+10', 10],
  [INT, '-10', -10],
  [INT, '010', 10],
  [FLOAT, '.5', 0.5],
  [FLOAT, '5.', 5],
  [FLOAT, '1e3', 1000],
  [FLOAT, '-1E-2', -0.01],
  ...['t', 'true', 'y', 'yes', 'on', '1', 'TRUE', 'Yes', ' on '].map((word) => [BOOL, word, true] as const),
  ...['f', 'false', 'n', 'no', 'off', '0', 'FALSE', 'No', ' off '].map((word) => [BOOL, word, false] as const),
  [STRINGS, "'a'", ['a']],
  [STRINGS, '[ \'a\', u"b", ]', ['a', 'b']],
  [ADDRESSES, '192.0.2.1', ['192.0.2.1']],
  [ADDRESSES, '2001:DB8::0:1', ['2001:db8::1']],
  [ADDRESSES, "[ '192.0.2.1', '2001:DB8::1' ]", ['192.0.2.1', '2001:db8::1']],
  [ADDRESSES, "'192.0.2.1'", ['192.0.2.1']],
  [ADDRESSES, '[ "" ]', ['::']],
  [OCTETS, "'QUIT\\r\\n'", ['QUIT\r\n']],
  [OCTETS, "[ 'a\\x00\\xff', '' ]", ['a\x00\xff', '']],
  [OCTETS, "'hex: 00 fF'", ['\x00\xff']],
  [TEMPLATE, "[ '-H', server.host ]", ['-H', { server: 'host' }]],
  [TEMPLATE, 'server.lvsservice.ip', [{ server: 'vip' }]],
  [TEMPLATE, '[]', []],
  [{ ...base, kind: 'ints' }, ' 64600  64601\n64602 ', [64600, 64601, 64602]],
  [{ ...base, kind: 'words' }, 'a, b  c,d', ['a', 'b', 'c', 'd']],
  [{ ...base, kind: 'seconds' }, '0.5', 0.5],
  [{ ...base, kind: 'port' }, '65535', 65535],
  [{ ...base, kind: 'address' }, '2001:db8:0::1', '2001:db8::1'],
  [{ ...base, kind: 'string' }, '', ''],
  [{ ...base, kind: 'path' }, '/a b', '/a b'],
  [URL_ROW, 'file:///etc/x', 'file:///etc/x'],
  [URL_ROW, 'HTTP://h/x?a=b', 'HTTP://h/x?a=b'],
  [{ ...base, kind: 'url', schemes: ['etcd'] }, 'etcd://a:2379,[::1]:2379/p', 'etcd://a:2379,[::1]:2379/p'],
  [{ ...base, kind: 'urls', schemes: ['http'] }, "'http://a/'", ['http://a/']],
];

const BAD: readonly (readonly [OptionRow, string])[] = [
  ...['', ' ', '0x10', '1.0', '1 2', '1_000', '10L', 'ten', '--1', '9007199254740993', '１'].map(
    (t) => [INT, t] as const,
  ),
  ...['', '50%', 'nan', 'inf', '-Infinity', '1e999', '0x1', '1,5', '.', 'e5'].map((text) => [FLOAT, text] as const),
  ...['', '2', 'tru', 'oui', '-1', 'yesno', 'None'].map((text) => [BOOL, text] as const),
  ...['', '[]', 'a', '[ a ]', '[ 1 ]', '7', "{ 'a': 1 }", 'None', "[ 'a', None ]"].map((t) => [STRINGS, t] as const),
  ...['', 'x', '[]', "'hex:'", "'hex:0'", "'hex:0g'", "'€'"].map((text) => [OCTETS, text] as const),
  ...['', 'x', '[ 1 ]', '192.0.2.1 192.0.2.2', "[ 'x' ]"].map((text) => [ADDRESSES, text] as const),
  ...['[ 1 ]', '[ server ]', '[ server.x ]', 'server.host + 1'].map((text) => [TEMPLATE, text] as const),
  ...['', 'h', 'http:/h', 'http://', 'ftp://h/', 'file://x', 'http://h/ a', 'javascript:1'].map(
    (t) => [URL_ROW, t] as const,
  ),
  [{ ...base, kind: 'seconds' }, '-1'],
  [{ ...base, kind: 'seconds', min: 1 }, '0.5'],
  [{ ...base, kind: 'seconds' }, '1e12'],
  [{ ...base, kind: 'port' }, '0'],
  [{ ...base, kind: 'address', family: 6 }, '192.0.2.1'],
  [{ ...base, kind: 'path' }, 'etc/x'],
  [{ ...base, kind: 'path' }, '/etc/\nx'],
  [{ ...base, kind: 'ints' }, '1 x'],
  [{ ...base, kind: 'ints', max: 5 }, '1 6'],
  [{ ...base, kind: 'words', choices: ['a'] }, 'a b'],
];

describe('config/values', () => {
  it('shows nothing of what may be secret: passwords in URLs, words to say', () => {
    for (const [row, text] of [
      [URL_ROW, 'file://me:secret@x'],
      [URL_ROW, 'http://me:secret@h/ a'],
      [STRINGS, "[ [ 'secret' ] ]"],
      [STRINGS, "{ 'a': 'secret' }"],
      [OCTETS, "'hex:secret'"],
      [OCTETS, "'secret €'"],
    ] as const)
      expect(() => readValue(row, text), text)
        .to.throw(ValueError)
        .with.property('message')
        .that.does.not.match(/secret/);
  });

  for (const [row, text, value] of GOOD)
    it(`${row.kind}: ${JSON.stringify(text)} is ${JSON.stringify(value)}`, () => {
      expect(readValue(row, text)).to.deep.equal(value);
    });

  for (const [row, text] of BAD)
    it(`${row.kind}: ${JSON.stringify(text)} is refused`, () => {
      expect(() => readValue(row, text)).to.throw(ValueError);
    });

  it('reads back what it prints', () => {
    for (const [row, , value] of GOOD) expect(readValue(row, printValue(row, value)), row.kind).to.deep.equal(value);
  });

  it('throws nothing but ValueError, whatever the text and the kind', () => {
    const rows: readonly OptionRow[] = [...new Map(GOOD.map(([row]) => [row.kind, row])).values()];
    fc.assert(
      fc.property(fc.constantFrom(...rows), fc.string({ unit: ANY_CHARACTER, maxLength: 12 }), (row, text) => {
        try {
          readValue(row, text);
        } catch (error) {
          expect(error).to.be.instanceOf(ValueError);
        }
      }),
      { numRuns: 2000, seed: 4 },
    );
  });

  it('describes the ranges that it holds to', () => {
    expect(describeKind({ ...INT, kind: 'int', min: 1, max: 5 })).to.equal('whole number from 1 to 5');
    expect(describeKind({ ...INT, kind: 'int', min: 1 })).to.equal('whole number, 1 or more');
    expect(describeKind({ ...INT, kind: 'int', max: 5 })).to.equal('whole number, 5 or less');
  });
});

describe('config/suggest', () => {
  const words = ['depool-threshold', 'bgp', 'bgp-med', 'port', 'instrumentation_port'];
  for (const [word, expected] of [
    ['depool_threshold', 'depool-threshold'],
    ['depool-treshhold', 'depool-threshold'],
    ['Depool-Threshold', 'depool-threshold'],
    ['instrumentation-port', 'instrumentation_port'],
    ['bpg', 'bgp'],
    ['prot', 'port'],
    ['bgp-md', 'bgp-med'],
    ['colour', null],
    ['x', null],
    ['x'.repeat(10_000), null],
  ] as const)
    it(`${word.slice(0, 30)} is near ${expected}`, () => expect(nearest(word, words)).to.equal(expected));

  it('the nearest of several wins, and the word itself is no suggestion', () => {
    expect(nearest('aaaaaa', ['aaaabb', 'aaaaab'])).to.equal('aaaaab');
    expect(nearest('bgp', ['bgp'])).to.equal(null);
  });
});
