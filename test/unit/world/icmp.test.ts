// Pings of the operating system: what is written and read, and, where this process may ping, the loopback.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import { Knife } from '../../../src/lib/cut.ts';
import { createIcmp } from '../../../src/world/real/icmp.ts';
import { icmpError } from '../../../src/world/real/icmp-errors.ts';
import { checksum, echoRequest, readRaw, readReply, requestIn } from '../../../src/world/real/icmp-packet.ts';
import { createRealWorld, type RealWorld } from '../../../src/world/real/world.ts';
import { codeOf, icmpCases } from '../../support/world-conformance.ts';

/** The kernel's rule (icmp(7)), and CAP_NET_RAW, which is bit 13. */
function mayPing(): boolean {
  const [low = 1, high = 0] = readFileSync('/proc/sys/net/ipv4/ping_group_range', 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number);
  const groups = [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])];
  const capabilities = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return groups.some((group) => group >= low && group <= high) || ((BigInt(`0x${capabilities}`) >> 13n) & 1n) === 1n;
}

describe("The operating system's ICMP", () => {
  if (mayPing()) {
    let world: RealWorld;
    before(async () => {
      world = await createRealWorld({ backend: 'userspace', log: () => {}, loadMonitor: async () => null });
    });
    after(() => world.close());
    for (const { title, run } of icmpCases) {
      for (const address of ['127.0.0.1', '::1']) {
        if (address === '::1' && title.includes('source')) continue;
        it(`${title} (${address})`, () => run({ world, address, port: 0, folder: '' }));
      }
    }
  } else {
    it('says that this process may not ping', async () => {
      expect(await codeOf(createIcmp(() => false).ping({ address: '127.0.0.1' }, new Knife()))).to.equal('EACCES');
    });
  }
});

describe('an ICMP echo', () => {
  const cookie = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);

  it('has a checksum that makes the sum of all its words zero (RFC 1071)', () => {
    const lengths = fc.integer({ min: 16, max: 300 });
    const words = fc.integer({ min: 0, max: 65_535 });
    fc.assert(
      fc.property(words, words, lengths, (id, sequence, bytes) => {
        const packet = echoRequest(4, id, sequence, cookie, bytes);
        expect(packet).to.have.length(8 + bytes);
        expect(checksum(packet)).to.equal(0);
        expect(requestIn(4, packet)).to.equal(sequence);
      }),
      { numRuns: 50 },
    );
  });

  it('is known again in its reply', () => {
    const request = echoRequest(6, 0, 515, cookie, 16);
    expect(readReply(6, request)).to.equal(null);
    const reply = Uint8Array.from(request);
    reply[0] = 129;
    expect(readReply(6, reply)).to.deep.equal({ is: 'reply', sequence: 515, payload: request.subarray(8) });
    expect(readRaw(6, reply, 0)).to.deep.include({ is: 'reply', sequence: 515 });
    expect(readRaw(6, reply, 1), 'with the identifier of somebody else').to.equal(null);
  });

  it('is known again where a raw socket hears an ICMP error that quotes it', () => {
    const request = echoRequest(4, 77, 515, cookie, 16);
    const header = (protocol: number) =>
      Uint8Array.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9]);
    const error = Uint8Array.from([...header(1), 3, 13, 0, 0, 0, 0, 0, 0, ...header(1), ...request.subarray(0, 8)]);
    expect(readRaw(4, error, 77)).to.deep.equal({ is: 'error', sequence: 515, to: '192.0.2.9', type: 3, code: 13 });
    expect(readRaw(4, error, 78), 'of somebody else').to.equal(null);
    const ofUdp = Uint8Array.from([...header(1), 3, 3, 0, 0, 0, 0, 0, 0, ...header(17), ...request.subarray(0, 8)]);
    expect(readRaw(4, ofUdp, 77)).to.equal(null);
  });

  it('survives whatever a raw socket hears', () => {
    const families = fc.constantFrom(4 as const, 6 as const);
    fc.assert(
      fc.property(families, fc.uint8Array({ maxLength: 120 }), (family, bytes) => {
        readRaw(family, bytes, 1);
        readReply(family, bytes);
      }),
    );
  });
});

describe('an ICMP error', () => {
  const words = (family: 4 | 6, type: number, code: number) => {
    const error = icmpError({ family, type, code, from: '192.0.2.254' }, 'ping 192.0.2.9', () => false);
    return error === null ? null : error.message;
  };

  it('is told with who said it', () => {
    expect(words(4, 3, 3)).to.equal('ping 192.0.2.9: ECONNREFUSED: ICMP port unreachable, says 192.0.2.254');
    expect(words(4, 3, 0)).to.equal('ping 192.0.2.9: EHOSTUNREACH: ICMP network unreachable, says 192.0.2.254');
    expect(words(4, 3, 13)).to.equal('ping 192.0.2.9: EHOSTUNREACH: ICMP communication prohibited, says 192.0.2.254');
    expect(words(4, 11, 0)).to.equal('ping 192.0.2.9: EHOSTUNREACH: ICMP TTL exceeded, says 192.0.2.254');
    expect(words(6, 1, 4)).to.contain('ECONNREFUSED: ICMP port unreachable');
    expect(words(6, 1, 1)).to.contain('EHOSTUNREACH: ICMP communication prohibited');
    expect(words(6, 3, 0)).to.contain('ICMP hop limit exceeded');
    expect(words(4, 3, 200)).to.contain('ICMP unreachable (code 200)');
  });

  it('about a length that the kernel has learned of says nothing of the server', () => {
    expect(words(4, 3, 4)).to.equal(null);
    expect(words(6, 2, 0)).to.equal(null);
  });

  it('of our own kernel about a neighbour names the neighbour', () => {
    const error = icmpError({ family: 4, type: 3, code: 1, from: '192.0.2.1' }, 'ping 192.0.2.9', () => true);
    expect(error?.message).to.equal('ping 192.0.2.9: EHOSTUNREACH: no neighbour answers for this address');
  });
});
