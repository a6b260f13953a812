// What happens around the directors: to real servers, paths, names, pool lists and routers.

import { type EventKind, directorOf, hit, say, serviceOf } from './event.ts';
import { feedFaultsOf } from './feeds.ts';
import { faultsOf, isShortList } from './pool-store.ts';
import { UPHEAVALS } from './pool-watched.ts';
import type { Random } from './random.ts';
import type { Scene } from './scene.ts';
import { BROKEN } from './server.ts';
import { isInDns, POOL_SERVER, type PoolEntry } from './topology.ts';

// Real servers and paths.

export const breakServer: EventKind = {
  name: 'server',
  weight: 10,
  meanMs: 60_000,
  begin: (scene, random) => {
    const healthy = [...scene.servers.values()].filter(({ state }) => state === 'serving');
    if (healthy.length === 0) return false;
    const server = random.pick(healthy);
    const state = random.pick(BROKEN);
    say(scene, `${server.plan.host} is ${state}`);
    hit(scene, 'server', state);
    server.set(state);
    scene.look();
    return () => {
      say(scene, `${server.plan.host} serves again`);
      server.set('serving');
      scene.look();
    };
  },
};

/** Everything at once: a switch, a bad deploy. */
export const breakAll: EventKind = {
  name: 'all servers',
  weight: 1,
  meanMs: 40_000,
  begin: (scene, random) => {
    const healthy = [...scene.servers.values()].filter(({ state }) => state === 'serving');
    if (healthy.length === 0) return false;
    const state = random.pick(BROKEN);
    say(scene, `all servers are ${state}`);
    hit(scene, 'all servers', state);
    for (const server of healthy) server.set(state);
    scene.look();
    return () => {
      say(scene, 'all servers serve again');
      for (const server of healthy) server.set('serving');
      scene.look();
    };
  },
};

export const blip: EventKind = {
  name: 'server blip',
  weight: 3,
  meanMs: 2000,
  begin: (scene, random) => breakServer.begin(scene, random),
};

export const cutPath: EventKind = {
  name: 'path',
  weight: 3,
  meanMs: 25_000,
  begin: (scene, random) => {
    const { network } = scene.site;
    const director = directorOf(scene, random);
    const from = director.machine.host;
    const [place, to] = random.pick([
      ['to a server', random.pick([...scene.servers.values()]).host] as const,
      ['to a router', random.pick(scene.routers).host] as const,
      ['to the pool server', network.at(POOL_SERVER.address)] as const,
    ]);
    if (to === undefined || network.isCut(from, to)) return false;
    const oneWay = random.chance(0.3);
    const backwards = random.chance(0.5);
    say(scene, `path between ${from.name} and ${to.name} is cut${oneWay ? ' one way' : ''}`);
    hit(scene, oneWay ? 'path cut one way' : 'path cut', place);
    const kind = place === 'to a router' ? 'path' : 'source';
    const undo = place === 'to a server' ? null : scene.truth.disturb(director.name, kind);
    network.cutPath(backwards ? to : from, backwards ? from : to, oneWay);
    scene.look();
    let over = false;
    const router = scene.routers.filter(({ host }) => host === to);
    scene.laws.mustBeLeft(director, router, 'silent', () => !over && director.machine.host.power);
    return () => {
      over = true;
      say(scene, `path between ${from.name} and ${to.name} is whole again`);
      network.healPath(from, to);
      undo?.();
      scene.look();
    };
  },
};

/** Only datagrams: TCP sends again. */
export const loseDatagrams: EventKind = {
  name: 'loss',
  weight: 2,
  meanMs: 20_000,
  begin: (scene, random) => {
    const { udp } = scene.site;
    if (!scene.topology.bfd || udp.loss > 0) return false;
    udp.loss = random.pick([0.02, 0.1, 0.3, 0.7]);
    say(scene, `packets of BFD get lost: ${udp.loss}`);
    hit(scene, 'loss of datagrams', `${udp.loss}`);
    const disturbed = [...scene.directors.keys()].map((name) => scene.truth.disturb(name, 'loss'));
    return () => {
      say(scene, 'datagrams arrive');
      udp.loss = 0;
      for (const undo of disturbed) undo();
    };
  },
};

/** What checks at a server's own address do not see. */
export const breakVipPath: EventKind = {
  name: 'VIP path',
  weight: 5,
  meanMs: 60_000,
  begin: (scene, random) => {
    const whole = [...scene.servers.values()].filter(({ host }) => host.pathFault === null);
    if (whole.length === 0) return false;
    const { host, plan } = random.pick(whole);
    const fault = random.pick(['no VIP on lo', 'filter for the VIP', 'no tunnel'] as const);
    say(scene, `${plan.host} has ${fault}`);
    hit(scene, 'VIP path', fault);
    scene.site.network.breakVipPath(host, fault);
    scene.look();
    return () => {
      say(scene, `${plan.host} has no longer ${fault}`);
      scene.site.network.breakVipPath(host, null);
      scene.look();
    };
  },
};

export const moveHost: EventKind = {
  name: 'names',
  weight: 1.5,
  meanMs: 1,
  begin: (scene, random) => {
    const server = random.pick([...scene.servers.values()]);
    const number = server.plan.host.slice(2);
    const net = random.int(3, 8);
    const next = [`10.0.${net}.${number}`, `2001:db8:${net}::${number}`];
    for (const address of next) scene.site.network.give(server.host, address);
    say(scene, `${server.plan.host} moves to ${next.join(', ')}`);
    hit(scene, 'names', 'host moves');
    scene.truth.setAddresses(server.plan.host, next);
    scene.look();
    return null;
  },
};

export const failResolver: EventKind = {
  name: 'resolver',
  weight: 1,
  meanMs: 60_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { resolver } = director.machine;
    if (resolver.state !== 'answers') return false;
    resolver.state = random.pick(['silent', 'failing'] as const);
    say(scene, `resolver of ${director.name} is ${resolver.state}`);
    const undo = scene.truth.disturb(director.name, 'names');
    return () => {
      say(scene, `resolver of ${director.name} answers`);
      resolver.state = 'answers';
      undo();
    };
  },
};

// Pools.

export const editPool: EventKind = {
  name: 'pool edit',
  weight: 6,
  meanMs: 1,
  begin: (scene, random) => {
    const service = serviceOf(scene, random);
    const before = scene.store.current(service.name);
    const [what, after] = editedPool(scene, random, before);
    say(scene, `pool of ${service.name}: ${what}`);
    hit(scene, 'pool edit', what);
    scene.store.publish(service, after);
    scene.truth.touch();
    scene.look();
    return null;
  },
};

function editedPool(
  scene: Scene,
  random: Random,
  before: readonly PoolEntry[],
): readonly [string, readonly PoolEntry[]] {
  const one = random.pick(before);
  const change = (edit: Partial<PoolEntry>): readonly PoolEntry[] =>
    before.map((entry) => (entry === one ? { ...entry, ...edit } : entry));
  const absent = [...scene.servers.keys()].filter((host) => !before.some((entry) => entry.host === host));
  switch (random.int(0, 5)) {
    case 0:
      return ['weight', change({ weight: random.pick([1, 2, 5, 10, 20, 50]) })];
    case 1:
      return one.enabled
        ? ['server disabled', change({ enabled: false })]
        : ['server enabled', change({ enabled: true })];
    case 2:
      if (before.length > 1) return ['server removed', before.filter((entry) => entry !== one)];
      break;
    case 3:
      if (absent.length > 0) {
        return ['server added', [...before, { host: random.pick(absent), weight: 10, enabled: true }]];
      }
      break;
    case 4:
      if (before.length > 2) return ['most servers removed', before.slice(0, 1)];
      break;
    default:
      if (absent.length > 0) {
        return ['all servers added', [...before, ...absent.map((host) => ({ host, weight: 10, enabled: true }))]];
      }
  }
  return ['order', random.shuffle(before)];
}

export const failSource: EventKind = {
  name: 'pool source',
  weight: 4,
  meanMs: 40_000,
  begin: (scene, random) => {
    const service = serviceOf(scene, random);
    if (scene.store.fault(service.name) !== null || scene.store.faultedLately(service.name)) return false;
    const fault = random.pick(faultsOf(service));
    // Whoever serves a short list for long enough means it; a resolver goes on serving it for a while.
    const lastingMs = service.shrinkConfirmSeconds * 800 - (isInDns(service) ? scene.topology.ttlSeconds * 1000 : 0);
    if (isShortList(service, fault) && lastingMs <= 0) return false;
    say(scene, `pool source of ${service.name}: ${fault}`);
    scene.store.setFault(service, fault);
    const undo = scene.truth.disturbSource(service.name);
    const end = (): void => {
      if (scene.store.fault(service.name) !== fault) return;
      say(scene, `pool source of ${service.name} is well again`);
      scene.store.setFault(service, null);
      undo();
    };
    if (isShortList(service, fault)) scene.site.scheduler.at(lastingMs, end);
    return end;
  },
};

/** What File monitors read. They know nothing then, and nobody is taken out for that. */
export const failFeed: EventKind = {
  name: 'feed',
  weight: 5,
  meanMs: 60_000,
  begin: (scene, random) => {
    const fed = scene.topology.services.filter(({ monitors }) => monitors.includes('File'));
    if (fed.length === 0) return false;
    const service = random.pick(fed);
    if (scene.feeds.fault(service) !== null) return false;
    const fault = random.pick(feedFaultsOf(service));
    say(scene, `feed of ${service.name}: ${fault}`);
    hit(scene, 'feed', fault);
    scene.feeds.setFault(service, fault);
    const undo = scene.truth.disturbFeed(service.name);
    return () => {
      say(scene, `feed of ${service.name} is well again`);
      scene.feeds.setFault(service, null);
      undo();
    };
  },
};

/** No disturbance: what was published is served all the time. */
export const upsetSource: EventKind = {
  name: 'upheaval',
  weight: 3,
  meanMs: 1,
  begin: (scene, random) => {
    const service = serviceOf(scene, random);
    const upheaval = random.pick(UPHEAVALS);
    if (!scene.store.upset(service, upheaval)) return false;
    say(scene, `pool source of ${service.name}: ${upheaval}`);
    hit(scene, `store ${upheaval}`, service.source);
    return null;
  },
};

// Routers.

export const failRouter: EventKind = {
  name: 'router',
  weight: 1.5,
  meanMs: 15_000,
  begin: (scene, random) => {
    const router = random.pick(scene.routers);
    if (!router.running || router.stopped) return false;
    const disturbed = [...scene.directors.keys()].map((name) => scene.truth.disturb(name, 'path'));
    const done = (): void => {
      for (const undo of disturbed) undo();
    };
    if (random.chance(0.4)) {
      say(scene, `${router.plan.name} clears its sessions`);
      hit(scene, 'router', 'clear');
      router.clear();
      done();
      return null;
    }
    if (random.chance(0.3)) {
      say(scene, `${router.plan.name} gets no time`);
      hit(scene, 'router', 'SIGSTOP');
      router.stop();
      return () => {
        say(scene, `${router.plan.name} goes on`);
        router.go();
        done();
      };
    }
    say(scene, `${router.plan.name} crashes`);
    hit(scene, 'router', 'crash');
    router.crash();
    return () => {
      say(scene, `${router.plan.name} is back`);
      router.restart();
      done();
    };
  },
};
