// When checks start and end: on ticks that all of them share, with one timer for each tick that has something to do. A thousand
// checks a second, each with timers of its own, wake the process up as often, and that costs as much again as the checks do.
// Made by runner.ts and once.ts, used by the loops.

import type { Clock } from '../world/world.ts';

export const TICK_MS = 20;

/**
 * What can wait shares ticks that are further apart, unless so many ring that the closer ones are well filled as it is. They
 * divide a second, so that what comes every few seconds finds the same place each time.
 */
const PATIENT = [
  { tickMs: 100, mostPerSecond: 2000 },
  { tickMs: 50, mostPerSecond: 4000 },
] as const;
/** No burst: when there are so many, others do not wait for this one. */
const MOST_SHARED = 250;
/** So long alarms ring in one turn of the event loop. Those that are left wait until what came in meanwhile has been heard. */
const TURN_MS = 20;

/** Whom an alarm wakes. An object and not a function, of which there would be one for each alarm. */
export interface Sleeper {
  onAlarm(alarm: Alarm): void;
}

/** Wakes somebody on a tick, when it is set; it can be set again and again. */
export class Alarm {
  readonly #ticks: Ticks;
  readonly #sleeper: Sleeper;
  /** Where it waits, and its place there. */
  #tick: Tick | null = null;
  #place = 0;

  constructor(ticks: Ticks, sleeper: Sleeper) {
    this.#ticks = ticks;
    this.#sleeper = sleeper;
  }

  /**
   * As Clock.at, at a tick that is not before, and at most `slackMs` later, or TICK_MS. What it was set to before does not count any
   * more.
   */
  set(delayMs: number, slackMs = 0): void {
    this.clear();
    const tick = this.#ticks.after(delayMs, slackMs);
    this.#tick = tick;
    this.#place = tick.due.push(this) - 1;
  }

  clear(): void {
    const tick = this.#tick;
    if (tick === null) return;
    this.#tick = null;
    // The last one takes its place.
    const last = tick.due.pop();
    if (last !== undefined && last !== this) {
      tick.due[this.#place] = last;
      last.#place = this.#place;
    }
    if (tick.due.length === 0) this.#ticks.drop(tick);
  }

  ring(): void {
    this.#tick = null;
    this.#sleeper.onAlarm(this);
  }
}

interface Tick {
  /** As Clock.now. */
  readonly time: number;
  readonly due: Alarm[];
  readonly cancel: () => void;
  /** How many of them have rung. */
  rung: number;
}

export class Ticks {
  readonly #clock: Clock;
  readonly #ticks = new Map<number, Tick>();
  /** Ticks whose time has come, and who still wait in them. */
  readonly #ringing: Tick[] = [];
  /** Alarms that have rung, since when, and how many a second rang before that. At first nobody waits. */
  #rung = 0;
  #rungSince: number;
  #perSecond = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#rungSince = clock.now();
  }

  alarm(sleeper: Sleeper): Alarm {
    return new Alarm(this, sleeper);
  }

  /** For alarms, as `drop`. */
  after(delayMs: number, slackMs: number): Tick {
    const now = this.#clock.now();
    const time = this.#timeFor(now + Math.max(0, delayMs), slackMs);
    const known = this.#ticks.get(time);
    if (known !== undefined) return known;
    const tick = { time, due: [], cancel: this.#clock.at(time - now, () => this.#run(time)), rung: 0 };
    this.#ticks.set(time, tick);
    return tick;
  }

  /** Nobody waits for it any more. */
  drop(tick: Tick): void {
    // One that runs is not among them.
    if (this.#ticks.get(tick.time) !== tick) return;
    tick.cancel();
    this.#ticks.delete(tick.time);
  }

  #run(time: number): void {
    const tick = this.#ticks.get(time);
    // What is added from now on, even for this very time, comes in a turn of its own.
    this.#ticks.delete(time);
    if (tick === undefined) return;
    this.#count(time, tick.due.length);
    if (this.#ringing.push(tick) === 1) this.#ring();
  }

  /**
   * After a standstill, or at the start of thousands of checks, many ticks are due. All in one turn, they would keep everything else
   * waiting for seconds: sessions with routers, and the answers by which a server is judged.
   */
  #ring(): void {
    const until = this.#clock.now() + TURN_MS;
    try {
      for (let tick = this.#ringing[0]; tick !== undefined; tick = this.#ringing[0]) {
        // It may get shorter meanwhile, never longer.
        while (tick.rung < tick.due.length) {
          tick.due[tick.rung++]?.ring();
          if (this.#clock.now() >= until) return;
        }
        this.#ringing.shift();
      }
    } finally {
      // Also when somebody who was woken threw: the others are not to sleep for good.
      if (this.#ringing.length > 0) this.#clock.at(0, () => this.#ring());
    }
  }

  #count(time: number, alarms: number): void {
    const spanMs = time - this.#rungSince;
    if (spanMs >= 1000) {
      this.#perSecond = (this.#rung * 1000) / spanMs;
      this.#rungSince = time;
      this.#rung = 0;
    }
    this.#rung += alarms;
  }

  #timeFor(due: number, slackMs: number): number {
    for (const { tickMs, mostPerSecond } of PATIENT) {
      if (tickMs > slackMs || this.#perSecond > mostPerSecond) continue;
      const time = tickAt(due, tickMs);
      if ((this.#ticks.get(time)?.due.length ?? 0) < MOST_SHARED) return time;
    }
    return tickAt(due, TICK_MS);
  }
}

/** The first that is not before. */
function tickAt(due: number, apartMs: number): number {
  return Math.ceil(due / apartMs) * apartMs;
}
