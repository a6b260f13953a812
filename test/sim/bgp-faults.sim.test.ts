// Two speakers under random faults, from seeds: whatever happened, in calm they end with one session and the wanted
// routes.

import { expect } from 'chai';
import type { Route } from '../../src/decision/decision.ts';
import { Random } from './random.ts';
import { BgpNet, peerConfig, route } from '../support/bgp-net.ts';

const DIRECTOR = '192.0.2.9';
const ROUTER = '192.0.2.1';

/** Five minutes of faults and changes, then calm. Returns what the faults did, so that a test can see that they hit. */
async function live(seed: number): Promise<{ sessions: number; calmSeconds: number }> {
  const net = new BgpNet(seed);
  const random = new Random(seed, 'faults');
  const director = net.node('director', [DIRECTOR]);
  const router = net.node('router', [ROUTER], true);
  const passive = random.chance(0.5);
  const directorPeer = () =>
    peerConfig({ name: 'd1', address: DIRECTOR, localAs: 64500, passive, holdTimeSeconds: random.pick([3, 9, 30]) });
  let routerSide = [directorPeer()];
  let directorSide = [peerConfig({ name: 'cr1', address: ROUTER })];
  await router.configure({ peers: routerSide });
  await director.configure({ peers: directorSide });

  let wanted: readonly Route[] = [];
  const wish = () => {
    const count = random.int(0, 30);
    wanted = Array.from({ length: count }, (_, i) => route(`203.0.113.${i}`, { med: random.int(0, 2) }));
    director.speaker.set('cr1', wanted);
  };
  wish();
  for (let at = 0; at < 300; at += 5) {
    await net.run(random.exponential(5));
    switch (random.int(0, 8)) {
      case 0:
        net.network.cutPath(director.host, router.host, random.chance(0.3));
        break;
      case 1:
      case 2:
        net.network.healPath(director.host, router.host);
        break;
      case 3:
        director.life.stop();
        break;
      case 4:
        director.life.go();
        break;
      case 5:
        routerSide = [directorPeer()];
        await router.configure({ peers: routerSide });
        break;
      case 6:
        directorSide = [peerConfig({ name: 'cr1', address: ROUTER, holdTimeSeconds: random.pick([0, 3, 9]) })];
        if (director.life.running) await director.configure({ peers: directorSide });
        break;
      default:
        wish();
    }
  }

  director.life.go();
  net.network.healPath(director.host, router.host);
  const meant = wanted.map(({ address, med }) => `${address} ${med}`).sort();
  const heard = () => [...(router.tables.get('d1') ?? [])].map(([address, { med }]) => `${address} ${med}`).sort();
  const calm = () =>
    director.speaker.status().every(({ established }) => established) &&
    router.speaker.status().every(({ established }) => established) &&
    heard().join() === meant.join();
  let calmSeconds = 0;
  while (!calm() && calmSeconds < 60) {
    await net.run(1);
    calmSeconds++;
  }
  await net.run(60);
  expect(calm(), `seed ${seed} stays so`).to.equal(true);
  expect([director.host.ends.size, router.host.ends.size], `seed ${seed}: connections`).to.deep.equal([1, 1]);
  expect(director.speaker.flushed('cr1')).to.equal(true);
  return { sessions: director.speaker.status()[0]?.counters.established ?? 0, calmSeconds };
}

describe('bgp: two speakers under random faults', () => {
  it('end with one session and the wanted routes, whatever happened', async () => {
    let sessions = 0;
    const slow: string[] = [];
    for (let seed = 1; seed <= 60; seed++) {
      const life = await live(seed);
      sessions += life.sessions;
      if (life.calmSeconds > 20) slow.push(`seed ${seed}: ${Math.round(life.calmSeconds)} s`);
    }
    expect(sessions, 'the faults hit').to.be.above(100);
    expect(slow).to.deep.equal([]);
  });
});
