import { expect } from 'chai';
import { applyToMemory, type MemoryTable, pick, type Unseen } from '../../../src/ipvs/memory.ts';
import { dryRunIpvs } from '../../../src/ipvs/dry-run.ts';
import { destinationKey, type IpvsDestination, type IpvsService, serviceKey } from '../../../src/ipvs/table.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { loopbackVips } from '../../../src/vip/loopback.ts';
import { SystemError } from '../../../src/lib/errors.ts';

const service: IpvsService = {
  key: serviceKey('tcp', '10.9.0.1', 80),
  protocol: 'tcp',
  address: '10.9.0.1',
  port: 80,
  fwmark: 0,
  scheduler: 'wrr',
  flags: 0,
  persistenceSeconds: 0,
  persistencePrefix: 32,
};
const destination: IpvsDestination = {
  key: destinationKey('10.2.0.21', 80),
  address: '10.2.0.21',
  port: 80,
  forward: 'dr',
  weight: 10,
  upperThreshold: 0,
  lowerThreshold: 0,
};

describe('ipvs/memory', () => {
  it('leaves a table that was handed out as it was', () => {
    const table: MemoryTable = new Map();
    applyToMemory(table, { do: 'add-service', service });
    applyToMemory(table, { do: 'add-destination', service, destination });
    const before = pick(table);
    applyToMemory(table, { do: 'delete-destination', service, destination });
    expect(before.get(service.key)?.destinations.size).to.equal(1);
    expect(table.get(service.key)?.destinations.size).to.equal(0);
  });

  it('copies the destinations of a service once for many changes at once, and again when they were handed out', () => {
    const table: MemoryTable = new Map();
    const unseen: Unseen = new Map();
    const add = (address: string) => {
      const added = { ...destination, key: destinationKey(address, 80), address };
      expect(applyToMemory(table, { do: 'add-destination', service, destination: added }, unseen)).to.equal(null);
      return table.get(service.key)?.destinations;
    };
    applyToMemory(table, { do: 'add-service', service }, unseen);
    const first = add('10.2.0.1');
    expect(add('10.2.0.2')).to.equal(first);
    const before = pick(table);
    unseen.clear();
    expect(add('10.2.0.3')).to.not.equal(first);
    expect(before.get(service.key)?.destinations.size).to.equal(2);
    expect(table.get(service.key)?.destinations.size).to.equal(3);
  });

  it('keeps the destinations of a service that changes', () => {
    const table: MemoryTable = new Map();
    applyToMemory(table, { do: 'add-service', service });
    applyToMemory(table, { do: 'add-destination', service, destination });
    expect(applyToMemory(table, { do: 'set-service', service: { ...service, scheduler: 'sh' } })).to.equal(null);
    expect(table.get(service.key)?.service.scheduler).to.equal('sh');
    expect([...(table.get(service.key)?.destinations.keys() ?? [])]).to.deep.equal([destination.key]);
  });
});

describe('ipvs/dry-run', () => {
  const logged: LogRecord[] = [];
  const log = (record: LogRecord) => void logged.push(record);
  beforeEach(() => void (logged.length = 0));

  it('starts from the real table, writes only memory and says what it would do', async () => {
    const real = { list: async () => new Map([[service.key, { service, destinations: new Map() }]]) };
    const dry = dryRunIpvs(real, log);
    const results = await dry.apply([
      { do: 'add-service', service },
      { do: 'add-destination', service, destination },
    ]);
    expect(results.map((result) => result?.code ?? null)).to.deep.equal(['EEXIST', null]);
    expect((await dry.list([service.key])).get(service.key)?.destinations.size).to.equal(1);
    expect((await real.list()).get(service.key)?.destinations.size).to.equal(0);
    expect(logged.map(({ text }) => text)).to.deep.equal([
      'ipvsadm -A -t 10.9.0.1:80 -s wrr',
      'ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.21:80 -g -w 10',
    ]);
  });

  it('asks again for a real table that could not be read', async () => {
    let tries = 0;
    const real = {
      list: async () => {
        if (++tries === 1) throw new SystemError('EPERM', 'list');
        return new Map([[service.key, { service, destinations: new Map() }]]);
      },
    };
    const dry = dryRunIpvs(real, log);
    const first = await dry.list().catch((error: unknown) => error);
    expect(first).to.include({ code: 'EPERM' });
    expect((await dry.list()).size).to.equal(1);
  });
});

describe('vip/loopback', () => {
  const vips = () =>
    loopbackVips(() => [
      { address: '127.0.0.1', prefixLength: 8, interface: 'lo', protocol: 0 },
      { address: '192.0.2.7', prefixLength: 24, interface: 'eth0', protocol: 0 },
    ]);
  const add = (address: string) => ({ do: 'add-address', address, family: 4 }) as const;

  it('has any address of 127/8 for the asking', async () => {
    const kernel = vips();
    expect(await kernel.apply([add('127.80.0.1')])).to.deep.equal([null]);
    expect([...(await kernel.list(['127.80.0.1', '127.80.0.2'])).keys()]).to.deep.equal(['127.80.0.1']);
    expect(await kernel.apply([{ ...add('127.80.0.1'), do: 'delete-address' }])).to.deep.equal([null]);
    expect((await kernel.list()).size).to.equal(2);
  });

  it('finds what the host has, and refuses to add or take away what it cannot', async () => {
    const kernel = vips();
    expect([...(await kernel.list()).keys()]).to.deep.equal(['127.0.0.1', '192.0.2.7']);
    const ops = [add('192.0.2.7'), add('192.0.2.8'), { ...add('192.0.2.7'), do: 'delete-address' } as const];
    expect((await kernel.apply(ops)).map((result) => result?.code)).to.deep.equal(['EEXIST', 'EPERM', 'EPERM']);
  });
});
