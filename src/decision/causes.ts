// The causes that a decision can give: one place for their words, so that logs, status and tests agree. Pure.

import type { Cause } from './decision.ts';

const cause = (code: string, text: string): Cause => ({ code, text });

export const SERVER = {
  disabled: cause('disabled', 'disabled in the pool list'),
  unresolved: cause('unresolved', 'no address of the family of the VIP that it may use'),
  up: cause('up', 'up'),
  weighted: (weight: number, listed: number, reason: string) =>
    cause('weighted', `up, weight ${weight} instead of ${listed} (${reason})`),
  draining: (reason: string) => cause('draining', `up, but gets no new connections (${reason})`),
  slowStart: (weight: number, full: number, reason: string) =>
    cause('slow-start', `${reason}, slow start: weight ${weight} of ${full}`),
  unmonitored: cause('unmonitored', 'no monitors: taken as up'),
  adopted: cause('adopted', 'found in the kernel, first result awaited'),
  awaited: cause('awaited', 'first result awaited'),
  down: (reason: string) => cause('down', `down: ${reason}`),
  held: (reason: string) => cause('held', `not up (${reason}), held to keep the depool threshold`),
  heldDraining: (reason: string) =>
    cause('held', `wants no new connections (${reason}), gets them to keep the depool threshold`),
  frozen: (reason: string) => cause('frozen', `result unknown (${reason}), verdict from before stands`),
  unknown: (reason: string) => cause('unknown', `result unknown for too long (${reason})`),
  neverKnown: (reason: string) => cause('unknown', `no check could tell so far (${reason})`),
} as const;

export const VOTE = {
  noBgp: cause('no-bgp', 'bgp = no'),
  noList: cause('no-list', 'no server list yet'),
  firstRound: cause('first-round', 'first round of checks is not complete'),
  unverified: cause('unverified', 'not yet read back from the kernel'),
  differs: cause('differs', 'the kernel differs from what is wanted for longer than reconcile-limit'),
  always: cause('always', 'announce = always'),
  served: (count: number) => cause('served', `${count} destination(s) of weight > 0 in the kernel`),
  unserved: cause('unserved', 'no destination of weight > 0'),
  unproven: cause('unproven', 'no server was ever up'),
  healthy: (count: number) => cause('healthy', `${count} server(s) up`),
  unhealthy: cause('unhealthy', 'no server up'),
  quorum: (share: string, need: string) => cause('quorum', `${share} up, ${need} needed`),
  noQuorum: (share: string, need: string) => cause('no-quorum', `${share} up, ${need} needed`),
  isItMe: cause('is-it-me', 'results are unknown by our own fault: vote from before stands'),
} as const;

export const VIP = {
  off: cause('bgp-off', 'bgp is off'),
  exiting: cause('exiting', 'exiting'),
  announced: (why: string) => cause('announced', why),
  withdrawn: (why: string) => cause('withdrawn', why),
  noVoters: cause('no-voters', 'no service of this VIP has a vote'),
  unread: cause('kernel-unread', 'the kernel was not read yet'),
  stale: cause('kernel-stale', 'no verified read-back for reconcile-limit'),
  denied: (error: string) => cause('kernel-denied', `the kernel refuses us: ${error}`),
  missing: cause('vip-missing', 'the address is not on this host'),
} as const;
