// The bfd-* options: what [global] says for all peers, what a [peer …] section says otherwise, and what is refused.

import { expect } from 'chai';
import { printComplaint } from '../../../src/lib/errors.ts';
import { configOf, decodeText } from '../../support/config.ts';

const conf = (global: string, peer = ''): string => `[global]
bgp = yes
bgp-local-asn = 64600
bgp-nexthop-ipv4 = 192.0.2.10
${global}
[peer 192.0.2.1]
${peer}
[web]
protocol = tcp
ip = 198.51.100.80
port = 80
config = file:///pools/web
monitors = ['IdleConnection']
scheduler = wrr
`;

async function bfdOf(global: string, peer = '') {
  return (await configOf(conf(global, peer))).peers[0]?.bfd;
}

describe('config/bfd', () => {
  it('is off until it is asked for', async () => {
    expect(await bfdOf('')).to.equal(null);
    expect((await configOf(conf(''))).global.bfdWedgedSeconds).to.equal(2);
  });
  it('is on for all peers with [global], with its defaults', async () => {
    expect(await bfdOf('bfd = yes')).to.deep.equal({ intervalMs: 300, multiplier: 3, multihop: false, auth: null });
  });
  it('is what the peer says where it says something', async () => {
    const global = 'bfd = yes\nbfd-interval = 50\nbfd-multihop = yes\nbfd-auth = sha1\nbfd-auth-key = one';
    expect(await bfdOf(global, 'bfd = no')).to.equal(null);
    expect(await bfdOf(global, 'bfd-multiplier = 5\nbfd-auth-key = two\nbfd-auth-key-id = 9')).to.deep.equal({
      intervalMs: 50,
      multiplier: 5,
      multihop: true,
      auth: { type: 'sha1', key: { from: 'text', text: 'two' }, keyId: 9 },
    });
    expect((await bfdOf(global, 'bfd-auth = none'))?.auth).to.equal(null);
  });
  it('takes its key from a file, of [global] or of the peer', async () => {
    const file = { from: 'file', path: '/etc/pybal/bfd-key' } as const;
    const auth = { type: 'sha1', keyId: 1 } as const;
    const inFile = 'bfd-auth-key-file = /etc/pybal/bfd-key';
    const keyOf = async (global: string, peer = '') =>
      (await bfdOf(`bfd = yes\nbfd-auth = sha1\n${global}`, peer))?.auth;
    expect(await keyOf(inFile)).to.deep.equal({ ...auth, key: file });
    expect(await keyOf('bfd-auth-key = one', inFile)).to.deep.equal({ ...auth, key: file });
    expect(await keyOf(inFile, 'bfd-auth-key = two')).to.deep.equal({ ...auth, key: { from: 'text', text: 'two' } });
    const both = await decodeText(conf('bfd = yes\nbfd-auth = sha1', `${inFile}\nbfd-auth-key = two`));
    expect(both.complaints.map(printComplaint).join('\n')).to.match(/warning: .*bfd-auth-key: is not used/);
  });
  it('wants a key of the right length, and values in their ranges, each named with its line', async () => {
    const complaintsOf = async (peer: string) =>
      (await decodeText(conf('bfd = yes', peer))).complaints.map(printComplaint).join('\n');
    expect(await complaintsOf('bfd-auth = md5')).to.match(/\[peer 192\.0\.2\.1\] bfd-auth-key: is required/);
    expect(await complaintsOf('bfd-auth = md5\nbfd-auth-key = 12345678901234567')).to.match(/1 to 16 printable/);
    expect(await complaintsOf('bfd-auth = sha1\nbfd-auth-key = 12345678901234567')).to.equal('');
    expect(await complaintsOf('bfd-auth = md6\nbfd-auth-key = x')).to.match(/:7: .*bfd-auth/);
    expect(await complaintsOf('bfd-interval = 5')).to.match(/:7: .*bfd-interval/);
    expect(await complaintsOf('bfd-multiplier = 0')).to.match(/:7: .*bfd-multiplier/);
  });
});
