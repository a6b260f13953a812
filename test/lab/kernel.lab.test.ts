// The kernel backends alone against the real kernel, in the guest's own namespace: what it refuses is told for the entry
// it belongs to, and everything else is done. ipvsadm and ip are the witnesses.

import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { openLibc, type Libc } from '../../src/ffi/libc.ts';
import { ipvsadmLine } from '../../src/ipvs/ipvsadm.ts';
import { encodeOp, IPVS_FAMILY } from '../../src/ipvs/messages.ts';
import { openNetlinkIpvs, type NetlinkIpvs } from '../../src/ipvs/netlink.ts';
import {
  destinationKey,
  FLAG,
  serviceKey,
  type IpvsDestination,
  type IpvsOp,
  type IpvsService,
} from '../../src/ipvs/table.ts';
import type { SystemError } from '../../src/lib/errors.ts';
import { familyNumber } from '../../src/netlink/generic.ts';
import { NETLINK_GENERIC, NetlinkSocket, type Encode } from '../../src/netlink/socket.ts';
import { openNetlinkVips } from '../../src/vip/rtnetlink.ts';
import { run } from './topology/process.ts';
import { theLab } from './topology/lab.ts';

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;

function service(address: string, more: Partial<IpvsService> = {}): IpvsService {
  const key = serviceKey('tcp', address, 80);
  const persistencePrefix = address.includes(':') ? 128 : 32;
  const plain = { scheduler: 'wrr', flags: 0, persistenceSeconds: 0, persistencePrefix, fwmark: 0 };
  return { key, protocol: 'tcp', address, port: 80, ...plain, ...more };
}

function destination(address: string, more: Partial<IpvsDestination> = {}): IpvsDestination {
  const key = destinationKey(address, more.port ?? 80);
  return { key, address, port: 80, forward: 'dr', weight: 10, upperThreshold: 0, lowerThreshold: 0, ...more };
}

const ipvsadm = async (): Promise<readonly string[]> =>
  (await run('ipvsadm', ['-Sn']))
    .split('\n')
    .filter((line) => line !== '')
    .sort();
const codes = (results: readonly (null | SystemError)[]): readonly (string | null)[] =>
  results.map((result) => result?.code ?? null);

describe('lab: the kernel backends', () => {
  let ipvs: NetlinkIpvs;
  before(async () => {
    await theLab();
    ipvs = openNetlinkIpvs(() => setImmediate());
  });
  beforeEach(() => run('ipvsadm', ['-C']));
  after(async () => {
    ipvs.close();
    await run('ipvsadm', ['-C']);
  });

  const web = service('10.99.0.1');
  const r1 = destination('10.2.0.21');
  const addWeb: readonly IpvsOp[] = [
    { do: 'add-service', service: web },
    { do: 'add-destination', service: web, destination: r1 },
  ];

  it('tells each refusal of the kernel for the change it belongs to, and makes the others', async () => {
    const gone = service('10.99.0.2');
    const ops: readonly IpvsOp[] = [
      ...addWeb,
      { do: 'add-service', service: web },
      { do: 'add-destination', service: web, destination: r1 },
      { do: 'add-destination', service: gone, destination: r1 },
      { do: 'delete-service', service: gone },
      { do: 'set-destination', service: web, destination: destination('10.2.0.22') },
      { do: 'add-service', service: service('10.99.0.3', { scheduler: 'nosuch' }) },
      { do: 'add-destination', service: web, destination: destination('10.2.0.23', { weight: 3 }) },
    ];
    const results = await ipvs.apply(ops);
    expect(codes(results)).to.deep.equal([
      ...[null, null, 'EEXIST', 'EEXIST', 'ESRCH', 'ESRCH', 'ENOENT', 'ENOENT', null],
    ]);
    expect(await ipvsadm()).to.deep.equal([
      '-A -t 10.99.0.1:80 -s wrr',
      '-a -t 10.99.0.1:80 -r 10.2.0.21:80 -g -w 10',
      '-a -t 10.99.0.1:80 -r 10.2.0.23:80 -g -w 3',
    ]);
  });

  it('reads back what it wrote, in every kind that a configuration can ask for', async () => {
    const wanted: readonly (readonly [IpvsService, readonly IpvsDestination[]])[] = [
      [web, [r1, destination('10.2.0.22', { weight: 0 })]],
      [
        service('10.99.0.4', { scheduler: 'mh', flags: FLAG.sched2 }),
        [destination('10.2.0.21', { forward: 'tunnel' })],
      ],
      [
        service('10.99.0.5', {
          scheduler: 'sh',
          flags: FLAG.persistent,
          persistenceSeconds: 60,
          persistencePrefix: 24,
        }),
        [destination('10.2.0.21', { forward: 'nat', port: 8080 })],
      ],
      [service('fd00:99::1', { scheduler: 'lc' }), [destination('fd00:2::21', { weight: 7 })]],
      [
        {
          ...service('10.99.0.6', { flags: FLAG.onePacket }),
          protocol: 'udp',
          key: serviceKey('udp', '10.99.0.6', 80),
        },
        [destination('10.2.0.24')],
      ],
    ];
    const ops = wanted.flatMap(([each, reals]): IpvsOp[] => [
      { do: 'add-service', service: each },
      ...reals.map((real): IpvsOp => ({ do: 'add-destination', service: each, destination: real })),
    ]);
    expect(codes(await ipvs.apply(ops))).to.deep.equal(ops.map(() => null));
    const table = await ipvs.list();
    expect([...table.keys()].sort()).to.deep.equal(wanted.map(([each]) => each.key).sort());
    for (const [each, reals] of wanted) {
      const entry = table.get(each.key);
      expect({ ...entry?.service, flags: (entry?.service.flags ?? 0) & ~FLAG.hashed }).to.deep.equal(each);
      expect([...(entry?.destinations.values() ?? [])]).to.have.deep.members([...reals]);
    }
  });

  it('says ENOBUFS for what the kernel could not tell, never that it was done', async () => {
    // A receive buffer that holds a few answers, and a batch that the kernel answers 200 times.
    const libc = openLibc();
    const small: Libc = {
      ...libc,
      setsockopt(fd, level, option, value) {
        const receiveBuffer = level === SOL_SOCKET && (option === SO_RCVBUFFORCE || option === SO_RCVBUF);
        libc.setsockopt(fd, level, option, receiveBuffer ? new Uint8Array(new Int32Array([4096]).buffer) : value);
      },
    };
    const socket = new NetlinkSocket(small, NETLINK_GENERIC);
    const family = familyNumber(socket, IPVS_FAMILY);
    const encode: Encode<IpvsOp> = (writer, op, flags, seq, previous) =>
      encodeOp(writer, op, previous, family, flags, seq);
    await ipvs.apply(addWeb);
    const ops: readonly IpvsOp[] = [
      ...Array.from({ length: 199 }, (): IpvsOp => ({ do: 'add-service', service: web })),
      { do: 'add-destination', service: web, destination: destination('10.2.0.22') },
    ];
    const results: (null | SystemError)[] = [];
    socket.batch(ops, 0, encode, ipvsadmLine, results);
    // The socket may be told of the overrun before it is given the answers that fitted.
    for (const code of codes(results)) expect(code).to.be.oneOf(['EEXIST', 'ENOBUFS']);
    expect(results.at(-1)?.code, 'the last one was done, and nobody was told').to.equal('ENOBUFS');
    expect(await ipvsadm()).to.include('-a -t 10.99.0.1:80 -r 10.2.0.22:80 -g -w 10');

    const after: (null | SystemError)[] = [];
    socket.batch([{ do: 'delete-service', service: web } satisfies IpvsOp], 0, encode, ipvsadmLine, after);
    socket.close();
    expect(after, 'the next change on the same socket').to.deep.equal([null]);
    expect(await ipvsadm()).to.deep.equal([]);
  });

  it('lists and changes a table of 500 services that somebody else changes meanwhile', async () => {
    const services = Array.from({ length: 500 }, (_, i) => service(`10.98.${i >> 8}.${i & 255}`));
    const ops = services.flatMap((each): IpvsOp[] => [
      { do: 'add-service', service: each },
      ...[21, 22, 23].map((last): IpvsOp => {
        return { do: 'add-destination', service: each, destination: destination(`10.2.0.${last}`) };
      }),
    ]);
    const applied = ipvs.apply(ops);
    const other = run('ipvsadm', ['-A', '-t', '10.97.0.1:80', '-s', 'rr']);
    expect((await applied).filter((result) => result !== null)).to.deep.equal([]);
    await other;
    const deleted = run('ipvsadm', ['-D', '-t', `${services[0]?.address}:80`]);
    const table = await ipvs.list();
    await deleted;
    // Read before or after the deletion, but never a service without its destinations.
    expect(table.size).to.be.within(500, 501);
    for (const [key, { destinations }] of table)
      expect(destinations.size, key).to.equal(key.includes('10.97.') ? 0 : 3);
  });

  it('puts VIPs on lo and takes them away, and knows its own', async () => {
    const vips = openNetlinkVips(() => setImmediate());
    const add = [
      { do: 'add-address', address: '10.99.0.1', family: 4 },
      { do: 'add-address', address: 'fd00:99::1', family: 6 },
    ] as const;
    expect(codes(await vips.apply(add))).to.deep.equal([null, null]);
    expect(codes(await vips.apply(add.slice(0, 1)))).to.deep.equal(['EEXIST']);
    const table = await vips.list(['10.99.0.1', 'fd00:99::1', '10.2.0.100']);
    expect(table.get('10.99.0.1')).to.deep.include({ prefixLength: 32, interface: 'lo' });
    expect(table.get('fd00:99::1')).to.deep.include({ prefixLength: 128, interface: 'lo' });
    expect(table.get('10.2.0.100')).to.deep.include({ prefixLength: 24, interface: 'br-lan', protocol: 0 });
    const shown = await run('ip', ['-o', 'address', 'show', 'dev', 'lo']);
    expect(shown)
      .to.match(/10\.99\.0\.1\/32/)
      .and.to.match(/fd00:99::1\/128(?!.*tentative)/);
    const drop = add.map(({ address, family }) => ({ do: 'delete-address', address, family }) as const);
    expect(codes(await vips.apply(drop))).to.deep.equal([null, null]);
    expect(codes(await vips.apply(drop.slice(0, 1)))).to.deep.equal(['EADDRNOTAVAIL']);
    vips.close();
  });
});
