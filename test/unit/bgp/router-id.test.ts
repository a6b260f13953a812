import { expect } from 'chai';
import { defaultRouterId, routerIdFrom } from '../../../src/bgp/router-id.ts';

const NONE: ReadonlySet<string> = new Set();

describe('bgp/router-id', () => {
  it('is the next hop or source address that is on this host, whatever else is there', () => {
    const addresses = ['10.0.0.5', '172.17.0.1', '2001:db8::5'];
    expect(defaultRouterId({ configured: ['10.0.0.5'], addresses, vips: NONE })).to.equal('10.0.0.5');
    // A next hop that several directors share is none of ours.
    expect(defaultRouterId({ configured: ['10.0.0.254', '10.0.0.5'], addresses, vips: NONE })).to.equal('10.0.0.5');
  });
  it('differs between directors that have the same bridge for containers', () => {
    const ids = ['10.0.0.5', '10.0.0.6'].map((own) =>
      defaultRouterId({ configured: ['2001:db8::1', own], addresses: [own, '172.17.0.1'], vips: NONE }),
    );
    expect(ids).to.deep.equal(['10.0.0.5', '10.0.0.6']);
  });
  it('is the highest IPv4 address when the configuration names none of this host', () => {
    expect(
      defaultRouterId({ configured: [], addresses: ['9.255.255.255', '10.0.0.9', '10.0.0.10'], vips: NONE }),
    ).to.equal('10.0.0.10');
  });
  it('is never a virtual IP, nor an address that many hosts have', () => {
    const vips = new Set(['198.51.100.80']);
    const addresses = ['198.51.100.80', '127.0.0.1', '169.254.1.1', '0.1.2.3', '239.0.0.1'];
    expect(defaultRouterId({ configured: ['198.51.100.80'], addresses, vips })).to.equal(null);
    expect(defaultRouterId({ configured: [], addresses: [...addresses, '10.0.0.1'], vips })).to.equal('10.0.0.1');
  });
  it('without an IPv4 address differs between hosts that have the same end of their address', () => {
    expect(routerIdFrom('192.0.2.1')).to.equal('192.0.2.1');
    const ids = ['2001:db8:1::1', '2001:db8:2::1', '2001:db8:3::1', 'fe80::1%eth0'].map(routerIdFrom);
    expect(new Set(ids).size).to.equal(4);
    for (const id of ids)
      expect(id)
        .to.match(/^\d+\.\d+\.\d+\.\d+$/)
        .and.not.to.equal('0.0.0.0');
  });
});
