import { expect } from 'chai';
import { restartNeeded } from '../../../src/config/restart.ts';
import type { GlobalConfig } from '../../../src/config/types.ts';
import { printComplaint } from '../../../src/lib/errors.ts';
import { decodeText } from '../../support/config.ts';

async function globalOf(text: string): Promise<GlobalConfig> {
  const { config, complaints } = await decodeText(`[global]\nbgp = no\n${text}`);
  if (config === null) throw new Error(complaints.map(printComplaint).join('\n'));
  return config.global;
}

describe('config/restart', () => {
  it('names each option that a reload cannot change, with what it is and what it will be', async () => {
    const before = await globalOf('');
    const after = await globalOf('backend = userspace\nlog-file = /var/log/pybal.log\nlog-format = json\n');
    expect(restartNeeded(before, after)).to.deep.equal([
      `[global] backend: userspace takes effect at the next start; until then it is ${before.backend}`,
      '[global] log-file: /var/log/pybal.log takes effect at the next start; until then it is standard error',
      '[global] log-format: json takes effect at the next start; until then it is text',
    ]);
  });

  it('says when the log is to go back to standard error', async () => {
    const texts = restartNeeded(await globalOf('log-file = /var/log/pybal.log\n'), await globalOf(''));
    expect(texts).to.deep.equal([
      '[global] log-file: standard error takes effect at the next start; until then it is /var/log/pybal.log',
    ]);
  });

  it('says nothing of what a reload does change', async () => {
    const after = await globalOf('reconcile-period = 4\ninstrumentation = yes\nwithdraw-wait = 3\n');
    expect(restartNeeded(await globalOf(''), after)).to.deep.equal([]);
  });
});
