// DNS messages: what is asked, what is read, and that nothing that a server sends can do more than be refused.

import { expect } from 'chai';
import fc from 'fast-check';
import {
  canonicalData,
  dataComplaint,
  decodeMessage,
  encodeQuery,
  Malformed,
  nameComplaint,
  type TypeName,
} from '../../../monitors/lib/dns-message.ts';
import { answerTo, labels } from '../../support/dns-answer.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const query = (type: TypeName = 'A', name = 'www.example.org', ednsSize = 0) =>
  encodeQuery(0x1234, { name, type, recursion: true, ednsSize });

describe('a DNS query', () => {
  it('is the octets of RFC 1035', () => {
    expect(hex(query())).to.equal(`12340100000100000000000003777777076578616d706c65036f726700${'00010001'}`);
    expect(hex(query('NS', '.'))).to.equal(`123401000001000000000000${'00'}${'00020001'}`);
    const plain = encodeQuery(1, { name: 'a.', type: 'AAAA', recursion: false, ednsSize: 0 });
    expect(hex(plain)).to.equal('000100000001000000000000016100001c0001');
  });

  it('offers EDNS with its size (RFC 6891)', () => {
    expect(hex(query('A', 'a', 1232))).to.equal(
      `123401000001000000000001${'016100'}00010001${'00002904d0000000000000'}`,
    );
  });

  for (const [name, right] of [
    ['.', true],
    ['www.example.org', true],
    ['www.example.org.', true],
    ['_sip._tcp.example.org', true],
    ['a'.repeat(63), true],
    ['a'.repeat(64), false],
    [Array(127).fill('a').join('.'), true],
    [Array(128).fill('a').join('.'), false],
    ['', false],
    ['a..b', false],
    ['.a', false],
    ['a b', false],
    ['exämple', false],
    ['a"b', false],
  ] as const) {
    it(`${right ? 'may' : 'may not'} ask for ${JSON.stringify(name.slice(0, 20))} (${name.length})`, () => {
      expect(nameComplaint(name) === null).to.equal(right);
    });
  }
});

describe('a DNS answer', () => {
  const read = (type: TypeName, data: readonly number[]) =>
    decodeMessage(answerTo(query(type), { data: [data] })).answers.map((record) => record.data);

  for (const [type, data, text] of [
    ['A', [192, 0, 2, 1], '192.0.2.1'],
    ['AAAA', [0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 1], '2001:db8::1'],
    ['AAAA', [...Array(10).fill(0), 0xff, 0xff, 192, 0, 2, 1], '::ffff:c000:201'],
    ['CNAME', labels('Real.Example.ORG'), 'real.example.org'],
    ['NS', [2, 110, 115, 0xc0, 12], 'ns.www.example.org'],
    ['PTR', [0], '.'],
    ['MX', [0, 10, ...labels('mx.example.org')], '10 mx.example.org'],
    ['SRV', [0, 1, 0, 2, 0, 80, ...labels('a.example')], '1 2 80 a.example'],
    ['TXT', [3, 97, 98, 99, 1, 100], 'abcd'],
    ['CAA', [0, 5, ...Buffer.from('issue'), ...Buffer.from('ca.example')], '0 issue "ca.example"'],
    [
      'SOA',
      [...labels('ns.example'), ...labels('root.example'), 120, 89, 0, 1, ...Array(12).fill(0), 0, 0, 0, 60],
      'ns.example root.example 2019098625 0 0 0 60',
    ],
    ['DS', [1, 2, 3], '\\# 3 010203'],
    ['CNAME', [3, 97, 46, 1, 0], 'a\\046\\001'],
  ] as const) {
    it(`has ${type} ${text}`, () => expect(read(type, [...data])).to.deep.equal([text]));
  }

  it('has its flags, its code, and its question', () => {
    const message = decodeMessage(answerTo(query(), { rcode: 3, authoritative: true, truncated: true }));
    expect(message).to.deep.include({ id: 0x1234, isAnswer: true, authoritative: true, truncated: true });
    expect(message.rcode).to.equal('NXDOMAIN');
    expect(message.questions).to.deep.equal([{ name: 'www.example.org', type: 'A' }]);
    expect(decodeMessage(query()).isAnswer).to.equal(false);
    expect(decodeMessage(answerTo(query(), { rcode: 14 })).rcode).to.equal('RCODE14');
  });

  it('has the rest of its code in EDNS (RFC 6891 §6.1.3)', () => {
    const answer = answerTo(query(), { rcode: 0 });
    const opt = [0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0];
    answer[11] = 1;
    expect(decodeMessage(Uint8Array.from([...answer, ...opt])).rcode).to.equal('RCODE16');
  });

  it('that was truncated in the middle of a record still has its flags', () => {
    const whole = answerTo(query(), { truncated: true, data: [[192, 0, 2, 1]] });
    expect(decodeMessage(whole.subarray(0, -2)).truncated).to.equal(true);
    const complete = answerTo(query(), { data: [[192, 0, 2, 1]] });
    expect(() => decodeMessage(complete.subarray(0, -2))).to.throw(Malformed, 'does not fit');
  });

  const header = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
  for (const [what, octets, words] of [
    ['nothing', [], '0 octets'],
    ['half a header', header.slice(0, 11), '11 octets'],
    ['a name without end', [...header, 1, 97], 'in the middle of a name'],
    ['a pointer to itself', [...header, 0xc0, 12, 0, 1, 0, 1], 'points to octet 12'],
    ['a pointer forward', [...header, 0xc0, 14, 0, 0, 1, 0, 1], 'points to octet 14'],
    ['a pointer into the header', [...header, 0xc0, 4, 0, 1, 0, 1], 'points to octet 4'],
    ['a label of 64 octets', [...header, 64, ...Array(70).fill(97)], 'unknown kind'],
    [
      'a name of 300 octets',
      [
        ...header,
        ...Array(5)
          .fill([60, ...Array(60).fill(97)])
          .flat(),
        0,
      ],
      'more than 255',
    ],
    ['more questions than there are', [...header.slice(0, 4), 255, 255, 0, 0, 0, 0, 0, 0], '65535 questions'],
    ['more records than there can be', [...header.slice(0, 4), 0, 0, 255, 255, 0, 0, 0, 0], 'too many records'],
  ] as const) {
    it(`that is ${what} is malformed`, () => {
      expect(() => decodeMessage(Uint8Array.from(octets))).to.throw(Malformed, words);
    });
  }

  it('of two names that point at each other ends', () => {
    // 12: a label and a pointer to 16; 16: a label and a pointer to 12.
    const loop = Uint8Array.from([...header, 1, 97, 0xc0, 16, 1, 98, 0xc0, 12, 0, 1, 0, 1]);
    expect(() => decodeMessage(loop)).to.throw(Malformed);
  });

  it('that makes the most of compression is read in no time', () => {
    // One name of 126 labels, and as many records as may be that point at it.
    const name = [...Array(126).fill([1, 97]).flat(), 0];
    const records = Array(511).fill([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0, 12]).flat();
    const bytes = Uint8Array.from([...header.slice(0, 6), 1, 255, 0, 0, 0, 0, ...name, 0, 1, 0, 1, ...records]);
    const before = process.cpuUsage();
    expect(decodeMessage(bytes).answers).to.have.length(511);
    // Of this process alone: others may keep it waiting.
    expect(process.cpuUsage(before).user / 1000).to.be.lessThan(500);
  });

  it('may be any octets: they are read or Malformed', () => {
    const tame = fc.uint8Array({ maxLength: 600 });
    const wild = fc
      .record({ counts: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }), rest: tame })
      .map(({ counts, rest }) => Uint8Array.from([0, 1, 0x80, 0, ...counts.flatMap((n) => [0, n]), ...rest]));
    const mutated = fc
      .record({
        type: fc.constantFrom<TypeName>('A', 'MX', 'SOA', 'TXT', 'CAA', 'SRV'),
        rdata: fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }),
        at: fc.nat(),
        to: fc.integer({ min: 0, max: 255 }),
      })
      .map(({ type, rdata, at, to }) => {
        const bytes = answerTo(query(type), { data: [rdata, [...rdata, to]] });
        bytes[at % bytes.length] = to;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(tame, wild, mutated), (bytes) => {
        try {
          decodeMessage(bytes);
        } catch (error) {
          expect(error).to.be.instanceOf(Malformed);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('repeats the question that was encoded', () => {
    const label = fc.stringMatching(/^[a-z0-9_-]{1,20}$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 6 }), (each) => {
        const name = each.join('.');
        expect(decodeMessage(query('SRV', name)).questions).to.deep.equal([{ name, type: 'SRV' }]);
      }),
      { numRuns: 100 },
    );
  });
});

describe('an expected answer', () => {
  for (const [type, text, canonical] of [
    ['AAAA', '2001:DB8:0::1', '2001:db8::1'],
    ['MX', ' 10  MX.Example.org. ', '10 mx.example.org'],
    ['NS', '.', '.'],
    ['TXT', 'v=spf1  -ALL', 'v=spf1  -ALL'],
    ['TXT', '"v=spf1 -all"', 'v=spf1 -all'],
    ['TXT', ' "ab c"  "de" ', 'ab cde'],
    ['TXT', '"say \\"a\\\\b\\" \\255"', 'say "a\\b" \xff'],
    ['TXT', 'say "a"', 'say "a"'],
    ['DS', '\\# 4 C000 0201', '\\# 4 c0000201'],
    ['A', '192.0.2.1', '192.0.2.1'],
  ] as const) {
    it(`${type} ${JSON.stringify(text)} is compared as ${JSON.stringify(canonical)}`, () => {
      expect(canonicalData(type, text)).to.equal(canonical);
      expect(dataComplaint(type, text)).to.equal(null);
    });
  }

  it('is refused where it can never be found', () => {
    for (const [type, text] of [
      ['DS', '60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118'],
      ['NAPTR', '100 10 "S" "SIP+D2U" "" _sip._udp.example.org.'],
      ['A', '192.0.2.256'],
    ] as const)
      expect(dataComplaint(type, text)).to.contain(`is no data of ${type}, write`);
  });
});
