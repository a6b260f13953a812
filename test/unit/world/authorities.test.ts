import { expect } from 'chai';
import { createPrivateKey } from 'node:crypto';
import { mkdir, mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemError } from '../../../src/lib/errors.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';

describe("The system's authorities", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-authorities-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('are not replaced by others while their bundle cannot be read, and are read again', async () => {
    const [bundle, other] = [join(folder, 'bundle'), join(folder, 'other')];
    const authorities = systemAuthorities([bundle, other]);
    await mkdir(bundle);
    await writeFile(other, CERTIFICATE);
    for (const attempt of ['first', 'second'])
      expect(authorities, attempt).to.throw(SystemError).with.property('code', 'EISDIR');
    await rmdir(bundle);
    await writeFile(bundle, CERTIFICATE);
    const context = authorities();
    await rm(bundle);
    expect(authorities()).to.equal(context);
  });

  it('are read again within a minute of a change of the bundle, for certificates of our own too, and not before', async () => {
    const bundle = join(folder, 'bundle');
    await writeFile(bundle, CERTIFICATE);
    let now = 0;
    const authorities = systemAuthorities([bundle], () => now);
    const shown = { certificate: { cert: CERTIFICATE, key: KEY } };
    const all = () => [authorities(), authorities(shown), authorities({ ca: CERTIFICATE })] as const;
    const before = all();
    now = 60_000;
    expect(all().map((context, i) => context === before[i])).to.deep.equal([true, true, true]);
    await writeFile(bundle, `${CERTIFICATE}\n`);
    now = 119_999;
    expect(all().map((context, i) => context === before[i])).to.deep.equal([true, true, true]);
    now = 120_000;
    const after = all();
    expect(after.map((context, i) => context === before[i])).to.deep.equal([false, false, true]);
    await rm(bundle);
    now = 180_000;
    expect(all().map((context, i) => context === after[i])).to.deep.equal([true, true, true]);
  });

  it('are joined by what a connection brings along, of which the last few are kept', () => {
    const authorities = systemAuthorities([join(folder, 'none')]);
    const mine = authorities({ ca: CERTIFICATE });
    expect(mine).to.not.equal(authorities());
    expect(authorities({ ca: `${CERTIFICATE}` })).to.equal(mine);
    const both = authorities({ ca: CERTIFICATE, certificate: { cert: CERTIFICATE, key: KEY } });
    expect(both).to.not.equal(mine);
    expect(authorities({ ca: CERTIFICATE, certificate: { cert: CERTIFICATE, key: KEY } })).to.equal(both);
    for (let i = 0; i < 62; i++) authorities({ ca: `${i}\n${CERTIFICATE}` });
    expect(authorities({ ca: CERTIFICATE, certificate: { cert: CERTIFICATE, key: KEY } })).to.equal(both);
    expect(authorities({ ca: CERTIFICATE })).to.equal(mine);
    for (let i = 0; i < 64; i++) authorities({ ca: `${i}\n${CERTIFICATE}` });
    expect(authorities({ ca: CERTIFICATE })).to.not.equal(mine);
  });

  it('are named by their file when it has none', () => {
    const authorities = systemAuthorities([join(folder, 'none')]);
    const wrong = { ca: 'no certificate', files: ['/etc/ca.pem', '/etc/director.pem'] };
    expect(() => authorities(wrong)).to.throw(
      SystemError,
      'certificates for TLS in /etc/ca.pem, /etc/director.pem: EINVAL',
    );
  });

  it('say what is wrong with a key', () => {
    const authorities = systemAuthorities([join(folder, 'none')]);
    const complaint = (key: string) => {
      try {
        authorities({ certificate: { cert: CERTIFICATE, key } });
        return 'none';
      } catch (error) {
        return error instanceof SystemError ? error.message : String(error);
      }
    };
    expect(complaint(KEY)).to.equal('none');
    expect(complaint(`${CERTIFICATE}${KEY}`)).to.equal('none');
    expect(complaint(CERTIFICATE)).to.match(/certificates for TLS: EINVAL: there is no private key$/);
    const key = createPrivateKey(KEY);
    const secret = { cipher: 'aes-256-cbc', passphrase: 'x', format: 'pem' } as const;
    for (const type of ['pkcs8', 'sec1'] as const)
      expect(complaint(String(key.export({ ...secret, type }))), type).to.match(/: the private key has a passphrase$/);
  });

  it('are in the first bundle that is there, and otherwise those that Node has', () => {
    expect(systemAuthorities([join(folder, 'none')])).to.not.throw();
  });
});
