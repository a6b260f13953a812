// A director and a router with BFD between them, both in this process in virtual time: how soon the router lets go of a director
// that is dead, cut off, stopped, or whose main thread stands still, and that it does not let go of one that is only busy.

import { expect } from 'chai';
import type { LogRecord } from '../../src/log/record.ts';
import type { BfdStatus } from '../../src/bfd/types.ts';
import type { Bfd } from '../../src/world/world.ts';
import { CONFIG_PATH } from './conf.ts';
import type { Running } from './director.ts';
import { Machine } from './machine.ts';
import { PROGRAM } from './program.ts';
import { Router } from './router.ts';
import { makeSite, type Site } from './site.ts';

const DIRECTOR = '192.0.2.10';
const ROUTER = '192.0.2.1';
const VIP = '198.51.100.1';
const HOLD_SECONDS = 90;

const configuration = (bfd: boolean): string => `
[global]
bgp = yes
bgp-local-asn = 64600
bgp-peer-address = [ '${ROUTER}' ]
bgp-nexthop-ipv4 = ${DIRECTOR}
bgp-local-address = ${DIRECTOR}
bgp-hold-time = ${HOLD_SECONDS}
bfd = ${bfd ? 'yes' : 'no'}
bfd-interval = 50
withdraw-wait = 1
backend = netlink

[web]
protocol = tcp
ip = ${VIP}
port = 80
scheduler = wrr
config = file:///pool
`;

/** One site, with the director announced and BFD up. */
class Scene {
  readonly site: Site;
  readonly machine: Machine;
  readonly router: Router;
  readonly log: LogRecord[] = [];
  readonly #bfd: Bfd;
  #running: Running | null = null;
  exitCode: number | null = null;

  private constructor(seed: number, bfd: boolean) {
    this.site = makeSite(seed);
    this.machine = new Machine(this.site, {
      name: 'director',
      addresses: [DIRECTOR],
      programs: new Map(),
      monitors: new Map(),
      watcher: { wrote: () => {}, read: () => {} },
      logged: (record) => this.log.push(record),
    });
    this.machine.disk.put(CONFIG_PATH, configuration(bfd));
    this.machine.disk.put('/pool', "{'host': '192.0.2.50', 'weight': 10, 'enabled': True}\n");
    const plan = { name: 'router', address: ROUTER, asn: 64500 };
    this.router = new Router(this.site, plan, HOLD_SECONDS, { forwards: () => {} });
    this.#bfd = this.router.watch([DIRECTOR]);
  }

  static async ready(seed: number, bfd = true): Promise<Scene> {
    const scene = new Scene(seed, bfd);
    scene.start();
    await scene.until(() => scene.forwards && (!bfd || scene.seen?.state === 'Up'), 30);
    await scene.run(3);
    return scene;
  }

  get forwards(): boolean {
    return this.router.nextHop(VIP) === DIRECTOR;
  }
  /** The router's view of the session. */
  get seen(): BfdStatus | undefined {
    return this.#bfd.status()[0];
  }

  start(): void {
    this.machine.start((world) => {
      this.#running = PROGRAM(world, CONFIG_PATH, (code) => {
        this.exitCode = code;
        this.machine.kill();
      });
    });
  }
  terminate(): void {
    this.machine.life?.enter(() => this.#running?.terminate());
  }
  reload(bfd: boolean): void {
    this.machine.disk.put(CONFIG_PATH, configuration(bfd));
    this.machine.life?.enter(() => this.#running?.hangUp());
  }

  run(seconds: number): Promise<void> {
    return this.site.scheduler.run(this.site.scheduler.now + seconds * 1000);
  }
  /** Returns after how many ms. */
  async until(done: () => boolean, seconds: number): Promise<number> {
    const start = this.site.scheduler.now;
    await this.site.scheduler.run(start + seconds * 1000, done);
    if (!done()) throw new Error(`not so after ${seconds} s:\n${this.log.map(({ text }) => text).join('\n')}`);
    return this.site.scheduler.now - start;
  }
}

describe('BFD between a simulated director and its router', () => {
  for (const seed of [1, 2, 3]) {
    describe(`seed ${seed}`, () => {
      it('lets go of a director that is cut off, and takes it back', async () => {
        const scene = await Scene.ready(seed);
        scene.site.network.silence(scene.machine.host, true);
        expect(await scene.until(() => !scene.forwards, 1)).to.be.below(160);
        await scene.run(5);
        scene.site.network.silence(scene.machine.host, false);
        await scene.until(() => scene.forwards, 30);
        expect(scene.log.map(({ text }) => text).join('\n')).to.match(/is down: Control Detection Time Expired/);
      });

      it('lets go of a director that gets no time at all (SIGSTOP), and takes it back', async () => {
        const scene = await Scene.ready(seed);
        scene.machine.pause();
        expect(await scene.until(() => !scene.forwards, 1)).to.be.below(160);
        await scene.run(20);
        scene.machine.resume();
        await scene.until(() => scene.forwards, 30);
        // Nobody was wedged: the thread that would have said so had no time either.
        expect(scene.log.map(({ text }) => text).join('\n')).to.not.match(/No sign of life/);
      });

      it('lets go of a director whose main thread stands still for longer than 2 s, until that is over', async () => {
        const scene = await Scene.ready(seed);
        scene.machine.life?.stop();
        expect(await scene.until(() => !scene.forwards, 5)).to.be.within(1_900, 2_300);
        expect(scene.seen).to.include({ state: 'Down' });
        expect(scene.seen?.remote).to.include({ state: 'Down', diagnostic: 'Forwarding Plane Reset' });
        await scene.run(60);
        expect(scene.forwards).to.equal(false);
        expect(scene.seen?.state).to.be.oneOf(['Down', 'Init']);
        scene.machine.life?.go();
        await scene.until(() => scene.forwards && scene.seen?.state === 'Up', 30);
      });

      it('keeps a director whose main thread stands still for 1.5 s again and again', async () => {
        const scene = await Scene.ready(seed);
        for (let i = 0; i < 10; i++) {
          scene.machine.life?.stop();
          await scene.run(1.5);
          scene.machine.life?.go();
          await scene.run(0.5);
          expect(scene.forwards).to.equal(true);
        }
        expect(scene.seen).to.include({ state: 'Up' });
        expect(scene.seen?.counters.downs).to.equal(0);
      });

      it('is told by a director that ends in order: routes first, then BGP, then BFD, which is Down and not AdminDown', async () => {
        const scene = await Scene.ready(seed);
        scene.terminate();
        await scene.until(() => !scene.forwards, 1);
        expect(scene.router.established(DIRECTOR)).to.equal(true);
        expect(scene.seen).to.include({ state: 'Up' });
        await scene.until(() => !scene.router.established(DIRECTOR), 5);
        expect(scene.seen).to.include({ state: 'Up' });
        await scene.until(() => scene.seen?.state === 'Down', 1);
        expect(scene.seen?.remote).to.include({ state: 'Down', diagnostic: 'Administratively Down' });
        await scene.run(5);
        expect(scene.exitCode).to.equal(0);
      });

      it('keeps BGP when a reload takes BFD away, and when one brings it back', async () => {
        const scene = await Scene.ready(seed);
        scene.reload(false);
        await scene.until(() => scene.seen?.state === 'Down', 5);
        await scene.run(10);
        expect([scene.forwards, scene.seen?.state]).to.deep.equal([true, 'Down']);
        scene.reload(true);
        await scene.until(() => scene.seen?.state === 'Up', 10);
        await scene.run(5);
        expect(scene.forwards).to.equal(true);
        expect(scene.log.filter(({ text }) => /BGP session gone/.test(text))).to.deep.equal([]);
      });
    });
  }

  it('without BFD keeps a director that is cut off until the hold time is over', async () => {
    const scene = await Scene.ready(1, false);
    scene.site.network.silence(scene.machine.host, true);
    expect(await scene.until(() => !scene.forwards, HOLD_SECONDS + 1)).to.be.above((HOLD_SECONDS * 1000) / 2);
  });
});
