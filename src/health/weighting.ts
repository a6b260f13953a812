// What monitors say of a server's weight, from single results to the fact. Pure; called by rise.ts and combine.ts.

import type { Weighting } from '../decision/facts.ts';
import type { Health } from './monitor.ts';

/** One monitor's word. */
export type Wish = Omit<Weighting, 'reason'>;

/** Null: it says nothing of the weight. */
export function wishIn(health: Health): Wish | null {
  if (health.is !== 'up') return null;
  const { weight = null, percent = 100, drain = false } = health;
  return weight === null && percent === 100 && !drain ? null : { weight, percent, drain };
}

export function sameWish(a: Wish | null | undefined, b: Wish | null | undefined): boolean {
  return a === b || (a != null && b != null && a.weight === b.weight && a.percent === b.percent && a.drain === b.drain);
}

/** Several monitors: whoever wants the least for the server is heard. `said` is what it gave as its reason. */
export function combineWishes(
  wishes: readonly { readonly name: string; readonly wish: Wish; readonly said: string }[],
): Weighting | undefined {
  if (wishes.length === 0) return undefined;
  const weights = wishes.flatMap(({ wish: { weight } }) => (weight === null ? [] : [weight]));
  return {
    weight: weights.length === 0 ? null : Math.min(...weights),
    percent: Math.min(...wishes.map(({ wish }) => wish.percent)),
    drain: wishes.some(({ wish }) => wish.drain),
    reason: wishes.map(({ name, wish, said }) => `${name}: ${said === '' ? wishText(wish) : said}`).join('; '),
  };
}

function wishText({ weight, percent, drain }: Wish): string {
  if (drain) return 'drain';
  const share = percent === 100 ? [] : [`${percent} %`];
  return [...share, ...(weight === null ? [] : [`weight ${weight}`])].join(' of ');
}
