// One check of one monitor against one kind of peer, in virtual time, and what was seen of it. Used by kit/kit.ts.

import type { Clock } from '../../world/world.ts';
import { bugText } from '../fence.ts';
import type {
  Health,
  MonitorModule,
  OptionRow,
  OptionsOf,
  PollInstance,
  Sample,
  Target,
  WatchInstance,
} from '../monitor.ts';
import { CheckCut } from '../check-cut.ts';
import { asHealth, judge } from '../judge.ts';
import { makeGates, makeTools } from '../tools.ts';
import type { Fault, Tool } from './fault.ts';
import { Stage } from './stage.ts';

/** What the contract gives a check after the cut. */
export const OBEYS_WITHIN_MS = 50;
/** Longer than any deadline: a check that is not over by then has none. */
const PATIENCE_MS = 7_200_000;
const MAX_STEPS = 200_000;
/** What may still run out by itself when a check is over: a pause between two packets, a connection that is closed in order. */
const LINGER_MS = 1000;
/** Turns of the promise queue after which all that was ready is done. */
const TURNS = 25;

export interface Seen {
  readonly health: Health;
  /** Virtual time from the start to the end, ms. */
  readonly tookMs: number;
  /** After the cut, if it was cut. */
  readonly obeyedAfterMs: number | null;
  /** It never ended. */
  readonly stuck: boolean;
  /** Thrown where no check can catch it. */
  readonly bugs: readonly string[];
  /** What it left open, in words. */
  readonly left: readonly string[];
  readonly used: ReadonlySet<Tool>;
  readonly askedTls: boolean;
  /** Attributes of the target that it looked at. */
  readonly looked: ReadonlySet<string>;
  /** Sets of labels with which it observed. */
  readonly series: ReadonlySet<string>;
}

export interface Subject {
  readonly module: MonitorModule;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sample: Sample;
}

const TARGET: Target = {
  service: 'web',
  host: 'cp1.example.org',
  address: '192.0.2.80',
  port: 80,
  weight: 10,
  vip: '198.51.100.80',
  servicePort: 80,
  protocol: 'tcp',
};

/** Real turns of the event loop, for monitors that wait for something that is not a tool; and who hears that this goes on. */
export interface Beside {
  readonly clock: Clock;
  alive(): void;
}

export class Try {
  readonly stage: Stage;
  readonly #module: MonitorModule;
  readonly #instance: { readonly poll: PollInstance | null; readonly watch: WatchInstance | null };
  readonly #timeoutMs: number;
  readonly #bugs: string[] = [];
  readonly #looked = new Set<string>();
  readonly #series = new Set<string>();
  readonly #outside: Beside;
  #cut: CheckCut | null = null;

  constructor({ module, options, sample }: Subject, fault: Fault, outside: Beside) {
    this.stage = new Stage(sample, fault);
    this.#module = module;
    this.#outside = outside;
    const notes = {
      log: () => {},
      observe: (_target: Target, name: string, _value: number, labels: object) =>
        void this.#series.add(`${name} ${JSON.stringify(labels)}`),
      count: (_target: Target, name: string, labels: object) =>
        void this.#series.add(`${name} ${JSON.stringify(labels)}`),
    };
    const onBug = (bug: string) => {
      this.#bugs.push(bug);
      this.#cut?.abort();
    };
    const tools = makeTools(module.name, this.stage.world, makeGates(), notes, onBug);
    const decoded = options as OptionsOf<readonly OptionRow[]>;
    if (module.kind === 'poll') {
      this.#instance = { poll: module.create(decoded, tools), watch: null };
      this.#timeoutMs = module.timing(decoded).timeoutSeconds * 1000;
    } else {
      this.#instance = { poll: null, watch: module.create(decoded, tools) };
      this.#timeoutMs = module.timing(decoded).connectTimeoutSeconds * 1000;
    }
  }

  #target(): Target {
    return new Proxy(TARGET, {
      get: (target, name) => {
        if (typeof name === 'string') this.#looked.add(name);
        return Reflect.get(target, name) as unknown;
      },
    });
  }

  /** One check. `cutAtMs`: cut then and not at the deadline. A watch that has reported is cut, as if it were not wanted any more. */
  async check(cutAtMs: number | null = null): Promise<Seen> {
    const { clock } = this.stage;
    const start = clock.now();
    const cut = new CheckCut();
    this.#cut = cut;
    let ended: { returned: unknown } | { threw: unknown } | null = null;
    let reported: Health | null = null;
    const begun = promised(() => this.#begin(cut, (health) => (reported ??= asHealth(health))));
    void begun.then(
      (returned) => (ended = { returned }),
      (threw: unknown) => (ended = { threw }),
    );
    cut.onSpoilt = () => {
      if (cut.spoilt !== null) this.#bugs.push(cut.spoilt);
      cut.abort();
    };
    const deadline = start + (cutAtMs ?? (this.#timeoutMs > 0 ? this.#timeoutMs : PATIENCE_MS));
    let cutAt: number | null = null;
    const over = () => (ended as object | null) !== null;
    const heard = () => over() || (reported as Health | null) !== null;
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      await this.#turns(over, heard);
      if (over()) break;
      if (cut.aborted && cutAt === null) cutAt = clock.now();
      if (cutAt === null && (reported as Health | null) !== null) this.#abort(cut, (cutAt = clock.now()));
      else if (cutAt !== null && clock.now() >= cutAt + OBEYS_WITHIN_MS) break;
      else if (!clock.next(cutAt === null ? deadline : cutAt + OBEYS_WITHIN_MS) && cutAt === null)
        this.#abort(cut, (cutAt = clock.now()));
    }
    const tookMs = clock.now() - start;
    const timedOut = cutAt !== null;
    const how = (ended as { returned: unknown } | { threw: unknown } | null) ?? {
      returned: { is: 'down', reason: 'never ended' },
    };
    const means = 'returned' in how && this.#module.kind === 'watch' ? { returned: meaning(how.returned) } : how;
    const health = reported ?? judge({ ...means, timedOut }, cut, this.stage.world, PATIENCE_MS);
    return {
      health,
      tookMs,
      obeyedAfterMs: cutAt === null ? null : clock.now() - cutAt,
      stuck: !over(),
      bugs: [...this.#bugs],
      left: await this.#leftovers(),
      used: this.stage.used,
      askedTls: this.stage.askedTls,
      looked: this.#looked,
      series: this.#series,
    };
  }

  #begin(cut: CheckCut, report: (health: Health) => void): Promise<unknown> {
    const { poll, watch } = this.#instance;
    if (poll !== null) return poll.check(this.#target(), cut);
    return watch === null ? Promise.resolve() : watch.watch(this.#target(), report, cut);
  }

  /** What listens to the cut is the monitor's own code. */
  #abort(cut: CheckCut, _at: number): void {
    try {
      cut.abort();
    } catch (error) {
      this.#bugs.push(bugText(error));
    }
  }

  /** Everything that is ready: promises, and a few turns of the loop below for what is not a promise of ours. */
  async #turns(over: () => boolean, heard: () => boolean): Promise<void> {
    this.#outside.alive();
    for (let i = 0; i < TURNS && !over(); i++) await Promise.resolve();
    if (!heard() && this.stage.clock.pending === 0) {
      for (let i = 0; i < 3 && !heard(); i++) await this.#outside.clock.sleep(1);
    }
  }

  /** What is open when nothing is under way and the target has been let go of. */
  async #leftovers(): Promise<readonly string[]> {
    try {
      this.#instance.poll?.forget?.(this.#target());
    } catch (error) {
      this.#bugs.push(bugText(error));
    }
    const until = this.stage.clock.now() + LINGER_MS;
    for (let i = 0; i < TURNS; i++) await Promise.resolve();
    while (this.stage.clock.next(until)) for (let i = 0; i < TURNS; i++) await Promise.resolve();
    const { openStreams, openSockets, openTimers } = this.stage;
    const left = [
      [openStreams, 'connection'],
      [openSockets, 'UDP socket'],
      [openTimers, 'timer'],
    ] as const;
    return left.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}${count === 1 ? '' : 's'}`);
  }
}

function meaning(returned: unknown): unknown {
  const means = typeof returned === 'object' && returned !== null && 'means' in returned ? returned.means : undefined;
  return means === 'unchanged' ? { is: 'unknown', reason: 'ended in order' } : means;
}

/** Also for a function that throws instead of returning a promise. */
async function promised(act: () => Promise<unknown>): Promise<unknown> {
  return act();
}
