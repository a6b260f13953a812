// What every kernel behind a World must do: run against the real one in the lab, with ipvsadm and ip(8) as witnesses, and
// against the simulator's, so that the simulator does not test a fiction. Each case leaves the tables as it found them.

import { expect } from 'chai';
import {
  destinationKey,
  FLAG,
  type IpvsDestination,
  type IpvsOp,
  type IpvsService,
  type IpvsTable,
  SCHEDULERS,
  type ServiceKey,
  serviceKey,
} from '../../src/ipvs/table.ts';
import type { SystemError } from '../../src/lib/errors.ts';
import { familyOf } from '../../src/lib/address.ts';
import { ADDRESS_PROTOCOL, type AddressOp, type AddressTable } from '../../src/vip/addresses.ts';
import type { Kernel } from '../../src/world/world.ts';

export interface KernelBench {
  readonly ipvs: Kernel<IpvsTable, IpvsOp, ServiceKey>;
  readonly vips: Kernel<AddressTable, AddressOp, string>;
  /** Somebody else's view of both tables must be what `list` says; throws where it is not. */
  witness(): Promise<void>;
}

export interface KernelCase {
  readonly title: string;
  run(bench: KernelBench): Promise<void>;
}

/** Add what is in the case's way of reading: `tcp 10.9.0.1:80` by wrr. */
export function serviceOf(changes: Partial<Omit<IpvsService, 'key'>> = {}): IpvsService {
  const service = {
    protocol: 'tcp' as const,
    address: '10.9.0.1',
    port: 80,
    fwmark: 0,
    scheduler: 'wrr',
    flags: 0,
    persistenceSeconds: 0,
    persistencePrefix: familyOf(changes.address ?? '10.9.0.1') === 6 ? 128 : 32,
    ...changes,
  };
  if (service.protocol === 'fwmark') throw new TypeError('a mark has no endpoint');
  return { key: serviceKey(service.protocol, service.address, service.port), ...service };
}

/** `10.2.0.21:80` by direct routing with weight 10. */
export function destinationOf(changes: Partial<Omit<IpvsDestination, 'key'>> = {}): IpvsDestination {
  const destination = {
    address: '10.2.0.21',
    port: 80,
    forward: 'dr' as const,
    weight: 10,
    upperThreshold: 0,
    lowerThreshold: 0,
    ...changes,
  };
  return { key: destinationKey(destination.address, destination.port), ...destination };
}

const codes = (results: readonly (null | SystemError)[]): readonly (string | null)[] =>
  results.map((result) => result && result.code);

/** All are done, or the first error is thrown. */
async function done(bench: KernelBench, ops: readonly IpvsOp[]): Promise<void> {
  const results = await bench.ipvs.apply(ops);
  expect(results.length).to.equal(ops.length);
  for (const result of results) if (result !== null) throw result;
}

/** The entries of `services` are as given, order of destinations aside, and a witness agrees. */
async function holds(
  bench: KernelBench,
  service: IpvsService,
  destinations: readonly IpvsDestination[],
): Promise<void> {
  const entry = (await bench.ipvs.list([service.key])).get(service.key);
  expect(entry?.service).to.deep.equal(service);
  const byKey = (a: IpvsDestination, b: IpvsDestination) => (a.key < b.key ? -1 : 1);
  expect([...(entry?.destinations.values() ?? [])].sort(byKey)).to.deep.equal([...destinations].sort(byKey));
  for (const [key, destination] of entry?.destinations ?? []) expect(key).to.equal(destination.key);
  await bench.witness();
}

const withService =
  (service: IpvsService, run: (bench: KernelBench) => Promise<void>) =>
  async (bench: KernelBench): Promise<void> => {
    await done(bench, [{ do: 'add-service', service }]);
    await run(bench);
    await done(bench, [{ do: 'delete-service', service }]);
    expect((await bench.ipvs.list([service.key])).size).to.equal(0);
  };

const web = serviceOf();
const web6 = serviceOf({ address: '2001:db8:9::1' });

/** Every scheduler, protocol and family, and every flag that one of them knows. */
const kindsOfService: readonly IpvsService[] = [
  ...SCHEDULERS.filter((scheduler) => scheduler !== 'twos').map((scheduler, i) =>
    serviceOf({ scheduler, port: 1000 + i }),
  ),
  serviceOf({ protocol: 'udp', port: 53 }),
  serviceOf({ protocol: 'sctp', port: 36412 }),
  serviceOf({ protocol: 'udp', port: 123, flags: FLAG.onePacket }),
  serviceOf({ port: 443, flags: FLAG.persistent, persistenceSeconds: 300 }),
  serviceOf({ port: 444, flags: FLAG.persistent, persistenceSeconds: 1, persistencePrefix: 20 }),
  serviceOf({ port: 81, scheduler: 'sh', flags: FLAG.sched1 | FLAG.sched2 }),
  serviceOf({ port: 82, scheduler: 'mh', flags: FLAG.sched1 }),
  serviceOf({ port: 83, scheduler: 'mh', flags: FLAG.sched2 }),
  serviceOf({ address: '2001:db8:9::1', port: 65535 }),
  serviceOf({ address: '2001:db8:9::2', protocol: 'udp', port: 53, scheduler: 'sh' }),
  serviceOf({ address: '2001:db8:9::3', flags: FLAG.persistent, persistenceSeconds: 60, persistencePrefix: 64 }),
];

export const ipvsCases: readonly KernelCase[] = [
  {
    title: 'lists every kind of service as it was added, and nothing when all are deleted',
    async run(bench) {
      await done(
        bench,
        kindsOfService.map((service) => ({ do: 'add-service', service })),
      );
      for (const service of kindsOfService) await holds(bench, service, []);
      expect((await bench.ipvs.list()).size).to.equal(kindsOfService.length);
      await done(
        bench,
        kindsOfService.map((service) => ({ do: 'delete-service', service })),
      );
      expect((await bench.ipvs.list()).size).to.equal(0);
    },
  },
  {
    title: 'lists every kind of destination as it was added',
    run: withService(web, async (bench) => {
      const kinds = [
        destinationOf(),
        destinationOf({ address: '10.2.0.22', forward: 'nat', port: 8080, weight: 0 }),
        destinationOf({ address: '10.2.0.23', forward: 'tunnel', weight: 65535 }),
        destinationOf({ address: '10.2.0.24', upperThreshold: 100, lowerThreshold: 50 }),
        destinationOf({ address: '10.2.0.25', upperThreshold: 100 }),
      ];
      await done(
        bench,
        kinds.map((destination) => ({ do: 'add-destination', service: web, destination })),
      );
      await holds(bench, web, kinds);
    }),
  },
  {
    title: 'lists every kind of IPv6 destination as it was added',
    run: withService(web6, async (bench) => {
      const kinds = (['dr', 'nat', 'tunnel'] as const).map((forward, i) =>
        destinationOf({ address: `2001:db8:2::${i + 1}`, forward, weight: i }),
      );
      await done(
        bench,
        kinds.map((destination) => ({ do: 'add-destination', service: web6, destination })),
      );
      await holds(bench, web6, kinds);
    }),
  },
  {
    title: 'lets a tunnel lead from one family into the other, and nothing else',
    run: withService(web, async (bench) => {
      const tunnel = destinationOf({ address: '2001:db8:2::1', forward: 'tunnel' });
      await done(bench, [{ do: 'add-destination', service: web, destination: tunnel }]);
      await holds(bench, web, [tunnel]);
      const results = await bench.ipvs.apply(
        (['dr', 'nat'] as const).map((forward) => ({
          do: 'add-destination',
          service: web,
          destination: { ...destinationOf({ address: '2001:db8:2::2' }), forward },
        })),
      );
      expect(codes(results)).to.deep.equal(['EINVAL', 'EINVAL']);
      await done(bench, [{ do: 'delete-destination', service: web, destination: tunnel }]);
      await holds(bench, web, []);
    }),
  },
  {
    title: 'changes a service and keeps its destinations',
    run: withService(web, async (bench) => {
      await done(bench, [{ do: 'add-destination', service: web, destination: destinationOf() }]);
      for (const change of [
        { scheduler: 'sh', flags: FLAG.sched2 },
        { scheduler: 'rr', flags: FLAG.persistent, persistenceSeconds: 120, persistencePrefix: 24 },
        {},
      ]) {
        const service = serviceOf(change);
        await done(bench, [{ do: 'set-service', service }]);
        await holds(bench, service, [destinationOf()]);
      }
    }),
  },
  {
    title: 'changes a destination, in place',
    run: withService(web, async (bench) => {
      await done(bench, [{ do: 'add-destination', service: web, destination: destinationOf() }]);
      for (const change of [
        { weight: 0 },
        { weight: 7, forward: 'tunnel' },
        { upperThreshold: 9, lowerThreshold: 9 },
      ] as const) {
        const destination = destinationOf(change);
        await done(bench, [{ do: 'set-destination', service: web, destination }]);
        await holds(bench, web, [destination]);
      }
    }),
  },
  {
    title: 'refuses what is there already, what is not there, and what cannot be',
    run: withService(web, async (bench) => {
      await done(bench, [{ do: 'add-destination', service: web, destination: destinationOf() }]);
      const gone = serviceOf({ port: 81 });
      const other = destinationOf({ address: '10.2.0.99' });
      const refused: readonly (readonly [IpvsOp, string])[] = [
        [{ do: 'add-service', service: web }, 'EEXIST'],
        [{ do: 'set-service', service: gone }, 'ESRCH'],
        [{ do: 'delete-service', service: gone }, 'ESRCH'],
        [{ do: 'add-service', service: { ...gone, scheduler: 'nonesuch' } }, 'ENOENT'],
        [{ do: 'set-service', service: { ...web, scheduler: 'nonesuch' } }, 'ENOENT'],
        [{ do: 'add-destination', service: gone, destination: other }, 'ESRCH'],
        [{ do: 'set-destination', service: gone, destination: other }, 'ESRCH'],
        [{ do: 'delete-destination', service: gone, destination: other }, 'ESRCH'],
        [{ do: 'add-destination', service: web, destination: destinationOf() }, 'EEXIST'],
        [{ do: 'set-destination', service: web, destination: other }, 'ENOENT'],
        [{ do: 'delete-destination', service: web, destination: other }, 'ENOENT'],
        [{ do: 'add-destination', service: web, destination: { ...other, weight: -1 } }, 'ERANGE'],
        [{ do: 'set-destination', service: web, destination: destinationOf({ weight: -1 }) }, 'ERANGE'],
        [
          { do: 'add-destination', service: web, destination: { ...other, upperThreshold: 1, lowerThreshold: 2 } },
          'ERANGE',
        ],
      ];
      for (const [op, code] of refused) {
        expect([op.do, ...codes(await bench.ipvs.apply([op]))]).to.deep.equal([op.do, code]);
      }
      expect(codes(await bench.ipvs.apply(refused.map(([op]) => op)))).to.deep.equal(refused.map(([, code]) => code));
      await holds(bench, web, [destinationOf()]);
    }),
  },
  {
    title: 'does all of a long list in order, whatever fails in between, and says which',
    async run(bench) {
      const ops: IpvsOp[] = [];
      const expected: (string | null)[] = [];
      const push = (op: IpvsOp, code: string | null) => void (ops.push(op), expected.push(code));
      for (let s = 0; s < 30; s++) {
        const service = serviceOf({ address: `10.9.1.${s}` });
        push({ do: 'add-service', service }, null);
        for (let d = 1; d <= 20; d++) {
          const destination = destinationOf({ address: `10.2.1.${d}`, weight: d });
          push({ do: 'add-destination', service, destination }, null);
          if (d % 7 === 0) push({ do: 'add-destination', service, destination }, 'EEXIST');
        }
        push({ do: 'delete-destination', service, destination: destinationOf({ address: '10.2.1.1' }) }, null);
        push({ do: 'delete-destination', service, destination: destinationOf({ address: '10.2.1.1' }) }, 'ENOENT');
      }
      expect(codes(await bench.ipvs.apply(ops))).to.deep.equal(expected);
      const table = await bench.ipvs.list();
      expect(table.size).to.equal(30);
      for (const { destinations } of table.values()) expect(destinations.size).to.equal(19);
      await bench.witness();
      await done(
        bench,
        [...table.values()].map(({ service }) => ({ do: 'delete-service', service })),
      );
    },
  },
  {
    title: 'lists only what is asked for, and leaves out what is not there',
    run: withService(web, async (bench) => {
      await done(bench, [{ do: 'add-service', service: web6 }]);
      const asked = await bench.ipvs.list([web6.key, 'tcp 10.9.9.9:1']);
      expect([...asked.keys()]).to.deep.equal([web6.key]);
      expect((await bench.ipvs.list([])).size).to.equal(0);
      expect((await bench.ipvs.list()).size).to.equal(2);
      await done(bench, [{ do: 'delete-service', service: web6 }]);
    }),
  },
  {
    title: 'deletes a service together with its destinations',
    async run(bench) {
      const ops: readonly IpvsOp[] = [
        { do: 'add-service', service: web },
        { do: 'add-destination', service: web, destination: destinationOf() },
        { do: 'delete-service', service: web },
        { do: 'add-service', service: web },
      ];
      await done(bench, ops);
      await holds(bench, web, []);
      await done(bench, [{ do: 'delete-service', service: web }]);
      expect(await bench.ipvs.apply([])).to.deep.equal([]);
    },
  },
];

const vip4 = { address: '10.9.0.1', family: 4 } as const;
const vip6 = { address: '2001:db8:9::1', family: 6 } as const;

export const vipCases: readonly KernelCase[] = [
  {
    title: 'puts VIPs of both families on lo, marked as ours, and takes them away again',
    async run(bench) {
      const before = await bench.vips.list();
      expect(codes(await bench.vips.apply([vip4, vip6].map((vip) => ({ do: 'add-address', ...vip }))))).to.deep.equal([
        null,
        null,
      ]);
      const table = await bench.vips.list();
      const common = { interface: 'lo', protocol: ADDRESS_PROTOCOL };
      expect(table.get(vip4.address)).to.deep.equal({ address: vip4.address, prefixLength: 32, ...common });
      expect(table.get(vip6.address)).to.deep.equal({ address: vip6.address, prefixLength: 128, ...common });
      await bench.witness();
      expect(
        codes(await bench.vips.apply([vip4, vip6].map((vip) => ({ do: 'delete-address', ...vip })))),
      ).to.deep.equal([null, null]);
      expect([...(await bench.vips.list()).keys()].sort()).to.deep.equal([...before.keys()].sort());
      await bench.witness();
    },
  },
  {
    title: 'refuses an address that is there, and to take away one that is not',
    async run(bench) {
      for (const vip of [vip4, vip6]) {
        const results = await bench.vips.apply([
          { do: 'delete-address', ...vip },
          { do: 'add-address', ...vip },
          { do: 'add-address', ...vip },
          { do: 'delete-address', ...vip },
        ]);
        expect(codes(results)).to.deep.equal(['EADDRNOTAVAIL', null, 'EEXIST', null]);
      }
    },
  },
  {
    title: 'delivers VIPs of both families by route, rule by rule, and takes it away again',
    async run(bench) {
      const before = await bench.vips.list();
      for (const vip of [vip4, vip6]) {
        const routed = async () => (await bench.vips.list([vip.address])).get(vip.address)?.routed;
        const add: readonly AddressOp[] = [
          { do: 'add-route', ...vip },
          { do: 'add-rule', ...vip, uplink: 'eth7' },
          { do: 'add-rule', ...vip, uplink: 'eth3' },
        ];
        expect(codes(await bench.vips.apply(add))).to.deep.equal([null, null, null]);
        expect(await routed()).to.deep.equal({ route: true, uplinks: ['eth3', 'eth7'] });
        expect((await bench.vips.list()).get(vip.address)?.interface).to.equal(null);
        expect(codes(await bench.vips.apply(add))).to.deep.equal(['EEXIST', 'EEXIST', 'EEXIST']);
        const drop: readonly AddressOp[] = [
          { do: 'delete-rule', ...vip, uplink: 'eth7' },
          { do: 'delete-route', ...vip },
        ];
        expect(codes(await bench.vips.apply(drop))).to.deep.equal([null, null]);
        expect(await routed()).to.deep.equal({ route: false, uplinks: ['eth3'] });
        expect(codes(await bench.vips.apply(drop))).to.deep.equal(['ENOENT', 'ESRCH']);
        expect(codes(await bench.vips.apply([{ do: 'delete-rule', ...vip, uplink: 'eth3' }]))).to.deep.equal([null]);
      }
      expect([...(await bench.vips.list()).keys()].sort()).to.deep.equal([...before.keys()].sort());
    },
  },
  {
    title: 'keeps an address on lo and a presence by route apart',
    async run(bench) {
      await bench.vips.apply([
        { do: 'add-route', ...vip4 },
        { do: 'add-address', ...vip4 },
      ]);
      const there = async () => (await bench.vips.list()).get(vip4.address);
      expect(await there()).to.deep.include({ interface: 'lo', routed: { route: true, uplinks: [] } });
      await bench.vips.apply([{ do: 'delete-address', ...vip4 }]);
      expect(await there()).to.deep.include({ interface: null, routed: { route: true, uplinks: [] } });
      await bench.vips.apply([{ do: 'delete-route', ...vip4 }]);
      expect(await there()).to.equal(undefined);
    },
  },
  {
    title: 'lists only the addresses that are asked for',
    async run(bench) {
      await bench.vips.apply([{ do: 'add-address', ...vip4 }]);
      expect([...(await bench.vips.list([vip4.address, vip6.address])).keys()]).to.deep.equal([vip4.address]);
      await bench.vips.apply([{ do: 'delete-address', ...vip4 }]);
    },
  },
];
