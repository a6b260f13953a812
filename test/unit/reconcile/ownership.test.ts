// What is ours in the kernel, on disk: it is read back as written, and nothing else on disk is taken for it.

import { expect } from 'chai';
import { SystemError } from '../../../src/lib/errors.ts';
import {
  NOTHING_OWNED,
  parseOwnership,
  printOwnership,
  readOwnership,
  writeOwnership,
} from '../../../src/reconcile/ownership.ts';
import { memoryFiles, utf8 } from '../../support/memory-files.ts';

const OWNED = { services: new Set(['tcp 10.0.0.2:80', 'tcp 10.0.0.1:80']), vips: new Set(['2001:db8::1']) };

describe('reconcile/ownership', () => {
  it('reads what it wrote', () => {
    expect(parseOwnership(printOwnership('boot 1', OWNED), 'boot 1')).to.deep.equal(OWNED);
  });

  it('writes the same text for the same things, in whatever order they came', () => {
    const turned = { services: new Set([...OWNED.services].reverse()), vips: OWNED.vips };
    expect(printOwnership('boot 1', turned)).to.equal(printOwnership('boot 1', OWNED));
  });

  it('owns nothing after a reboot or in another network namespace', () => {
    expect(parseOwnership(printOwnership('boot 1', OWNED), 'boot 2')).to.deep.equal(NOTHING_OWNED);
  });

  for (const garbage of [
    '',
    'null',
    '[]',
    '7',
    '{}',
    '{"kernelId": "boot 1"}',
    '{"kernelId": 1, "services": [], "vips": []}',
    '{"kernelId": "boot 1", "services": {}, "vips": []}',
    '{"kernelId": "boot 1", "services": [1], "vips": []}',
    '{"kernelId": "boot 1", "services": [], "vips": [null]}',
    printOwnership('boot 1', OWNED).slice(0, -10),
    '\u0000\u0001',
  ]) {
    it(`does not take ${JSON.stringify(garbage.slice(0, 50))} for a record`, async () => {
      expect(parseOwnership(garbage, 'boot 1')).to.equal(null);
      const files = memoryFiles(new Map([['/state/ownership.json', utf8(garbage)]]));
      const { owned, damage } = await readOwnership(files, '/state/ownership.json', 'boot 1');
      expect(owned).to.deep.equal(NOTHING_OWNED);
      expect(damage).to.equal('/state/ownership.json is not an ownership record');
    });
  }

  it('finds nothing wrong with a file that is not there, and says why one cannot be read', async () => {
    const disk = new Map<string, Uint8Array | SystemError>();
    const files = memoryFiles(disk);
    expect((await readOwnership(files, '/o', 'boot 1')).damage).to.equal(null);
    disk.set('/o', new SystemError('EIO', 'read /o'));
    expect((await readOwnership(files, '/o', 'boot 1')).damage).to.equal('read /o: EIO');
    disk.delete('/o');
    await writeOwnership(files, '/o', 'boot 1', OWNED);
    expect((await readOwnership(files, '/o', 'boot 1')).owned).to.deep.equal(OWNED);
  });
});
