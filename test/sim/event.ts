// What an event is, and how one is told and counted.

import type { Director } from './director.ts';
import type { Random } from './random.ts';
import type { Scene } from './scene.ts';
import type { ServicePlan } from './topology.ts';

/** Undoes the event; null: nothing to undo. */
export type End = (() => void) | null;

export interface EventKind {
  readonly name: string;
  /** How likely, against the others. */
  readonly weight: number;
  readonly meanMs: number;
  /** False: nothing here to do it to. */
  begin(scene: Scene, random: Random): End | false;
}

export const directorOf = (scene: Scene, random: Random): Director => random.pick([...scene.directors.values()]);
export const serviceOf = (scene: Scene, random: Random): ServicePlan => random.pick(scene.topology.services);

export function say(scene: Scene, text: string): void {
  scene.site.journal.write('event', text);
}

export function hit(scene: Scene, kind: string, place: string): void {
  scene.site.tally.hit(kind, place);
}
