import { expect } from 'chai';
import type { ServiceConfig } from '../../../src/config/types.ts';
import { pathSettings } from '../../../src/vip/path-settings.ts';
import { configWith, onLo } from '../../support/decision-scene.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { AS_ALWAYS, serviceConfig } from '../../support/service-config.ts';

const PATH = { firstMark: 1, firstPort: 10_000, lastPort: 20_000, portsPerServer: 8, holdSeconds: 1 };
const monitors = [{ name: 'TCP', options: {}, pace: AS_ALWAYS, via: 'both' as const }];

async function found(
  settings: Readonly<Record<string, number>>,
  over: Partial<ServiceConfig> = {},
  source = '192.0.2.10',
) {
  const fake = new FakeWorld();
  for (const [name, value] of Object.entries(settings)) fake.write(`/proc/sys/net/ipv4/conf/${name}`, `${value}\n`);
  const config = configWith([serviceConfig({ monitors, ...over })], {
    global: { path: { ...PATH, sources: [source] } },
  });
  const vips = new Map([['192.0.2.10', { ...onLo('192.0.2.10'), interface: 'eth0' }]]);
  return pathSettings(fake.files, config, vips);
}

const REFUSING = { 'all/accept_local': 0, 'eth0/accept_local': 0, 'all/rp_filter': 0, 'eth0/rp_filter': 1 };
const GOOD = { 'all/accept_local': 0, 'eth0/accept_local': 1, 'all/rp_filter': 2, 'eth0/rp_filter': 1 };

describe('vip/path-settings', () => {
  it('names what to set where the VIP is on lo', async () => {
    const texts = await found(REFUSING);
    expect(texts).to.have.length(2);
    expect(texts[0]).to.match(/^checks of \[text\] through the path .*: set net\.ipv4\.conf\.eth0\.accept_local = 1/);
    expect(texts[1]).to.include('net.ipv4.conf.eth0.rp_filter = 2');
  });

  it('finds nothing where both are as they must be, by the rules of the kernel', async () => {
    expect(await found(GOOD)).to.deep.equal([]);
    expect(await found({ ...REFUSING, 'all/accept_local': 1, 'eth0/rp_filter': 0 })).to.deep.equal([]);
  });

  it('finds nothing where it does not matter, or can not be told', async () => {
    for (const over of [
      { vipPresence: 'route' },
      { forward: 'nat' },
      { vip: '2001:db8::1', family: 6 },
      { monitors: [] },
    ] as const)
      expect(await found(REFUSING, over)).to.deep.equal([]);
    expect(await found({})).to.deep.equal([]);
  });

  it('finds ports that other connections may get, wherever the VIP is', async () => {
    const ports = async (range: string, reserved: string, over: Partial<ServiceConfig> = {}) => {
      const fake = new FakeWorld();
      fake.write('/proc/sys/net/ipv4/ip_local_port_range', range);
      fake.write('/proc/sys/net/ipv4/ip_local_reserved_ports', reserved);
      const config = configWith([serviceConfig({ monitors, vipPresence: 'route', ...over })], {
        global: { path: { ...PATH, sources: [] } },
      });
      return pathSettings(fake.files, config, new Map());
    };
    expect(await ports('32768\t60999\n', '\n')).to.deep.equal([]);
    expect(await ports('15000\t60999\n', '\n')).to.deep.equal([
      'path-ports 10000 20000: the kernel gives 15000-20000 to other connections too: ' +
        'add them to net.ipv4.ip_local_reserved_ports, or move net.ipv4.ip_local_port_range',
    ]);
    expect(await ports('15000\t60999\n', '22,10000-20000\n')).to.deep.equal([]);
    expect(await ports('15000\t60999\n', '15001-20000\n')).to.have.length(1);
    expect(await ports('15000\t60999\n', '\n', { monitors: [] })).to.deep.equal([]);
  });

  it('misses a source that is not on this host', async () => {
    expect(await found(GOOD, {}, '192.0.2.99')).to.deep.equal([
      'path-source 192.0.2.99 is on no interface of this host',
    ]);
  });
});
