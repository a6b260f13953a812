// What the conformance suite can not see of the operating system's UDP sockets: descriptors, and an event loop at rest.

import { readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'chai';
import { openLibc } from '../../../src/ffi/libc.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { createUdp } from '../../../src/world/real/udp.ts';
import { codeOf } from '../../support/world-conformance.ts';
import { eventually } from '../../support/namespace.ts';

describe('The sockets below UDP', () => {
  const udp = createUdp();
  /** Nobody listens there. */
  const NOBODY = { address: '127.0.0.73', port: 29_399 };
  const NOTHING = { onDatagram() {}, onError() {} };
  /** They hold memory, also without a descriptor. */
  const socketsOfNode = () => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
  const descriptors = () => readdirSync('/proc/self/fd').length;

  it('are given back, also when opening fails half-way', async () => {
    const before = descriptors();
    const socketsBefore = socketsOfNode();
    for (let i = 0; i < 200; i++) {
      (await udp.open(NOBODY, NOTHING)).close();
      expect(await codeOf(udp.open({ ...NOBODY, localAddress: '203.0.113.9' }, NOTHING))).to.equal('EADDRNOTAVAIL');
      expect(await codeOf(udp.open({ ...NOBODY, localAddress: '::1' }, NOTHING))).to.equal('EINVAL');
      expect(await codeOf(udp.open({ ...NOBODY, port: 0 }, NOTHING))).to.equal('EINVAL');
    }
    // Node closes after this turn of the event loop.
    await setTimeout(20);
    expect(descriptors() - before).to.be.lessThan(50);
    expect(socketsOfNode() - socketsBefore).to.be.lessThan(50);
  });

  it('are given back when Node does not take them', async () => {
    const libc = openLibc();
    const STREAM_CLOEXEC = 1 | 0o2000000;
    const wrong = { ...libc, socket: (domain: number) => libc.socket(domain, STREAM_CLOEXEC, 0), connect() {} };
    const before = descriptors();
    const socketsBefore = socketsOfNode();
    for (let i = 0; i < 20; i++) expect(await codeOf(createUdp(() => wrong).open(NOBODY, NOTHING))).to.equal('EPROTO');
    await setTimeout(20);
    expect(descriptors() - before).to.be.lessThan(10);
    expect(socketsOfNode() - socketsBefore).to.be.lessThan(10);
  });

  it('send once more what ICMP says was too long: the kernel has learned, and the server is not to blame', async () => {
    const libc = openLibc();
    // struct sock_extended_err: EMSGSIZE, of ICMP, type 3 (unreachable), code 4 (fragmentation needed).
    const extended = new Uint8Array(16);
    extended.set([90, 0, 0, 0, 2, 3, 4]);
    const queue = [{ extended, packet: new Uint8Array(), to: new Uint8Array() }];
    const sent: number[] = [];
    const refusing = {
      ...libc,
      takeError: () => queue.shift() ?? null,
      send: (_: number, bytes: Uint8Array) => {
        if (sent.push(bytes.length) === 1) throw new SystemError('EMSGSIZE', 'send');
        return bytes.length;
      },
    };
    const errors: unknown[] = [];
    const socket = await createUdp(() => refusing).open(NOBODY, { ...NOTHING, onError: (error) => errors.push(error) });
    socket.send(new Uint8Array(1400));
    await setTimeout(20);
    socket.close();
    expect({ sent, errors }).to.deep.equal({ sent: [1400, 1400], errors: [] });
  });

  it('are not for where this host has an unreachable route to', async () => {
    const connect = () => {
      throw new SystemError('EHOSTUNREACH', 'connect');
    };
    const opening = createUdp(() => ({ ...openLibc(), connect })).open(NOBODY, NOTHING);
    expect(await codeOf(opening)).to.equal('ENETUNREACH');
  });

  it('tell each ICMP error once and with its sender, and then keep quiet', async () => {
    const errors: string[] = [];
    const socket = await udp.open(NOBODY, { ...NOTHING, onError: (error) => errors.push(error.message) });
    // The second one meets the error of the first.
    for (let i = 0; i < 2; i++) socket.send(new Uint8Array([i]));
    await eventually('both errors', () => errors.length === 2 || null);
    const { user, system } = process.cpuUsage();
    await setTimeout(300);
    const spent = process.cpuUsage({ user, system });
    socket.close();
    const words = 'udp 127.0.0.73:29399: ECONNREFUSED: ICMP port unreachable, says 127.0.0.73';
    expect(errors).to.deep.equal([words, words]);
    expect((spent.user + spent.system) / 1000, 'ms of CPU in 300 ms').to.be.lessThan(200);
  });
});
