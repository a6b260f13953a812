import { expect } from 'chai';
import fc from 'fast-check';
import { printComplaint } from '../../../src/lib/errors.ts';
import { parsePool, type ParsedPool } from '../../../src/pools/parse.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const legacy = (text: string, previous: Parameters<typeof parsePool>[0]['previous'] = []) =>
  parsePool({ url: 'http://pools/text', bytes: bytes(text), previous });
const json = (text: string) => parsePool({ url: 'http://pools/text.json', bytes: bytes(text), previous: [] });
const CP1 = { host: 'cp1', weight: 10, enabled: true };

function hostsOf(parsed: ParsedPool) {
  return parsed.is === 'list' ? parsed.hosts : `refused: ${parsed.reason}`;
}
function complaintsOf(parsed: ParsedPool) {
  return parsed.complaints.map(printComplaint);
}

describe('pool files', () => {
  describe('legacy format', () => {
    const good: readonly (readonly [string, string])[] = [
      ['single quotes', "{'host': 'cp1', 'weight': 10, 'enabled': True}"],
      ['double quotes', '{"host": "cp1", "weight": 10, "enabled": True}'],
      ['unicode strings', "{u'host': u'cp1', u'weight': 10, u'enabled': True}"],
      ['any order of keys, extra keys', "{'enabled': True, 'rack': 'b1', 'weight': 10, 'host': 'cp1'}"],
      ['a trailing comma', "{'host': 'cp1', 'weight': 10, 'enabled': True,}"],
      ['a comment after the dict', "{'host': 'cp1', 'weight': 10, 'enabled': True} # rack b1"],
      ['a # inside a string', "{'host': 'cp1', 'weight': 10, 'enabled': True, 'note': 'a # b'}"],
      ['blanks around, and Windows line ends', "  {'host': 'cp1', 'weight': 10, 'enabled': True}  \r"],
      ['comments and empty lines', "# pool\n\n   # more\n{'host': 'cp1', 'weight': 10, 'enabled': True}\n\n"],
      ['a byte order mark', "\ufeff{'host': 'cp1', 'weight': 10, 'enabled': True}"],
    ];
    for (const [what, text] of good) {
      it(`reads ${what}.`, () => {
        expect(hostsOf(legacy(`${text}\n`))).to.deep.equal([CP1]);
        expect(complaintsOf(legacy(`${text}\n`))).to.deep.equal([]);
      });
    }

    const bad: readonly (readonly [string, string, RegExp])[] = [
      ['a bare string', "'cp2'", /a string where a dict is wanted/],
      ['a missing weight', "{'host': 'cp2', 'enabled': True}", /no weight/],
      ['everything but the host missing', "{'host': 'something'}", /no weight, no enabled/],
      ['lower case true', "{'host': 'cp2', 'weight': 1, 'enabled': true}", /true is not Python/],
      ['a dict split over two lines', "{'host': 'cp2', 'weight': 1,\n'enabled': True}", /never closed/],
      ['a call', "dict(host='cp2', weight=1, enabled=True)", /dict/],
      ['arithmetic', "{'host': 'cp2', 'weight': 1+1, 'enabled': True}", /expected/],
      ['code', "__import__('os').system('true')", /means nothing here/],
      ['a host that is no string', "{'host': 7, 'weight': 1, 'enabled': True}", /host is not a string/],
      ['an empty host', "{'host': '', 'weight': 1, 'enabled': True}", /host is empty/],
      ['a host with a slash', "{'host': '../x', 'weight': 1, 'enabled': True}", /neither a host name nor an address/],
      [
        'a host with a line end',
        "{'host': 'a\\nb', 'weight': 1, 'enabled': True}",
        /neither a host name nor an address/,
      ],
      ['a host of 254 characters', `{'host': '${'a'.repeat(254)}', 'weight': 1, 'enabled': True}`, /longer than 253/],
      ['a line of 5000 characters', `{'host': 'cp2', 'x': '${'y'.repeat(5000)}'}`, /longer than 4096/],
      ['two dicts on a line', "{'host': 'cp2', 'weight': 1, 'enabled': True} {}", /after the value/],
      ['NUL bytes', '\0\0\0', /Bad configuration line: \\u0000/],
    ];
    for (const [what, text, complaint] of bad) {
      it(`skips ${what}, names the line, and keeps the rest.`, () => {
        const parsed = legacy(`# pool\n${text}\n{'host': 'cp1', 'weight': 10, 'enabled': True}\n`);
        expect(hostsOf(parsed)).to.deep.equal([CP1]);
        expect(complaintsOf(parsed)[0]).to.match(/^http:\/\/pools\/text:2: Bad configuration line: /);
        expect(complaintsOf(parsed)[0]).to.match(complaint);
      });
    }

    it('Of a host listed twice the last line counts, and it is said.', () => {
      const parsed = legacy("{'host':'cp1','weight':1,'enabled':True}\n{'host':'cp1','weight':10,'enabled':True}\n");
      expect(hostsOf(parsed)).to.deep.equal([CP1]);
      expect(complaintsOf(parsed)).to.deep.equal([
        'http://pools/text:2: warning: cp1 is listed twice: the last one counts',
      ]);
    });

    const wrong: readonly (readonly [string, string, string])[] = [
      ['a weight in quotes', "'7', 'enabled': False", "weight '7' is no integer; using 3"],
      ['a float weight', "7.0, 'enabled': False", 'weight 7.0 is no integer; using 3'],
      ['a boolean weight', "True, 'enabled': False", 'weight True is no integer; using 3'],
      ['a negative weight', "-1, 'enabled': False", 'weight -1 is negative; using 3'],
      ['a weight that IPVS tools refuse', "65536, 'enabled': False", 'weight 65536 is greater than 65535; using 3'],
      ['a number for enabled', "3, 'enabled': 1", 'enabled 1 is no boolean; using false'],
      ['a string for enabled', "3, 'enabled': 'yes'", "enabled 'yes' is no boolean; using false"],
    ];
    for (const [what, values, complaint] of wrong) {
      it(`ignores ${what} with a complaint: the value from before stays.`, () => {
        const parsed = legacy(`{'host': 'cp1', 'weight': ${values}}`, [{ host: 'cp1', weight: 3, enabled: false }]);
        expect(hostsOf(parsed)).to.deep.equal([{ host: 'cp1', weight: 3, enabled: false }]);
        expect(complaintsOf(parsed)).to.deep.equal([`http://pools/text:1: cp1: ${complaint}`]);
      });
    }

    it('A new host whose values are of wrong types gets weight 10 and is enabled.', () => {
      expect(hostsOf(legacy("{'host': 'cp1', 'weight': '7', 'enabled': 1}"))).to.deep.equal([CP1]);
    });

    it('Weight 0 is weight 0.', () => {
      expect(hostsOf(legacy("{'host': 'cp1', 'weight': 0, 'enabled': True}"))).to.deep.equal([{ ...CP1, weight: 0 }]);
    });

    it('Literal addresses are hosts.', () => {
      const parsed = legacy("{'host': '2001:db8::1', 'weight': 10, 'enabled': True}");
      expect(hostsOf(parsed)).to.deep.equal([{ ...CP1, host: '2001:db8::1' }]);
    });

    it('A file that stops in the middle of its last line is refused; one is not of which a line is bad, be it the last.', () => {
      const first = "{'host': 'cp1', 'weight': 10, 'enabled': True}\n";
      const last = "{'host': 'cp2', 'weight': 10, 'enabled': True}";
      for (let length = 1; length < last.length; length++)
        expect(legacy(first + last.slice(0, length)), last.slice(0, length)).to.include({
          is: 'refused',
          reason: 'the list ends in the middle of a line',
        });
      expect(hostsOf(legacy(first + last))).to.have.length(2);
      const bad = [
        "{'host': 'cp2', 'wei\n" + first,
        first + "{'host': 'cp2', 'wei\n",
        first + last.replace('True', 'Ture'),
      ];
      for (const text of bad) expect(legacy(text), text).to.include({ is: 'list' });
    });

    const before = [
      { host: 'cp1', weight: 3, enabled: false },
      { host: 'cp2.example.org', weight: 4, enabled: true },
      { host: '2001:db8::1', weight: 5, enabled: true },
    ];
    const kept: readonly (readonly [string, string, readonly string[]])[] = [
      ['a typing error', "{'host': 'cp2.example.org', 'weight': 10, 'enabled': Flase}", ['cp2.example.org']],
      ['a host without quotes', '{"host": 2001:db8::1, "weight": 10, "enabled": True}', ['2001:db8::1']],
      ['two entries on one line', "{'host': 'cp1'}{'host': 'cp2.example.org'}", ['cp1', 'cp2.example.org']],
      ['a host that only begins like one', "{'host': 'cp2', 'weight': 10, 'enabled': Flase}", []],
      ['a host that is not on the list', "{'host': 'cp7', 'weight': 10, 'enabled': Flase}", []],
    ];
    for (const [what, text, stay] of kept) {
      it(`A bad line with ${what} leaves the servers that it names as they were: ${stay.length}.`, () => {
        const parsed = legacy(`${text}\n{'host': 'cp9', 'weight': 10, 'enabled': True}\n`, before);
        const unchanged = before.filter(({ host }) => stay.includes(host));
        expect(hostsOf(parsed)).to.deep.equal([{ ...CP1, host: 'cp9' }, ...unchanged]);
        expect(complaintsOf(parsed).slice(1)).to.deep.equal(
          stay.map((host) => `http://pools/text:1: warning: ${host} stays as it was`),
        );
      });
    }

    it('A server that a bad line names and a good one too is as the good one says.', () => {
      const parsed = legacy("{'host': 'cp1'}\n{'host': 'cp1', 'weight': 10, 'enabled': True}\n", before);
      expect(hostsOf(parsed)).to.deep.equal([CP1]);
    });

    it('A file without one good line is no pool, whatever its bad ones name.', () => {
      expect(hostsOf(legacy("{'host': 'cp1'}\n", before))).to.equal('refused: not one usable host in it');
    });

    it('Nothing, or nothing but comments, is an empty list.', () => {
      for (const text of ['', '\n\n', '# nobody\n']) expect(hostsOf(legacy(text)), text).to.deep.equal([]);
    });
  });

  describe('JSON format', () => {
    it('gives the same hosts as the legacy format.', () => {
      const parsed = json('{"cp1": {"weight": 10, "enabled": true}, "cp2": {"weight": 0, "enabled": false}}');
      expect(hostsOf(parsed)).to.deep.equal([CP1, { host: 'cp2', weight: 0, enabled: false }]);
    });

    it('has defaults: weight 10, enabled.', () => {
      expect(hostsOf(json('{"cp1": {}}'))).to.deep.equal([CP1]);
    });

    it('is chosen by the end of the path, whatever the query says.', () => {
      const of = (url: string) => hostsOf(parsePool({ url, bytes: bytes('{"cp1": {}}'), previous: [] }));
      expect(of('https://pools/text.json?dc=esams')).to.deep.equal([CP1]);
      expect(of('file:///etc/text.json')).to.deep.equal([CP1]);
      expect(of('http://pools/text?name=.json')).to.equal('refused: not one usable host in it');
    });

    it('Of a host listed twice the last one counts, and it is said where that stands.', () => {
      const parsed = json(
        '{"cp1": {"weight": 1, "note": "\\"cp1\\": {"},\n"cp2": {"weight": 2},\n\n"cp\\u0031": {"weight": 10}}',
      );
      expect(hostsOf(parsed)).to.deep.equal([CP1, { host: 'cp2', weight: 2, enabled: true }]);
      expect(complaintsOf(parsed)).to.deep.equal([
        'http://pools/text.json:4: warning: cp1 is listed twice: the last one counts',
      ]);
    });

    it('Takes no key, value or text inside a server for a host.', () => {
      const entry = '{"weight": 10, "weight": 10, "enabled": true, "cp1": ["cp1", {"cp1": "cp1"}]}';
      expect(complaintsOf(json(`{"cp1": ${entry}, "cp2": ${entry}}`))).to.deep.equal([]);
    });

    it('skips an entry that is no object and names its line.', () => {
      const parsed = json('{\n"cp1": {},\n"cp2": 5,\n"a b": {},\n"__proto__": {}}');
      expect(hostsOf(parsed)).to.deep.equal([CP1]);
      expect(complaintsOf(parsed)).to.deep.equal([
        'http://pools/text.json:3: cp2: not an object with weight and enabled',
        'http://pools/text.json:4: host a b is neither a host name nor an address',
        'http://pools/text.json:5: host __proto__ is neither a host name nor an address',
      ]);
    });

    it('names the line of the key itself, and of the last one of its name, however it is written.', () => {
      const parsed = json('{"cp1": {"b@d": "b@d",\n"cp2": 5},\n"c\\u00702": 5,\n"b@d": {}, "cp3": {},\n"cp3": 7}');
      expect(complaintsOf(parsed)).to.deep.equal([
        'http://pools/text.json:3: cp2: not an object with weight and enabled',
        'http://pools/text.json:4: host b@d is neither a host name nor an address',
        'http://pools/text.json:5: cp3: not an object with weight and enabled',
        'http://pools/text.json:5: warning: cp3 is listed twice: the last one counts',
      ]);
    });

    it('takes about as long for a hundred complaints far below as for none.', () => {
      const bad = Array.from({ length: 100 }, (_, i) => `"h${i}": 1`);
      const timed = (entries: readonly string[]) => {
        const text = bytes(`{${'\n'.repeat(1 << 20)}${['"ok": {}', ...entries].join(',')}}`);
        const times = [1, 2, 3].map(() => {
          const start = performance.now();
          const parsed = parsePool({ url: 'http://pools/text.json', bytes: text, previous: [] });
          expect(parsed.complaints).to.have.length(entries.length);
          return performance.now() - start;
        });
        return Math.min(...times);
      };
      expect(timed(bad)).to.be.below(10 * timed([]) + 50);
    });

    it('takes a misspelt key for no default: the value from before stays, and it is said.', () => {
      const text = '{"cp1": {"wieght": 7, "Enabled": false},\n"cp2": {"pooled": "no", "weight": 3, "rack": "b1"}}';
      expect(complaintsOf(json(text))).to.deep.equal([
        'http://pools/text.json:1: cp1: wieght is not weight; using 10',
        'http://pools/text.json:1: cp1: Enabled is not enabled; using true',
        'http://pools/text.json:2: cp2: pooled is not enabled; using true',
      ]);
      const previous = [{ host: 'cp1', weight: 4, enabled: false }];
      expect(hostsOf(parsePool({ url: 'http://pools/text.json', bytes: bytes(text), previous }))).to.deep.equal([
        previous[0],
        { host: 'cp2', weight: 3, enabled: true },
      ]);
    });

    it('ignores values that are too deep to be written down, as any other.', () => {
      const deep = '['.repeat(30_000) + ']'.repeat(30_000);
      const parsed = json(`{"cp1": {"weight": ${deep}}, "cp2": {"weights": ${deep}}, "cp3": {}}`);
      expect(hostsOf(parsed)).to.deep.equal(['cp1', 'cp2', 'cp3'].map((host) => ({ ...CP1, host })));
      expect(complaintsOf(parsed)).to.deep.equal([
        `http://pools/text.json:1: cp1: weight ${'['.repeat(80)}… is no integer; using 10`,
        'http://pools/text.json:1: cp2: weights is not weight; using 10',
      ]);
    });

    it('ignores values of wrong types with a complaint.', () => {
      const parsed = json('{"cp1": {"weight": "7", "enabled": null}}');
      expect(hostsOf(parsed)).to.deep.equal([CP1]);
      expect(complaintsOf(parsed)).to.deep.equal([
        'http://pools/text.json:1: cp1: weight "7" is no integer; using 10',
        'http://pools/text.json:1: cp1: enabled null is no boolean; using true',
      ]);
    });
  });

  it('Nothing is quoted of a file that is none, whatever it is.', () => {
    const secret = 'root:$6$abcdef$hunter2:19000:0:99999:7:::';
    for (const parsed of [legacy(`${secret}\n`), json(secret), json(`{"key": "${secret}"`), json(`"${secret}"`)]) {
      const told = [...complaintsOf(parsed), hostsOf(parsed)].join('\n');
      expect(told).to.not.match(/hunter|root|abcdef/);
      expect(told).to.match(/refused: not/);
    }
    expect(complaintsOf(legacy(`${secret}\n`))).to.deep.equal([
      'http://pools/text:1: Bad configuration line: not shown, nothing in this file looks like a pool',
    ]);
  });

  describe('what is no pool', () => {
    const page = '<!DOCTYPE html><html><body>Under maintenance</body></html>';
    const refused: readonly (readonly [string, () => ParsedPool, RegExp])[] = [
      ['an HTML page', () => legacy(page), /HTML or XML/],
      ['an HTML page instead of JSON', () => json(`\n ${page}`), /HTML or XML/],
      ['text without one usable line', () => legacy('upstream error\n'), /not one usable host/],
      ['truncated JSON', () => json('{"cp1": {"weight": 10}, "cp2": {"wei'), /not JSON/],
      ['an empty body for JSON', () => json(''), /empty, which is not JSON/],
      ['a JSON list', () => json('[]'), /not a JSON object/],
      ['JSON null', () => json('null'), /not a JSON object/],
      ['JSON without one usable host', () => json('{"error": "gone"}'), /not one usable host/],
      [
        'bytes that are no UTF-8',
        () => parsePool({ url: 'x', bytes: Uint8Array.of(0xff, 0xfe), previous: [] }),
        /UTF-8/,
      ],
      ['more than 4 MiB', () => parsePool({ url: 'x', bytes: new Uint8Array((4 << 20) + 1), previous: [] }), /larger/],
      ['more than 100,000 lines', () => legacy('\n'.repeat(100_001)), /more than 100000 lines/],
      [
        'more than 10,000 hosts',
        () => legacy(Array.from({ length: 10_001 }, (_, i) => `{'host':'h${i}','weight':1,'enabled':True}`).join('\n')),
        /more than 10000 hosts/,
      ],
    ];
    for (const [what, parse, reason] of refused) {
      it(`refuses ${what}.`, () => {
        expect(hostsOf(parse()))
          .to.match(/^refused: /)
          .and.to.match(reason);
      });
    }

    it('Complaints are bounded, and a file of more than 1,000 bad lines is no pool.', () => {
      const good = "{'host':'cp1','weight':10,'enabled':True}\n";
      const bad = legacy('nonsense\n'.repeat(1000) + good);
      expect(hostsOf(bad)).to.deep.equal([CP1]);
      expect(bad.complaints).to.have.length(100);
      expect(hostsOf(legacy('nonsense\n'.repeat(1001) + good))).to.equal('refused: more than 1000 bad entries');
    });
  });

  it('Whatever the bytes, parsing ends in a list of valid hosts or a refusal.', () => {
    const fragment = fc.constantFrom(
      "{'host': 'cp",
      "', 'weight': ",
      '10',
      ", 'enabled': True}",
      '\n',
      '{',
      '"',
      '#',
      '<',
      '\\u',
    );
    const soup = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fragment, { maxLength: 30 }).map((a) => bytes(a.join(''))),
    );
    fc.assert(
      fc.property(soup, fc.constantFrom('http://x/a', 'http://x/a.json'), (data, url) => {
        const parsed = parsePool({ url, bytes: data, previous: [] });
        if (parsed.is === 'refused') return;
        for (const { host, weight, enabled } of parsed.hosts) {
          expect(host).to.match(/^[\w.:%-]{1,253}$/);
          expect(weight).to.satisfy(Number.isInteger).and.to.be.within(0, 65_535);
          expect(enabled).to.be.a('boolean');
        }
      }),
      { numRuns: 1000, seed: 24 },
    );
  });
});
