// Cold boot: an empty kernel on the preferred director, while the other one serves. The router must not hear of a VIP
// before this director can serve it.

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { destinationsOf, movable, section, weightsOf } from './topology/config.ts';
import { vips } from './topology/network.ts';
import { everyServer } from './topology/pool.ts';
import { now, sleep, until } from './topology/process.ts';
import { full, theLab, type Lab } from './topology/lab.ts';

const vip = vips.dr;
/** Shorter than the default, to see in CI what happens when it is over. */
const graceSeconds = full ? 30 : 8;

describe('lab: cold boot', () => {
  let lab: Lab;
  before(async () => {
    lab = await theLab();
    await lab.fresh();
    lab.pools.write('web', everyServer);
    lab.director('d2').start(section('web', { vip, pool: lab.pools.url('web'), ...movable }));
    await lab.router.waitSelected(vip, 'd2', 40_000);
  });

  it('does not attract traffic while all its servers are black-holed, and announces once they are in the kernel', async () => {
    const d1 = lab.director('d1');
    await d1.cutOff();
    const flood = lab.client.flood(vip);
    const [routes, writes, addresses] = [lab.router.events.length, (await d1.writes()).length, d1.addressEvents.length];
    const services = section('web', {
      vip,
      pool: lab.pools.url('web'),
      scheduler: movable.scheduler,
      more: [...movable.more, `start-grace = ${graceSeconds}`],
    });
    d1.start(services);
    await lab.router.waitSession('d1', true, 40_000);
    await sleep((graceSeconds + 5) * 1000);
    expect(await lab.router.announcers(vip), 'while the pool is dead').to.deep.equal(['d2']);
    expect(lab.router.events.slice(routes), 'route changes while the pool is dead').to.deep.equal([]);

    await d1.reconnect();
    await lab.router.waitSelected(vip, 'd1', 20_000);
    const announcedAt = lab.router.events.findLast((event) => event.prefix === vip && !event.deleted)?.at ?? 0;
    const written = (await d1.writes()).slice(writes);
    const service = written.find((write) => write.text.startsWith(`NEW_SERVICE tcp ${vip}:80`));
    const destination = written.find((write) => write.text.startsWith(`NEW_DEST tcp ${vip}:80`));
    const address = d1.addressEvents.slice(addresses).find((event) => event.address === vip && !event.deleted);
    lab.note(
      `cold boot: address ${address?.at} service ${service?.at} destination ${destination?.at} route ${announcedAt}`,
    );
    for (const at of [address?.at, service?.at, destination?.at]) expect(at).to.be.below(announcedAt);
    expect(destinationsOf(await d1.table(), vip)).to.not.deep.equal({});

    await until('all four', 15_000, async () => Object.keys(destinationsOf(await d1.table(), vip) ?? {}).length === 4);
    await sleep(1000);
    const attempts = await flood.stop();
    expect(attempts.length).to.be.above(100);
    expect(flood.failed()).to.deep.equal([]);
  });

  it('announces in less than a minute with a monitor that runs every two minutes', async () => {
    const d1 = lab.director('d1');
    await d1.reset();
    await lab.router.waitSelected(vip, 'd2', 10_000);
    mkdirSync('/run/lab', { recursive: true });
    writeFileSync('/run/lab/check.sh', '#!/bin/bash\nexec 3<>"/dev/tcp/$1/80"\n', { mode: 0o755 });
    const monitors = [
      "monitors = [ 'RunCommand' ]",
      'runcommand.command = /run/lab/check.sh',
      'runcommand.arguments = [ server.host ]',
      'runcommand.interval = 120',
    ];
    const started = now();
    d1.start(section('web', { vip, pool: lab.pools.url('web'), monitors }));
    await lab.router.waitSelected(vip, 'd1', 40_000);
    expect(now() - started).to.be.below(60_000);
    await until('all four', 5000, async () => {
      const found = destinationsOf(await d1.table(), vip);
      return JSON.stringify(found) === JSON.stringify(weightsOf(everyServer));
    });
  });
});
