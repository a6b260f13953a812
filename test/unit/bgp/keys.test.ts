// Secrets of peers: from the configuration and from files, what is wrong with them, and what stays when they can not be read.

import { expect } from 'chai';
import fc from 'fast-check';
import { parseAoKeys } from '../../../src/bgp/ao-keys.ts';
import { NO_KEYS, readKeys } from '../../../src/bgp/keys.ts';
import type { BfdAuthSettings, PeerConfig } from '../../../src/config/types.ts';
import { memoryFiles, utf8 } from '../../support/memory-files.ts';
import { peerConfig } from '../../support/peer-config.ts';

const ADDRESS = '192.0.2.1';
const PATH = '/etc/pybal/keys';

const peer = (changes: Partial<PeerConfig>) => peerConfig({ name: 'cr1', address: ADDRESS, ...changes });
const withBfd = (auth: BfdAuthSettings) => peer({ bfd: { intervalMs: 300, multiplier: 3, multihop: false, auth } });
const FROM_FILE = { from: 'file', path: PATH } as const;

/** What reading finds, with this in the file; null: there is no file. */
async function read(config: PeerConfig, text: string | Uint8Array | null, before = NO_KEYS) {
  const disk = new Map(text === null ? [] : [[PATH, typeof text === 'string' ? utf8(text) : text]]);
  return readKeys(memoryFiles(disk), [config], before);
}

describe('bgp/keys: passwords', () => {
  const config = peer({ password: FROM_FILE });
  const problemOf = async (text: string | Uint8Array | null) => (await read(config, text)).problems.join();

  it('are taken as they stand, from the configuration or the only line of a file', async () => {
    const said = await read(peer({ password: { from: 'text', text: ' a b ' } }), null);
    expect([said.keys.md5.get('cr1'), said.problems]).to.deep.equal([' a b ', []]);
    for (const text of ['correct horse', 'correct horse\n', 'correct horse\r\n\n'])
      expect((await read(config, text)).keys.md5.get('cr1')).to.equal('correct horse');
    expect((await read(peer({}), 'unused')).keys).to.deep.equal(NO_KEYS);
  });

  it('are refused with their place, and without a word of them', async () => {
    expect(await problemOf(null)).to.match(/^Password of BGP peer cr1: .*ENOENT.*; no session without it$/);
    expect(await problemOf('')).to.include(`${PATH}:1: is empty; no session`);
    expect(await problemOf('x'.repeat(81))).to.include(`${PATH}:1: has 81 octets, 80 are the most`);
    expect(await problemOf('secret\nsecret2')).to.equal(
      `Password of BGP peer cr1: ${PATH}: more than one line; no session without it`,
    );
    expect(await problemOf(Uint8Array.of(0xff, 0xfe))).to.include('; no session');
  });

  it('stay as they were when their file can not be read any more', async () => {
    const first = await read(config, 'first');
    const second = await read(config, null, first.keys);
    expect(second.keys.md5.get('cr1')).to.equal('first');
    expect(second.problems.join()).to.match(/; the last one stays$/);
    expect((await read(config, 'second', first.keys)).keys.md5.get('cr1')).to.equal('second');
  });
});

describe('bgp/keys: BFD keys', () => {
  it('come from a file too, and must fit their kind', async () => {
    const sha1 = withBfd({ type: 'sha1', keyId: 1, key: FROM_FILE });
    expect((await read(sha1, '12345678901234567890\n')).keys.bfd.get('cr1')).to.equal('12345678901234567890');
    const simple = withBfd({ type: 'simple', keyId: 1, key: FROM_FILE });
    const { keys, problems } = await read(simple, '12345678901234567');
    expect(keys.bfd.size).to.equal(0);
    expect(problems).to.deep.equal([
      `BFD key of BGP peer cr1: ${PATH}:1: must be 1 to 16 printable ASCII characters for simple; no BFD session without it`,
    ]);
  });
});

describe('bgp/keys: TCP-AO', () => {
  const parse = (text: string) => parseAoKeys(text, PATH);
  const GOOD = '# of cr1\n\n1 2 hmac-sha1 correct horse\n  255\t0 cmac-aes128 x \n3 3 hmac-sha256-128 hmac-sha1\n';

  it('has a key a line: two ids, the algorithm, and the key to the end of the line', () => {
    expect(parse(GOOD)).to.deep.equal([
      { sendId: 1, receiveId: 2, algorithm: 'hmac-sha1', macLength: 12, key: 'correct horse' },
      { sendId: 255, receiveId: 0, algorithm: 'cmac-aes128', macLength: 12, key: 'x' },
      { sendId: 3, receiveId: 3, algorithm: 'hmac-sha256', macLength: 16, key: 'hmac-sha1' },
    ]);
  });

  it('is refused with file and line, and without a word of a key', () => {
    const wrong: Readonly<Record<string, string>> = {
      '': `${PATH}: no keys`,
      '# nothing': `${PATH}: no keys`,
      '1 2 hmac-sha1': `${PATH}:1: send id, receive id, algorithm and key are needed`,
      '\nsesame': `${PATH}:2: send id, receive id, algorithm and key are needed`,
      '256 2 hmac-sha1 sesame': `${PATH}:1: send id is not a number from 0 to 255`,
      '1 -2 hmac-sha1 sesame': `${PATH}:1: receive id is not a number from 0 to 255`,
      'sesame 1 hmac-sha1 x': `${PATH}:1: send id is not a number from 0 to 255`,
      '1 2 md5 sesame': `${PATH}:1: algorithm is none of hmac-sha1, cmac-aes128, hmac-sha256`,
      '1 2 toString sesame': `${PATH}:1: algorithm is none of hmac-sha1, cmac-aes128, hmac-sha256`,
      '1 2 hmac-sha1x sesame': `${PATH}:1: algorithm is none of hmac-sha1, cmac-aes128, hmac-sha256`,
      '1 2 hmac-sha1- sesame': `${PATH}:1: hmac-sha1 can be followed by -32 to -128, in steps of 8 bits`,
      '1 2 hmac-sha1-24 x': `${PATH}:1: hmac-sha1 can be followed by -32 to -128, in steps of 8 bits`,
      '1 2 cmac-aes128-100 x': `${PATH}:1: cmac-aes128 can be followed by -32 to -128, in steps of 8 bits`,
      '1 2 hmac-sha256-256 x': `${PATH}:1: hmac-sha256 can be followed by -32 to -128, in steps of 8 bits`,
      '1 2 hmac-sha1-sesame x': `${PATH}:1: hmac-sha1 can be followed by -32 to -128, in steps of 8 bits`,
      [`1 2 hmac-sha1 ${'é'.repeat(41)}`]: `${PATH}:1: the key has 82 octets, 80 are the most`,
      '1 2 hmac-sha1 sesame\n1 3 hmac-sha1 sesame': `${PATH}:2: send id 1 is there twice`,
      '1 2 hmac-sha1 sesame\n2 2 hmac-sha1 sesame': `${PATH}:2: receive id 2 is there twice`,
    };
    for (const [text, message] of Object.entries(wrong)) expect(() => parse(text), text).to.throw(Error, message);
    for (const message of Object.values(wrong)) expect(message).to.not.include('sesame');
  });

  it('reads back every key that it may have', () => {
    const id = fc.integer({ min: 0, max: 255 });
    const key = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 80 }).map((text) => text.trim());
    const algorithm = fc.constantFrom('hmac-sha1' as const, 'cmac-aes128' as const, 'hmac-sha256' as const);
    const macLength = fc.integer({ min: 4, max: 16 });
    const lines = fc.uniqueArray(fc.record({ id, algorithm, macLength, key: key.filter((text) => text !== '') }), {
      minLength: 1,
      maxLength: 20,
      selector: (each) => each.id,
    });
    fc.assert(
      fc.property(lines, (all) => {
        const line = ({ id: own, algorithm: name, macLength: octets, key: secret }: (typeof all)[number]) =>
          `${own} ${255 - own} ${octets === 12 ? name : `${name}-${octets * 8}`} ${secret}`;
        const text = all.map(line).join('\n');
        const meant = all.map((each) => ({
          sendId: each.id,
          receiveId: 255 - each.id,
          algorithm: each.algorithm,
          macLength: each.macLength,
          key: each.key,
        }));
        expect(parse(text)).to.deep.equal(meant);
      }),
    );
  });

  it('is looked at whole when it is read, and its last keys stay', async () => {
    const config = peer({ tcpAoFile: PATH });
    const first = await read(config, GOOD);
    expect([first.keys.ao.get('cr1')?.length, first.problems]).to.deep.equal([3, []]);
    const { keys, problems } = await read(config, '1 2 hmac-sha1', first.keys);
    expect(keys.ao.get('cr1')).to.deep.equal(first.keys.ao.get('cr1'));
    expect(problems.join()).to.match(/^TCP-AO keys of BGP peer cr1: \/etc\/pybal\/keys:1: .*; the last one stays$/);
    expect((await read(config, '1 2 hmac-sha1')).problems.join()).to.match(/; no session without them$/);
  });
});
