// Slow start: a server that comes into the pool of a running service gets a tenth of its weight at first, and all of it in
// equal steps later. Pure; called by service.ts on the verdicts whose place in the pool is settled.

import type { Mono } from '../world/world.ts';
import { SERVER } from './causes.ts';
import type { ServerVerdict } from './decision.ts';

/** Shares of the weight: one write when it is pooled, and one fewer than this on the way up. */
const STEPS = 10;

/**
 * The verdict with the weight of now, for a server that came in at `since`; null: it was there already. Who is pooled only to
 * keep the floor is needed as it is. Once begun, time goes on whether the server is frozen or held: no weight goes down on the
 * way up.
 */
export function slowStart(server: ServerVerdict, since: Mono | null, seconds: number, now: Mono): ServerVerdict {
  if (!server.pooled || seconds === 0 || since === null || (server.held && since === now)) return server;
  const steps = stepsBy(now - since, stepMsOf(seconds)) + 1;
  if (steps >= STEPS) return server;
  const weight = Math.ceil((server.weight * steps) / STEPS);
  const cause = server.held ? server.cause : SERVER.slowStart(weight, server.weight, server.cause.text);
  return { ...server, weight, startsSince: since, cause };
}

/** When the weight changes next; Infinity: not by time. */
export function nextStep({ startsSince }: ServerVerdict, seconds: number, now: Mono): number {
  if (startsSince === null) return Number.POSITIVE_INFINITY;
  return startsSince + (stepsBy(now - startsSince, stepMsOf(seconds)) + 1) * stepMsOf(seconds);
}

/** The first step is there at once, the last one at the end. */
function stepMsOf(seconds: number): number {
  return Math.ceil((seconds * 1000) / (STEPS - 1));
}

/** A step that was waited for has come, whatever binary fractions make of it. */
function stepsBy(elapsedMs: number, stepMs: number): number {
  return Math.floor(elapsedMs / stepMs + 1e-6);
}
