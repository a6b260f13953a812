// What all machines of a simulated site share.

import { Journal } from './journal.ts';
import { Web } from './http.ts';
import { Zone } from './names.ts';
import { Network } from './network.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';
import { Tally } from './tally.ts';
import { Udp } from './udp.ts';

/** 2026-01-01: where the simulated wall clocks start. */
const EPOCH = 1_767_225_600_000;

export interface Site {
  /** What a clock shows that is right, unix ms. */
  wall(): number;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly tally: Tally;
  readonly journal: Journal;
  readonly network: Network;
  readonly udp: Udp;
  readonly web: Web;
  readonly zone: Zone;
}

export function makeSite(seed: number, print: ((line: string) => void) | null = null, maxEvents?: number): Site {
  const scheduler = new Scheduler(maxEvents);
  const random = new Random(seed, 'site');
  const tally = new Tally();
  const network = new Network(scheduler, random.fork('network'), tally);
  const journal = new Journal(scheduler, print);
  const udp = new Udp(network);
  const wall = (): number => EPOCH + scheduler.now;
  return { wall, scheduler, random, tally, journal, network, udp, web: new Web(network), zone: new Zone() };
}
