// What happens to a director: its configuration, its process, its machine, its kernel, and other people on it.

import { SSH_FILES } from './conf.ts';
import type { Director } from './director.ts';
import type { Ambush } from './kernel.ts';
import { type EventKind, directorOf, hit, say } from './event.ts';
import type { Scene } from './scene.ts';
import { type ServicePlan, destinationKeyOf, isV6, serviceKeyOf } from './topology.ts';

// Configuration.

export const reload: EventKind = {
  name: 'reload',
  weight: 2,
  meanMs: 1,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    if (!director.running) return false;
    say(scene, `${director.name} gets SIGHUP`);
    hit(scene, 'reload', 'nothing changed');
    director.hangUp();
    return null;
  },
};

export const editConfig: EventKind = {
  name: 'configuration',
  weight: 3,
  meanMs: 40_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    if (director.missing || director.broken !== null || director.file.length !== scene.topology.services.length)
      return false;
    const service = random.pick(director.file);
    const what = random.pick(['removed', 'broken', 'scheduler', 'threshold', 'interval', 'policy'] as const);
    if (what === 'removed' && director.file.length < 2) return false;
    say(scene, `configuration of ${director.name}: ${service.name} ${what}`);
    hit(scene, 'configuration', what);
    const replaced = (edit: Partial<ServicePlan>): readonly ServicePlan[] =>
      director.file.map((candidate) => (candidate === service ? { ...candidate, ...edit } : candidate));
    if (what === 'removed')
      director.edit(
        director.file.filter((candidate) => candidate !== service),
        null,
      );
    else if (what === 'broken') director.edit(director.file, service.name);
    else if (what === 'scheduler')
      director.edit(replaced({ scheduler: random.pick(['wrr', 'rr', 'sed', 'lc']) }), null);
    else if (what === 'threshold') director.edit(replaced({ threshold: random.pick([0, 0.3, 0.5, 0.8]) }), null);
    else if (what === 'interval') director.edit(replaced({ intervalSeconds: random.pick([5, 10, 15]) }), null);
    else director.edit(replaced({ announce: random.pick(['served', 'healthy', 'always'] as const) }), null);
    apply(scene, director);
    return () => {
      say(scene, `configuration of ${director.name} is as it was`);
      director.edit(scene.topology.services, null);
      apply(scene, director);
    };
  },
};

function apply(scene: Scene, director: Director): void {
  director.hangUp();
  scene.truth.touch(director.name);
  scene.look();
}

export const loseConfig: EventKind = {
  name: 'configuration file',
  weight: 0.7,
  meanMs: 10_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    if (!director.running || director.stopping || director.missing) return false;
    const restart = random.chance(0.5);
    say(scene, `configuration of ${director.name} is gone${restart ? ', and it is killed' : ''}`);
    hit(scene, 'configuration', restart ? 'missing at a start' : 'missing at a reload');
    director.lose();
    if (restart) {
      director.kill();
      scene.gone(director);
      scene.comeBack(director, 500);
    } else director.hangUp();
    return () => {
      say(scene, `configuration of ${director.name} is back`);
      director.edit(director.file, director.broken);
      if (director.running) apply(scene, director);
    };
  },
};

// Directors.

export const crash: EventKind = {
  name: 'crash',
  weight: 4,
  meanMs: 120_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    if (!director.running) return false;
    const backMs = random.exponential(8000);
    const kill = (place: string): void => {
      if (!director.running) return;
      say(scene, `${director.name} is killed`);
      hit(scene, 'kill -9', place);
      director.kill();
      scene.gone(director);
      scene.comeBack(director, backMs);
    };
    const act = random.pick([null, 'kernel', 'kernel', 'disk'] as const);
    if (act !== null) return scene.trap(director, act, random.int(1, 4), () => kill(`while writing to its ${act}`));
    kill('director');
    return null;
  },
};

export const terminate: EventKind = {
  name: 'stop',
  weight: 2,
  meanMs: 1,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    if (!director.running || director.stopping) return false;
    say(scene, `${director.name} gets SIGTERM`);
    hit(scene, 'SIGTERM', 'director');
    scene.gone(director);
    const { generation } = director.machine;
    director.terminate();
    // As a supervisor does: whoever has not gone by then is killed, which it should not have come to.
    const since = scene.truth.now;
    scene.site.scheduler.at(30_000, () => {
      if (!director.running || director.machine.generation !== generation) return;
      if (!scene.truth.disturbed(director.name, ['paused'], since)) {
        scene.laws.violate(12, director.name, 'has not stopped 30 s after SIGTERM');
      }
      director.kill();
    });
    scene.comeBack(director, 31_000);
    return null;
  },
};

export const pause: EventKind = {
  name: 'pause',
  weight: 2,
  meanMs: 8000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { life } = director.machine;
    if (life === null || !life.running) return false;
    say(scene, `${director.name} gets no time`);
    hit(scene, 'SIGSTOP', 'director');
    director.machine.pause();
    const undo = scene.truth.disturb(director.name, 'paused');
    let over = false;
    scene.laws.mustBeLeft(director, scene.routers, 'silent', () => !over);
    return () => {
      over = true;
      say(scene, `${director.name} goes on`);
      director.machine.resume();
      undo();
    };
  },
};

/** The thread that has BFD goes on, and must not vouch for one that does not. */
export const wedge: EventKind = {
  name: 'wedge',
  weight: 2,
  meanMs: 5000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { life } = director.machine;
    if (!scene.topology.bfd || life === null || !life.running) return false;
    say(scene, `the main thread of ${director.name} stands still`);
    hit(scene, 'wedged', 'director');
    life.stop();
    const undo = scene.truth.disturb(director.name, 'paused');
    let over = false;
    scene.laws.mustBeLeft(director, scene.routers, 'wedged', () => !over);
    return () => {
      over = true;
      say(scene, `the main thread of ${director.name} goes on`);
      life.go();
      undo();
    };
  },
};

export const powerCut: EventKind = {
  name: 'power',
  weight: 1,
  meanMs: 20_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    if (!director.machine.host.power) return false;
    say(scene, `${director.name} loses power`);
    hit(scene, 'power cut', 'director');
    director.powerOff();
    scene.gone(director);
    return () => {
      say(scene, `${director.name} boots`);
      director.machine.powerOn();
      scene.laws.rebooted(director.name);
      scene.truth.rebooted(director.name);
      scene.foreign.get(director.name)?.clear();
      scene.start(director);
    };
  },
};

export const breakKernel: EventKind = {
  name: 'kernel',
  weight: 3,
  meanMs: 15_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { kernel } = director.machine;
    const { faults } = kernel;
    if (faults.denied !== null || faults.hangs || faults.fails > 0 || faults.loses > 0) return false;
    const what = random.pick(['EPERM', 'hangs', 'fails', 'loses'] as const);
    say(scene, `kernel of ${director.name}: ${what}`);
    const undo = scene.truth.disturb(director.name, 'kernel');
    if (what === 'EPERM') faults.denied = what;
    else if (what === 'hangs') faults.hangs = true;
    else if (what === 'fails') faults.fails = random.pick([0.1, 0.5, 1]);
    else faults.loses = random.pick([0.1, 0.5]);
    if (what === 'EPERM' || what === 'hangs') scene.laws.kernelLost(director);
    const { boots } = director.machine;
    return () => {
      say(scene, `kernel of ${director.name} is well again`);
      if (director.machine.boots === boots) {
        faults.denied = null;
        faults.fails = 0;
        faults.loses = 0;
        kernel.goOn();
      }
      undo();
    };
  },
};

/** Operations of which few happen meet a fault only if it waits for them. The rarest are listed more often. */
const AMBUSHES = [
  ['delete-service', ['lost', 'hang', 'EPERM', 'ENOBUFS', 'gone']],
  ['delete-service', ['lost', 'hang', 'EPERM', 'gone']],
  ['delete-address', ['lost', 'hang', 'EPERM', 'ENOBUFS']],
  ['delete-address', ['lost', 'hang', 'EPERM']],
  ['set-service', ['lost', 'hang', 'EPERM', 'ENOBUFS', 'gone']],
  ['set-destination', ['lost', 'hang', 'EPERM', 'gone']],
  ['delete-destination', ['hang', 'gone']],
  ['add-service', ['lost', 'hang', 'EPERM', 'made']],
  ['add-destination', ['hang', 'EPERM']],
  ['add-address', ['lost', 'hang', 'EPERM', 'ENOBUFS']],
] as const;

export const ambushKernel: EventKind = {
  name: 'kernel, one write',
  weight: 5,
  meanMs: 2_000_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { kernel } = director.machine;
    const [op, ways] = random.pick(AMBUSHES);
    if (kernel.ambushes.has(op)) return false;
    const how = random.pick<Ambush['how']>(ways);
    const lastsMs = random.between(500, 20_000);
    let end = (): void => {};
    const sprung: Ambush['sprung'] = (met) => {
      if ('service' in met && (how === 'gone' || how === 'made')) {
        scene.laws.vandalized(director);
        scene.truth.disturb(director.name, 'vandal')();
        say(scene, `somebody at ${director.name}: ${met.service.key} is ${how}, just before ${op}`);
        if (how === 'gone') kernel.deleteService(met.service.key);
        else kernel.setService(met.service);
        return;
      }
      say(scene, `kernel of ${director.name}: ${how}`);
      const undo = scene.truth.disturb(director.name, 'kernel');
      const { boots } = director.machine;
      let over = false;
      end = (): void => {
        if (over) return;
        over = true;
        if (how === 'hang' && director.machine.boots === boots) kernel.goOn();
        undo();
      };
      if (how === 'hang') scene.site.scheduler.at(lastsMs, () => end());
      else end();
    };
    const ambush = { op, how, sprung };
    kernel.ambushes.set(op, ambush);
    return () => {
      if (kernel.ambushes.get(op) === ambush) kernel.ambushes.delete(op);
      end();
    };
  },
};

export const breakDirector: EventKind = {
  name: 'is it me?',
  weight: 2,
  meanMs: 25_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { host, commands } = director.machine;
    if (host.connectError !== null) return false;
    host.connectError = random.pick(['EMFILE', 'ENETUNREACH', 'EADDRNOTAVAIL']);
    commands.startError = random.pick(['EMFILE', 'EAGAIN']);
    say(scene, `${director.name} cannot open anything: ${host.connectError}`);
    const undo = scene.truth.disturb(director.name, 'own');
    return () => {
      say(scene, `${director.name} can open connections again`);
      host.connectError = null;
      commands.startError = null;
      undo();
    };
  },
};

export const fillDisk: EventKind = {
  name: 'disk',
  weight: 1,
  meanMs: 60_000,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { disk } = director.machine;
    if (disk.writeError !== null) return false;
    disk.writeError = random.pick(['ENOSPC', 'EROFS', 'EIO']);
    say(scene, `disk of ${director.name}: ${disk.writeError}`);
    const undo = scene.truth.disturb(director.name, 'disk');
    return () => {
      say(scene, `disk of ${director.name} is well again`);
      disk.writeError = null;
      undo();
    };
  },
};

/** Until NTP sets it right. */
export const jumpClock: EventKind = {
  name: 'clock',
  weight: 1,
  meanMs: 60_000,
  begin: (scene, random) => {
    const { machine, name } = directorOf(scene, random);
    const ms = random.pick([-3_600_000, -5000, 5000, 3_600_000]);
    machine.wallSkewMs += ms;
    say(scene, `wall clock of ${name} jumps by ${ms} ms`);
    hit(scene, 'clock jump', ms < 0 ? 'back' : 'ahead');
    const undo = scene.truth.disturb(name, 'clock');
    return () => {
      say(scene, `wall clock of ${name} jumps back by ${ms} ms`);
      machine.wallSkewMs -= ms;
      undo();
    };
  },
};

/** Without its key and its list of hosts ssh cannot ask anybody anything. */
export const loseKeys: EventKind = {
  name: 'keys',
  weight: 1,
  meanMs: 40_000,
  begin: (scene, random) => {
    const { machine, name } = directorOf(scene, random);
    const path = random.pick(SSH_FILES);
    const asks = ({ monitors, sshMode }: ServicePlan): boolean => monitors.includes('SSH') && sshMode === 'login';
    if (!scene.topology.services.some(asks) || machine.disk.unreadable.has(path)) return false;
    const gone = random.chance(0.5);
    say(scene, `${path} of ${name} is ${gone ? 'gone' : 'unreadable'}`);
    hit(scene, 'keys', gone ? 'gone' : 'unreadable');
    if (gone) machine.disk.remove(path);
    machine.disk.unreadable.add(path);
    const undo = scene.truth.disturb(name, 'keys');
    return () => {
      say(scene, `${path} of ${name} is back`);
      machine.disk.put(path, 'a file of ssh');
      machine.disk.unreadable.delete(path);
      undo();
    };
  },
};

// Somebody else.

export const vandal: EventKind = {
  name: 'vandal',
  weight: 4,
  meanMs: 1,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { kernel } = director.machine;
    const foreign = scene.foreign.get(director.name) ?? new Set();
    const ours = [...kernel.table.values()].filter(({ service }) => !foreign.has(service.key));
    if (!director.machine.host.power || ours.length === 0) return false;
    const entry = random.pick(ours);
    const destinations = [...entry.destinations.values()];
    const what = random.pick([
      'flush',
      'service',
      'destination',
      'weight',
      'scheduler',
      'VIP',
      'server added',
    ] as const);
    if (destinations.length === 0 && (what === 'destination' || what === 'weight')) return false;
    scene.laws.vandalized(director);
    scene.truth.disturb(director.name, 'vandal')();
    say(scene, `somebody at ${director.name}: ${what} of ${entry.service.key}`);
    hit(scene, 'vandal', what);
    const one = destinations.length === 0 ? null : random.pick(destinations);
    const { key } = entry.service;
    switch (what) {
      case 'flush':
        for (const { service } of ours) kernel.deleteService(service.key);
        break;
      case 'service':
        kernel.deleteService(key);
        break;
      case 'destination':
        if (one !== null) kernel.deleteDestination(key, one.key);
        break;
      case 'weight':
        if (one !== null) kernel.setDestination(key, { ...one, weight: one.weight + 7 });
        break;
      case 'scheduler':
        kernel.setService({ ...entry.service, scheduler: entry.service.scheduler === 'lc' ? 'rr' : 'lc' });
        break;
      case 'VIP':
        kernel.deleteAddress(entry.service.address);
        break;
      case 'server added': {
        const address = isV6(entry.service.address) ? '2001:db8:66::66' : '10.66.66.66';
        const { port } = entry.service;
        const destination = { address, port, forward: 'dr', weight: 1, upperThreshold: 0, lowerThreshold: 0 } as const;
        kernel.setDestination(key, { key: destinationKeyOf(address, port), ...destination });
        break;
      }
      default:
        what satisfies never;
    }
    return null;
  },
};

export const stranger: EventKind = {
  name: 'foreign entry',
  weight: 1,
  meanMs: 1,
  begin: (scene, random) => {
    const director = directorOf(scene, random);
    const { kernel, host } = director.machine;
    if (!host.power) return false;
    const number = random.int(1, 250);
    const foreign = scene.foreign.get(director.name);
    if (random.chance(0.3)) {
      const address = `10.99.0.${number}`;
      kernel.setAddress(address, 0);
      foreign?.add(address);
      scene.laws.foreign(director.name, address);
      hit(scene, 'foreign entry', 'address');
    } else {
      const plan = { protocol: 'tcp', vip: `10.98.0.${number}`, port: 99 } as const;
      const key = serviceKeyOf(plan);
      kernel.setService({
        key,
        protocol: 'tcp',
        address: plan.vip,
        port: plan.port,
        fwmark: 0,
        scheduler: 'rr',
        flags: 0,
        persistenceSeconds: 0,
        persistencePrefix: 32,
      });
      foreign?.add(key);
      scene.laws.foreign(director.name, key);
      hit(scene, 'foreign entry', 'service');
    }
    say(scene, `somebody at ${director.name} makes an entry of their own`);
    return null;
  },
};
