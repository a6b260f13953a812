// How late checks have started, counted by the millisecond. Filled by the loops, read for metrics.

/** The last place is for everything above. */
const PLACES = 1001;
const BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

export class Lateness {
  /** Starts that were late by 0 to 1 ms, 1 to 2 ms, … */
  readonly counts = new Float64Array(PLACES);
  sumMs = 0;

  observe(lateMs: number): void {
    const late = Math.max(0, lateMs);
    const place = Math.min(Math.floor(late), PLACES - 1);
    this.counts[place] = (this.counts[place] ?? 0) + 1;
    this.sumMs += late;
  }

  /** With cumulative buckets, as in Prometheus. */
  histogram() {
    const buckets: { upToMs: number; count: number }[] = [];
    let count = 0;
    let place = 0;
    for (const upToMs of BOUNDS_MS) {
      for (; place < upToMs; place++) count += this.counts[place] ?? 0;
      buckets.push({ upToMs, count });
    }
    return { buckets, count: count + (this.counts[place] ?? 0), sumMs: this.sumMs };
  }
}
