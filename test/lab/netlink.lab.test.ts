// The netlink backends against the real kernel: the conformance cases with ipvsadm and ip(8) as witnesses, and what only a
// real kernel does. In the guest's own namespace, where nothing else of the lab lives.

import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { ipvsadmLine, ipvsadmSave } from '../../src/ipvs/ipvsadm.ts';
import { ipvsSysctls, loadSchedulers, type NetlinkIpvs, openNetlinkIpvs } from '../../src/ipvs/netlink.ts';
import type { IpvsOp } from '../../src/ipvs/table.ts';
import { familyOf } from '../../src/lib/address.ts';
import { Knife } from '../../src/lib/cut.ts';
import { ADDRESS_PROTOCOL } from '../../src/vip/addresses.ts';
import { type NetlinkVips, openNetlinkVips } from '../../src/vip/rtnetlink.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { createProcesses } from '../../src/world/real/processes.ts';
import { destinationOf, ipvsCases, type KernelBench, serviceOf, vipCases } from '../support/kernel-conformance.ts';

const run = (program: string, ...args: readonly string[]): string => execFileSync(program, args, { encoding: 'utf8' });
const lines = (text: string): readonly string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

describe('lab: netlink', () => {
  let ipvs: NetlinkIpvs;
  let vips: NetlinkVips;
  let bench: KernelBench;

  before(() => {
    // IPVS and the addresses of a machine that somebody uses are not ours to touch.
    if (!existsSync('/.vm/run/guest.sh')) throw new Error('the lab only builds in its VM: npm run test:lab');
    run('modprobe', '-a', 'ip_vs');
    run('ipvsadm', '-C');
    ipvs = openNetlinkIpvs(() => setImmediate());
    vips = openNetlinkVips(() => setImmediate());
    bench = { ipvs, vips, witness };
  });
  after(() => {
    ipvs.close();
    vips.close();
  });

  // One case that fails must not make all others fail.
  afterEach(async () => {
    run('ipvsadm', '-C');
    const ours = [...(await vips.list()).values()].filter(({ protocol }) => protocol === ADDRESS_PROTOCOL);
    await vips.apply(ours.map(({ address }) => ({ do: 'delete-address', address, family: familyOf(address) })));
  });

  /** ipvsadm and ip see what our lists say: nothing more, nothing less. */
  async function witness(): Promise<void> {
    const table = await ipvs.list();
    const said = lines(ipvsadmSave(table)).map(withoutThresholds).sort();
    expect(said).to.deep.equal(lines(run('ipvsadm', '-Sn')).map(withoutTunnelType).sort());
    const limited = [...table.values()].flatMap(({ destinations }) =>
      [...destinations.values()].filter(({ upperThreshold }) => upperThreshold !== 0),
    );
    const limits = limited.map((each) => `${each.key} ${each.upperThreshold} ${each.lowerThreshold}`);
    expect(limits.sort()).to.deep.equal([...thresholdsSeen()].sort());
    const shown = JSON.parse(run('ip', '-j', 'address')) as readonly {
      readonly ifname: string;
      readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
    }[];
    const theirs = shown.flatMap(({ ifname, addr_info }) =>
      addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen} ${ifname}`),
    );
    const ours = [...(await vips.list()).values()].map(
      (host) => `${host.address}/${host.prefixLength} ${host.interface}`,
    );
    expect(ours.sort()).to.deep.equal(theirs.sort());
  }

  for (const { title, run: runCase } of ipvsCases) it(title, () => runCase(bench));
  for (const { title, run: runCase } of vipCases) it(title, () => runCase(bench));

  it('lists marks and SCTP that somebody else made, so that they can be reported', async () => {
    run('ipvsadm', '-A', '-f', '7', '-s', 'rr');
    run('ipvsadm', '-A', '-f', '7', '-6', '-s', 'sh');
    run('ipvsadm', '-A', '--sctp-service', '10.9.0.1:36412', '-s', 'wlc');
    run('ipvsadm', '-a', '-f', '7', '-r', '10.2.0.21:0', '-i');
    const table = await ipvs.list();
    expect([...table.keys()].sort()).to.deep.equal(['fwmark 7 inet', 'fwmark 7 inet6', 'sctp 10.9.0.1:36412']);
    expect([...(table.get('fwmark 7 inet')?.destinations.keys() ?? [])]).to.deep.equal(['10.2.0.21:0']);
    await witness();
  });

  it('says the same as ipvsadm restores', async () => {
    const service = serviceOf({ scheduler: 'mh', flags: 8 });
    const ops: readonly IpvsOp[] = [
      { do: 'add-service', service },
      { do: 'add-destination', service, destination: destinationOf({ forward: 'nat', port: 8080 }) },
      { do: 'add-destination', service, destination: destinationOf({ address: '10.2.0.22', weight: 3 }) },
    ];
    await ipvs.apply(ops);
    const saved = run('ipvsadm', '-Sn');
    run('ipvsadm', '-C');
    execFileSync('ipvsadm', ['-R'], { input: ops.map((op) => `${ipvsadmLine(op)}\n`).join('') });
    expect(run('ipvsadm', '-Sn')).to.equal(saved);
    run('ipvsadm', '-C');
  });

  it('lists a real server that is an address of this host by the method that it was given', async () => {
    const service = serviceOf();
    const destination = destinationOf({ address: '127.0.0.1' });
    await ipvs.apply([
      { do: 'add-service', service },
      { do: 'add-destination', service, destination },
    ]);
    expect((await ipvs.list()).get(service.key)?.destinations.get(destination.key)?.forward).to.equal('dr');
    await ipvs.apply([{ do: 'delete-service', service }]);
  });

  it('reports each of thousands of refusals', async () => {
    const service = serviceOf();
    await ipvs.apply([{ do: 'add-service', service }]);
    const results = await ipvs.apply(Array<IpvsOp>(3000).fill({ do: 'add-service', service }));
    expect(results.map((result) => result?.code)).to.deep.equal(Array(3000).fill('EEXIST'));
    await ipvs.apply([{ do: 'delete-service', service }]);
  });

  it('may do nothing without the privilege, and says so', () => {
    const script = `
      const { openNetlinkIpvs } = await import('${new URL('../../src/ipvs/netlink.js', import.meta.url).href}');
      const { openNetlinkVips } = await import('${new URL('../../src/vip/rtnetlink.js', import.meta.url).href}');
      try { openNetlinkIpvs(async () => {}); console.log('opened'); } catch (error) { console.log(error.code); }
      const vips = openNetlinkVips(async () => {});
      const [result] = await vips.apply([{ do: 'add-address', address: '10.9.0.1', family: 4 }]);
      console.log(result.code, (await vips.list()).has('127.0.0.1'));`;
    const node = [process.execPath, '--input-type=module', '-e', script];
    const unprivileged = [
      '--reuid',
      '65534',
      '--regid',
      '65534',
      '--clear-groups',
      '--bounding-set=-all',
      '--inh-caps=-all',
    ];
    expect(lines(run('setpriv', ...unprivileged, ...node))).to.deep.equal(['EPERM', 'EPERM true']);
  });

  it('loads all schedulers beforehand and reads the settings in force', async () => {
    await loadSchedulers(createProcesses(), new Knife());
    const modules = run('lsmod');
    for (const scheduler of ['rr', 'wrr', 'sh', 'mh', 'lblcr'])
      expect(modules).to.match(new RegExp(`^ip_vs_${scheduler} `, 'm'));
    const sysctls = await ipvsSysctls(createFiles());
    expect(sysctls['expire_nodest_conn']).to.equal(run('sysctl', '-n', 'net.ipv4.vs.expire_nodest_conn').trim());
    expect(Object.keys(sysctls)).to.include.members(['conn_reuse_mode', 'sloppy_tcp', 'expire_quiescent_template']);
  });
});

/** The type of a tunnel is IPIP for us, always. */
const withoutTunnelType = (line: string): string => line.replace(' --tun-type ipip', '');

/** Thresholds of a connection limit: `ipvsadm -Sn` forgets them. */
const withoutThresholds = (line: string): string => line.replace(/ -x \d+| -y \d+/g, '');

/** `10.2.0.24:80 100 50` of `ipvsadm -Ln --thresholds`, where there are any. */
function thresholdsSeen(): readonly string[] {
  return lines(run('ipvsadm', '-Ln', '--thresholds')).flatMap((line) => {
    const [arrow, key, upper, lower] = line.split(/\s+/);
    return arrow === '->' && upper !== '0' && key !== 'RemoteAddress:Port' ? [`${key} ${upper} ${lower}`] : [];
  });
}
