import { expect } from 'chai';
import { ipvsadmLine, ipvsadmSave } from '../../../src/ipvs/ipvsadm.ts';
import {
  destinationKey,
  FLAG,
  fwmarkKey,
  type IpvsDestination,
  type IpvsOp,
  type IpvsService,
  serviceKey,
} from '../../../src/ipvs/table.ts';

const service = (changes: Partial<IpvsService> = {}): IpvsService => ({
  key: serviceKey('tcp', '10.9.0.1', 80),
  protocol: 'tcp',
  address: '10.9.0.1',
  port: 80,
  fwmark: 0,
  scheduler: 'wrr',
  flags: 0,
  persistenceSeconds: 0,
  persistencePrefix: 32,
  ...changes,
});
const destination = (changes: Partial<IpvsDestination> = {}): IpvsDestination => ({
  key: destinationKey('10.2.0.21', 80),
  address: '10.2.0.21',
  port: 80,
  forward: 'dr',
  weight: 10,
  upperThreshold: 0,
  lowerThreshold: 0,
  ...changes,
});
const added = (changes: Partial<IpvsService>) => ipvsadmLine({ do: 'add-service', service: service(changes) });
const pooled = (changes: Partial<IpvsDestination>) =>
  ipvsadmLine({ do: 'add-destination', service: service(), destination: destination(changes) });

describe('ipvs/ipvsadm', () => {
  it('says each op', () => {
    const on = { service: service() };
    const real = { service: service(), destination: destination() };
    const ops: readonly IpvsOp[] = [
      { do: 'add-service', ...on },
      { do: 'set-service', ...on },
      { do: 'delete-service', ...on },
      { do: 'add-destination', ...real },
      { do: 'set-destination', ...real },
      { do: 'delete-destination', ...real },
    ];
    expect(ops.map(ipvsadmLine)).to.deep.equal([
      '-A -t 10.9.0.1:80 -s wrr',
      '-E -t 10.9.0.1:80 -s wrr',
      '-D -t 10.9.0.1:80',
      '-a -t 10.9.0.1:80 -r 10.2.0.21:80 -g -w 10',
      '-e -t 10.9.0.1:80 -r 10.2.0.21:80 -g -w 10',
      '-d -t 10.9.0.1:80 -r 10.2.0.21:80',
    ]);
  });

  it('says protocols, families and marks', () => {
    expect(added({ protocol: 'udp', address: '2001:db8::1', port: 53 })).to.equal('-A -u [2001:db8::1]:53 -s wrr');
    expect(added({ protocol: 'sctp' })).to.equal('-A --sctp-service 10.9.0.1:80 -s wrr');
    const mark = { protocol: 'fwmark', fwmark: 7, port: 0 } as const;
    expect(added({ ...mark, key: fwmarkKey(7, 4), address: '0.0.0.0' })).to.equal('-A -f 7 -s wrr');
    expect(added({ ...mark, key: fwmarkKey(7, 6), address: '::' })).to.equal('-A -f 7 -6 -s wrr');
  });

  it('says persistence, flags, methods and thresholds', () => {
    const persistent = { flags: FLAG.persistent, persistenceSeconds: 300 };
    expect(added(persistent)).to.equal('-A -t 10.9.0.1:80 -s wrr -p 300');
    expect(added({ ...persistent, persistencePrefix: 20 })).to.equal(
      '-A -t 10.9.0.1:80 -s wrr -p 300 -M 255.255.240.0',
    );
    expect(added({ ...persistent, address: '::1', persistencePrefix: 64 })).to.equal(
      '-A -t [::1]:80 -s wrr -p 300 -M 64',
    );
    expect(added({ flags: FLAG.onePacket, protocol: 'udp' })).to.equal('-A -u 10.9.0.1:80 -s wrr -o');
    expect(added({ scheduler: 'sh', flags: FLAG.sched1 | FLAG.sched2 })).to.equal(
      '-A -t 10.9.0.1:80 -s sh -b sh-fallback,sh-port',
    );
    expect(added({ scheduler: 'wlc', flags: FLAG.sched1 | FLAG.sched3 })).to.equal(
      '-A -t 10.9.0.1:80 -s wlc -b flag-1,flag-3',
    );
    expect(pooled({ forward: 'nat', weight: 0 })).to.equal('-a -t 10.9.0.1:80 -r 10.2.0.21:80 -m -w 0');
    expect(pooled({ forward: 'tunnel', upperThreshold: 9, lowerThreshold: 5 })).to.equal(
      '-a -t 10.9.0.1:80 -r 10.2.0.21:80 -i -w 10 -x 9 -y 5',
    );
  });

  it('saves a table as the lines that restore it', () => {
    const entry = { service: service(), destinations: new Map([[destination().key, destination()]]) };
    expect(ipvsadmSave(new Map([[service().key, entry]]))).to.equal(
      '-A -t 10.9.0.1:80 -s wrr\n-a -t 10.9.0.1:80 -r 10.2.0.21:80 -g -w 10\n',
    );
  });
});
