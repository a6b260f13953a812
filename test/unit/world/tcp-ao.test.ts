// TCP-AO's structures as the kernel reads them, and in which order a socket's keys change, on a kernel made of a list. That a real
// one agrees is shown by test/lab/ao.

import { expect } from 'chai';
import type { Libc } from '../../../src/ffi/libc.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { listenerTuning } from '../../../src/world/real/listener-keys.ts';
import type { SocketOptions } from '../../../src/world/real/streams.ts';
import { changeListenerAoKeys, listAoKeys, setAoKeys } from '../../../src/world/real/tcp-ao.ts';
import type { AoKey } from '../../../src/world/world.ts';
import { ScriptedLibc } from '../../support/scripted-libc.ts';

const ADDRESS = '192.0.2.1';
const key = (id: number, changes: Partial<AoKey> = {}): AoKey => ({
  ...{ sendId: id, receiveId: id + 100, algorithm: 'hmac-sha1', macLength: 12, key: `secret ${id}` },
  ...changes,
});

/** A socket's keys, as Linux keeps them: who is asked for, and what the other side asks for, can not go. */
class AoKernel extends ScriptedLibc {
  readonly calls: string[] = [];
  readonly bytes: Uint8Array[] = [];
  keys: { sendId: number; receiveId: number }[] = [];
  current = -1;
  asked = -1;
  /** errno by the call that fails. */
  readonly failing = new Map<string, string>();

  constructor() {
    super(() => []);
  }
  #told(call: string): void {
    const errno = this.failing.get(call);
    if (errno !== undefined) throw new SystemError(errno, 'setsockopt');
    this.calls.push(call);
  }
  override setsockopt(_fd: number, level: number, option: number, value: Uint8Array = new Uint8Array()): void {
    expect(level).to.equal(6);
    const at = (index: number) => value[index] ?? -1;
    this.bytes.push(value);
    if (option === 38) {
      const [sendId, receiveId] = [at(203), at(204)];
      this.#told(`add ${sendId}`);
      if (this.keys.some((other) => other.sendId === sendId || other.receiveId === receiveId))
        throw new SystemError('EEXIST', 'setsockopt');
      this.keys.unshift({ sendId, receiveId });
      if ((at(196) & 1) !== 0) this.current = sendId;
      if ((at(196) & 2) !== 0) this.asked = receiveId;
    } else if (option === 39) {
      const [sendId, receiveId] = [at(139), at(140)];
      this.#told(`delete ${sendId}`);
      if (!this.keys.some((other) => other.sendId === sendId)) throw new SystemError('ENOENT', 'setsockopt');
      if (sendId === this.current || receiveId === this.asked) throw new SystemError('EBUSY', 'setsockopt');
      this.keys = this.keys.filter((other) => other.sendId !== sendId);
    } else if (option === 40) {
      this.#told(`ask ${at(7)} flags ${at(0)}`);
      this.asked = at(7);
    } else throw new SystemError('ENOPROTOOPT', 'setsockopt');
  }
  override getsockopt(_fd: number, _level: number, option: number, value: Uint8Array, length: number): void {
    const errno = this.failing.get('list');
    if (errno !== undefined) throw new SystemError(errno, 'getsockopt');
    expect([option, length, value[276]]).to.deep.equal([41, 304, 4]);
    expect(value.length).to.equal(304 * 256);
    if (this.keys.length === 0) throw new SystemError('ENOENT', 'getsockopt');
    new DataView(value.buffer).setUint32(272, this.keys.length, true);
    for (const [i, { sendId, receiveId }] of this.keys.entries()) {
      value.set([sendId, receiveId], i * 304 + 278);
      value[i * 304 + 276] = sendId === this.current ? 1 : 0;
    }
  }
}

const peer = { fd: 7, socketFamily: 4, address: ADDRESS } as const;
const hex = (bytes: Uint8Array | undefined, from: number, to: number) =>
  Buffer.from((bytes ?? new Uint8Array()).subarray(from, to)).toString('hex');

describe('world/real/tcp-ao: structures', () => {
  const added = (socketFamily: 4 | 6, address: string, each: AoKey) => {
    const kernel = new AoKernel();
    changeListenerAoKeys(kernel, { fd: 7, socketFamily, address }, [], [each]);
    return kernel.bytes[0];
  };

  it('a key has an address with its length, a name of an algorithm, ids, a length of the code, and itself', () => {
    const bytes = added(4, ADDRESS, key(5, { algorithm: 'cmac-aes128', macLength: 16 }));
    expect(bytes?.length).to.equal(288);
    // AF_INET, no port, the address; then nothing up to the algorithm.
    expect(hex(bytes, 0, 8)).to.equal('02000000c0000201');
    expect(hex(bytes, 8, 128)).to.equal('00'.repeat(120));
    expect(hex(bytes, 128, 192)).to.equal(Buffer.from('cmac(aes128)').toString('hex').padEnd(128, '0'));
    // Interface, flags and the reserved half word are none; /32, ids, length of the code, no key flags, length of the key.
    expect(hex(bytes, 192, 202)).to.equal('00'.repeat(10));
    expect(hex(bytes, 202, 208)).to.equal('200569100008');
    expect(hex(bytes, 208, 288)).to.equal(Buffer.from('secret 5').toString('hex').padEnd(160, '0'));
  });

  it('the address is of the family of the socket, and without its interface', () => {
    const addressOf = (family: 4 | 6, address: string) => {
      const bytes = added(family, address, key(1));
      return [hex(bytes, 0, 24), bytes?.[202]];
    };
    expect(addressOf(6, '2001:db8::1')).to.deep.equal(['0a00000000000000' + '20010db8' + '00'.repeat(11) + '01', 128]);
    expect(addressOf(6, 'fe80::1%eth0')).to.deep.equal(['0a00000000000000' + 'fe80' + '00'.repeat(13) + '01', 128]);
    expect(addressOf(6, ADDRESS)).to.deep.equal(['0a00000000000000' + '00'.repeat(10) + 'ffffc0000201', 32]);
  });

  it('every algorithm has its name in the kernel', () => {
    const nameOf = (algorithm: AoKey['algorithm']) => {
      const bytes = added(4, ADDRESS, key(1, { algorithm }));
      return Buffer.from(bytes?.subarray(128, 192) ?? [])
        .toString()
        .replace(/\0+$/, '');
    };
    expect((['hmac-sha1', 'cmac-aes128', 'hmac-sha256'] as const).map(nameOf)).to.deep.equal([
      ...['hmac(sha1)', 'cmac(aes128)', 'hmac(sha256)'],
    ]);
  });

  it('a key of 80 octets fits, one more is refused before the kernel sees it', () => {
    expect(added(4, ADDRESS, key(1, { key: 'é'.repeat(40) }))?.[207]).to.equal(80);
    expect(() => added(4, ADDRESS, key(1, { key: 'x'.repeat(81) }))).to.throw(
      SystemError,
      'EINVAL: a key of 81 octets',
    );
  });

  it('taking a key from a listener is done where there is none, be it that the kernel knows no keys at all', () => {
    for (const errno of ['ENOENT', 'ENOPROTOOPT']) {
      const kernel = new AoKernel();
      for (const call of ['delete 1', 'add 1']) kernel.failing.set(call, errno);
      changeListenerAoKeys(kernel, peer, [key(1)], []);
      expect(() => changeListenerAoKeys(kernel, peer, [key(1)], [key(1)])).to.throw(SystemError);
    }
  });

  it('taking a key from a listener does not wait for the kernel, taking one from a connection does', () => {
    const kernel = new AoKernel();
    kernel.keys = [key(1), key(2)];
    changeListenerAoKeys(kernel, peer, [key(1)], []);
    expect(kernel.bytes[0]?.length).to.equal(144);
    expect(hex(kernel.bytes[0], 0, 8)).to.equal('02000000c0000201');
    expect(hex(kernel.bytes[0], 128, 144)).to.equal('00000000' + '04000000' + '0000' + '20' + '0165' + '000000');
    setAoKeys(kernel, peer, [key(3)]);
    expect(hex(kernel.bytes.at(-1), 128, 144)).to.equal('00000000' + '00000000' + '0000' + '20' + '0266' + '000000');
  });
});

describe('world/real/tcp-ao: keys of a connection', () => {
  it('a new one has them all, sends with the first, asks for the first, and takes nothing that is not signed', () => {
    const kernel = new AoKernel();
    setAoKeys(kernel, peer, [key(1), key(2)]);
    expect(kernel.calls).to.deep.equal(['add 1', 'add 2', 'ask 101 flags 6']);
    expect([kernel.current, kernel.asked, kernel.bytes.at(-1)?.length]).to.deep.equal([1, 101, 48]);
  });

  it('a running one gets the new key first, then the other side is asked for it, then the old one goes', () => {
    const kernel = new AoKernel();
    setAoKeys(kernel, peer, [key(1)]);
    kernel.calls.length = 0;
    // The other side has the new key already, and has asked for it.
    kernel.current = 2;
    setAoKeys(kernel, peer, [key(2)]);
    expect(kernel.calls).to.deep.equal(['add 2', 'ask 102 flags 6', 'delete 1']);
    expect(kernel.keys.map(({ sendId }) => sendId)).to.deep.equal([2]);
    kernel.calls.length = 0;
    setAoKeys(kernel, peer, [key(2)]);
    expect(kernel.calls, 'the same again').to.deep.equal(['ask 102 flags 6']);
  });

  it('a key that the other side still asks for stays and is told, and goes when that is over', () => {
    const kernel = new AoKernel();
    setAoKeys(kernel, peer, [key(1)]);
    const change = () => setAoKeys(kernel, peer, [key(2)]);
    expect(change).to.throw(SystemError, 'TCP-AO key 1/101: EBUSY: the other side still asks for it');
    expect([kernel.asked, kernel.keys.length]).to.deep.equal([102, 2]);
    expect(kernel.calls, 'the kernel is not even asked').to.not.include('delete 1');
    kernel.current = 2;
    change();
    expect(kernel.keys.length).to.equal(1);
  });

  it('ids that change sides are there after the old key has gone', () => {
    const kernel = new AoKernel();
    setAoKeys(kernel, peer, [key(1), key(2)]);
    const swapped = [key(1), { ...key(3), sendId: 2 }];
    expect(() => setAoKeys(kernel, peer, swapped)).to.throw(
      SystemError,
      'key 2/103: EEXIST: another key has one of its',
    );
    setAoKeys(kernel, peer, swapped);
    expect(kernel.keys).to.have.deep.members([
      { sendId: 1, receiveId: 101 },
      { sendId: 2, receiveId: 103 },
    ]);
  });

  const refusals: readonly (readonly [call: string, errno: string, message: string])[] = [
    ['list', 'ENOPROTOOPT', 'TCP-AO: ENOTSUP: this kernel has none (CONFIG_TCP_AO, Linux 6.7)'],
    ['add 1', 'ENOPROTOOPT', 'TCP-AO: ENOTSUP: this kernel has none (CONFIG_TCP_AO, Linux 6.7)'],
    ['add 1', 'EISCONN', 'TCP-AO key 1/101: EISCONN: the connection began without TCP-AO'],
    ['add 1', 'EKEYREJECTED', 'TCP-AO key 1/101: EKEYREJECTED: there is a TCP-MD5 key too'],
    ['add 1', 'ENOENT', 'TCP-AO key 1/101: ENOENT'],
    ['ask 101 flags 6', 'EISCONN', 'TCP-AO key 1/101: EISCONN: the connection began without TCP-AO'],
  ];
  for (const [call, errno, message] of refusals) {
    it(`${errno} at “${call}” is told: ${message}`, () => {
      const kernel = new AoKernel();
      kernel.failing.set(call, errno);
      expect(() => setAoKeys(kernel, peer, [key(1)])).to.throw(SystemError, message);
    });
  }

  it('no message has a word of a key', () => {
    for (const [call, errno] of refusals) {
      const kernel = new AoKernel();
      kernel.failing.set(call, errno);
      expect(() => setAoKeys(kernel, peer, [key(1)])).to.throw(/^(?!.*secret)/);
    }
  });

  it('the real kernel here either takes keys or says that it has no TCP-AO', async () => {
    const { openLibc } = await import('../../../src/ffi/libc.ts');
    const libc: Libc = openLibc();
    const fd = libc.socket(2, 1, 0);
    try {
      setAoKeys(libc, { ...peer, fd }, [key(1), key(2)]);
      expect(listAoKeys(libc, fd)).to.have.deep.members(
        [1, 2].map((id) => ({ sendId: id, receiveId: id + 100, current: id === 1 })),
      );
    } catch (error) {
      expect(error)
        .to.be.instanceOf(SystemError)
        .with.property('message')
        .that.matches(/^TCP-AO: ENOTSUP: this kernel/);
    } finally {
      libc.close(fd);
    }
  });
});

describe('world/real/listener-keys', () => {
  /** A listener whose settings are a list of words. */
  function listener(at: string) {
    const calls: string[] = [];
    const failing = new Set<string>();
    const call = (text: string) => {
      calls.push(text);
      if (failing.has(text)) throw new SystemError('EIO', text);
    };
    const ids = (keys: readonly AoKey[]) => keys.map(({ sendId }) => sendId).join('+') || 'none';
    const options: SocketOptions = {
      apply: () => {},
      setListenerTtl: (_fd, _family, ttl) => call(`ttl ${ttl}`),
      setMd5Key: (_fd, _family, address, md5Key) => call(`md5 ${address} ${md5Key}`),
      changeListenerAoKeys: (_fd, family, address, remove, add) =>
        call(`ao${family} ${address} -${ids(remove)} +${ids(add)}`),
      setKeepAlive: () => {},
      resetOnClose: () => {},
    };
    const tune = listenerTuning(at, () => ({ fd: 3, options }));
    const told = (ttl: number | null, md5: Readonly<Record<string, string>>, ao: Readonly<Record<string, AoKey[]>>) => {
      calls.length = 0;
      tune({ ttl, md5Keys: new Map(Object.entries(md5)), aoKeys: new Map(Object.entries(ao)) });
      return calls.slice();
    };
    return { told, failing, calls };
  }

  it('asks nothing of the kernel while there is nothing to set', () => {
    expect(listener('0.0.0.0').told(null, {}, { '2001:db8::1': [key(1)] })).to.deep.equal([]);
  });

  it('touches only the keys of addresses whose keys changed', () => {
    const { told } = listener('::');
    const one = [key(1)];
    expect(told(null, {}, { [ADDRESS]: one, '2001:db8::1': one })).to.deep.equal([
      ...['ttl null', 'ao6 192.0.2.1 -none +1', 'ao6 2001:db8::1 -none +1'],
    ]);
    const next = told(null, {}, { [ADDRESS]: [key(2), key(1)], '2001:db8::1': one });
    expect(next).to.include('ao6 192.0.2.1 -none +2').and.include('ao6 2001:db8::1 -none +none');
    expect(told(null, {}, { '2001:db8::1': [key(1, { key: 'other' })] })).to.deep.equal([
      ...['ttl null', 'ao6 192.0.2.1 -2+1 +none', 'ao6 2001:db8::1 -1 +1'],
    ]);
  });

  it('a peer that changes from one way to the other loses the old key before it gets the new one', () => {
    const { told } = listener('0.0.0.0');
    told(null, { [ADDRESS]: 'x' }, {});
    expect(told(null, {}, { [ADDRESS]: [key(1)] })).to.deep.equal([
      ...['ttl null', `md5 ${ADDRESS} null`, `ao4 ${ADDRESS} -none +1`],
    ]);
    expect(told(null, { [ADDRESS]: 'x' }, {})).to.deep.equal([
      ...['ttl null', `ao4 ${ADDRESS} -1 +none`, `md5 ${ADDRESS} x`],
    ]);
  });

  it('a key that could not be taken away is taken away the next time', () => {
    const { told, failing } = listener('0.0.0.0');
    const other = '192.0.2.2';
    told(null, { [ADDRESS]: 'x' }, { [other]: [key(1)] });
    const removals = [`md5 ${ADDRESS} null`, `ao4 ${other} -1 +none`];
    for (const removal of removals) failing.add(removal);
    for (let i = 0; i < 2; i++) expect(() => told(null, {}, {})).to.throw(SystemError, 'EIO');
    failing.clear();
    expect(told(null, {}, {})).to.deep.equal(['ttl null', ...removals]);
    expect(told(null, {}, {})).to.deep.equal([]);
  });

  it('a key that could not be replaced is not forgotten, nor what may have come in its place', () => {
    const { told, failing } = listener('0.0.0.0');
    told(null, {}, { [ADDRESS]: [key(1)] });
    failing.add(`ao4 ${ADDRESS} -1 +2`);
    expect(() => told(null, {}, { [ADDRESS]: [key(2)] })).to.throw(SystemError, 'EIO');
    failing.clear();
    expect(told(null, {}, { [ADDRESS]: [key(2)] })).to.include(`ao4 ${ADDRESS} -1+2 +2`);
    expect(told(null, {}, { [ADDRESS]: [key(2)] })).to.include(`ao4 ${ADDRESS} -none +none`);
  });

  it('what fails for one address is told after the others have theirs, and is done anew the next time', () => {
    const { told, failing, calls } = listener('0.0.0.0');
    failing.add(`ao4 ${ADDRESS} -none +1+2`);
    const wanted = { [ADDRESS]: [key(1), key(2)], '192.0.2.2': [key(3)] };
    expect(() => told(255, { '192.0.2.3': 'x' }, wanted)).to.throw(SystemError, 'EIO');
    expect(calls).to.include('ao4 192.0.2.2 -none +3').and.include('md5 192.0.2.3 x');
    expect(told(255, { '192.0.2.3': 'x' }, wanted)).to.include(`ao4 ${ADDRESS} -1+2 +1+2`);
  });
});
