// The interop matrix: every feature with every router daemon of Debian, all sessions at once, each cell compared with what
// the router itself says. What the run found is docs/interop.md; a run that finds something else fails, and
// UPDATE_GOLDEN=1 writes it anew.

import { expect } from 'chai';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireTools } from '../../support/namespace.ts';
import { bird } from './bird.ts';
import { document, withoutVersions } from './document.ts';
import { exabgp } from './exabgp.ts';
import { features } from './features.ts';
import { frr } from './frr.ts';
import { gobgp } from './gobgp.ts';
import { openbgpd } from './openbgpd.ts';
import { Paths } from './paths.ts';
import type { Router } from './router.ts';
import { Stage } from './stage.ts';

const FILE = join(import.meta.dirname, '../../../../docs/interop.md');

/** Each with the third number of its network. */
const rows: readonly { readonly network: number; readonly short: string; readonly make: () => Router }[] = [
  { network: 181, short: 'bird', make: bird },
  { network: 182, short: 'frr', make: frr },
  { network: 183, short: 'gobgp', make: gobgp },
  { network: 184, short: 'obgpd', make: openbgpd },
  { network: 185, short: 'exa', make: exabgp },
];

describe('interop matrix', function () {
  this.timeout(200_000);
  const stages: Stage[] = [];
  const paths = new Paths();

  before(async () => {
    requireTools({
      '/usr/sbin/bird': 'bird2',
      '/usr/lib/frr/bgpd': 'frr',
      '/usr/bin/gobgpd': 'gobgpd',
      '/usr/sbin/bgpctl': 'openbgpd',
      '/usr/sbin/exabgp': 'exabgp',
      '/usr/sbin/ip': 'iproute2',
      '/usr/sbin/nft': 'nftables',
    });
    await Promise.all(stages.map((stage) => stage.open()));
  });
  after(async () => {
    await Promise.all(stages.map((stage) => stage.close()));
    await paths.stop();
  });

  for (const { network, short, make } of rows) {
    const stage = new Stage(make(), network, `anybal-m${short}`, paths);
    stages.push(stage);
    describe(stage.router.name, () => {
      for (const feature of features) {
        it(feature.name, () => stage.outcome(feature));
      }
    });
  }

  it('found what docs/interop.md says', async () => {
    const columns = await Promise.all(stages.map((stage) => stage.column()));
    const found = document(features, columns);
    expect(found, 'nothing that failed is written down').to.not.include('**failed**');
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(FILE, found);
    expect(existsSync(FILE), `${FILE} is missing: run with UPDATE_GOLDEN=1`).to.equal(true);
    const written = readFileSync(FILE, 'utf8');
    expect(withoutVersions(found), 'run with UPDATE_GOLDEN=1 and read the difference').to.equal(
      withoutVersions(written),
    );
  });
});
