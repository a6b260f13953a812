// Which faults really hit, and where: a clean run proves nothing about a fault that never met the code it was meant for.

export class Tally {
  readonly #hits = new Map<string, Map<string, number>>();

  /** A fault of this kind took effect at this place. */
  hit(kind: string, place: string): void {
    let places = this.#hits.get(kind);
    if (places === undefined) this.#hits.set(kind, (places = new Map()));
    places.set(place, (places.get(place) ?? 0) + 1);
  }

  count(kind: string, place: string): number {
    return this.#hits.get(kind)?.get(place) ?? 0;
  }

  add(other: Tally): void {
    for (const [kind, place, count] of other.rows()) {
      const places = this.#hits.get(kind) ?? new Map<string, number>();
      this.#hits.set(kind, places);
      places.set(place, (places.get(place) ?? 0) + count);
    }
  }

  /** Sorted by kind, then place. */
  rows(): (readonly [kind: string, place: string, count: number])[] {
    const rows = [...this.#hits].flatMap(([kind, places]) =>
      [...places].map(([place, count]) => [kind, place, count] as const),
    );
    return rows.sort((a, b) => (a[0] === b[0] ? compare(a[1], b[1]) : compare(a[0], b[0])));
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
