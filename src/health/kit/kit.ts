// The conformance kit: puts a monitor through everything that a server, the network and this host may do to it, and says what
// was tried, what was seen, and whether the contract (monitor.ts) allows it. Called by `anybal monitor test` and by test/sim.

import { errorText } from '../../lib/errors.ts';
import type { Clock, Endpoint, Stream, Streams, World } from '../../world/world.ts';
import { checkOnce } from '../once.ts';
import { type Fault, FAULTS, HEALTHY, type Tool } from './fault.ts';
import { latin1 } from './stage.ts';
import { OBEYS_WITHIN_MS, type Seen, type Subject, Try } from './try.ts';

export interface Finding {
  /** What was tried. */
  readonly tried: string;
  /** What was seen, in words. */
  readonly seen: string;
  /** False: against the contract. Null: does not apply to this monitor. */
  readonly good: boolean | null;
}

/** What the kit needs of the real world. */
export interface Outside {
  readonly clock: Clock;
  readonly world: World;
  /** Bytes in use, those of buffers too, after everything that nobody needs was thrown away. */
  heapUsed(): number;
  /** What keeps this process now, each by Node's name for it. */
  resources(): readonly string[];
  /** Errors of the monitor that nobody handled, since this was last asked. */
  strays(): readonly string[];
  /** What is tried now, and what was found until then: a monitor that never returns leaves no other trace. */
  trying(tried: string, found: readonly Finding[]): void;
  /** It has returned again. */
  alive(): void;
}

/**
 * A heap grows and shrinks for many reasons, but only what is kept of each check lifts even its low-water mark from stretch to
 * stretch: one stretch that does not is enough.
 */
const MOST_STRETCHES = 5;
const ROUNDS_PER_STRETCH = 3;
const CHECKS_PER_ROUND = 100;
/** Of each check. */
const GROWTH_BYTES = 150;
const MAX_SERIES = 200;
/** A monitor that leaves something of each check, or of each instance, leaves more; the kit itself has a few. */
const MOST_RESOURCES = 20;
/** How long a timer of its own may take to show its bug. */
const LATE_MS = 100;
/** When a check is cut: at once, while it connects, while it talks. */
const CUTS_MS = [0, 0.5, 1.05, 1.5, 5] as const;

const ON_LOOPBACK = 'a real server on loopback';
const CUT = 'the cut, at any time';
const MANY_CHECKS = 'many checks, one after the other';
const AFTERWARDS = 'afterwards';

export async function examine(subject: Subject, outside: Outside): Promise<readonly Finding[]> {
  const before = counted(outside.resources());
  const findings: Finding[] = [...strayed('loading it', await straysOf(outside))];
  const once = async (fault: Fault, cutAtMs: number | null = null): Promise<Seen> => {
    const seen = await new Try(subject, fault, outside).check(cutAtMs);
    return { ...seen, bugs: [...seen.bugs, ...(await straysOf(outside))] };
  };
  outside.trying(HEALTHY.name, findings);
  const healthy = await made(() => once(HEALTHY));
  if (typeof healthy === 'string') return [{ tried: 'create', seen: healthy, good: false }];
  findings.push(judged(HEALTHY, healthy), ...asked(subject, healthy));
  outside.trying(ON_LOOPBACK, findings);
  findings.push(await overLoopback(subject, healthy, outside));
  for (const fault of FAULTS) {
    if (!fault.on.some((tool) => healthy.used.has(tool))) continue;
    outside.trying(fault.name, findings);
    findings.push(judged(fault, await once(fault)));
  }
  outside.trying(CUT, findings);
  findings.push(await cuts(once));
  outside.trying(MANY_CHECKS, findings);
  const sound = findings[0]?.good === true;
  findings.push(
    sound
      ? await state(subject, outside)
      : { tried: MANY_CHECKS, seen: 'not tried: one alone is not as it should be', good: null },
  );
  findings.push(looks(subject, healthy));
  outside.trying(AFTERWARDS, findings);
  await outside.clock.sleep(LATE_MS);
  findings.push(...strayed(AFTERWARDS, await straysOf(outside)), ...ownOf(before, counted(outside.resources())));
  return findings;
}

/** The event loop hears of them when it turns. */
async function straysOf({ clock, strays }: Outside): Promise<readonly string[]> {
  await clock.sleep(0);
  return [...new Set(strays())].map((text) => `an error that nobody handles: ${text}`);
}

function counted(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** What it has opened by itself, without the tools, and left behind. */
function ownOf(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): readonly Finding[] {
  const left = [...after].map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  const many = left.filter(([, count]) => count >= MOST_RESOURCES).map(([name, count]) => `${count} ${name}`);
  const seen = `left open, and not by its tools: ${many.join(', ')} (Node's names)`;
  return many.length === 0 ? [] : [{ tried: AFTERWARDS, seen, good: false }];
}

function strayed(tried: string, bugs: readonly string[]): readonly Finding[] {
  return bugs.length === 0 ? [] : [{ tried, seen: bugs.slice(0, 2).join('; '), good: false }];
}

async function made(act: () => Promise<Seen>): Promise<Seen | string> {
  try {
    return await act();
  } catch (error) {
    return `threw: ${errorText(error)}`;
  }
}

function judged(fault: Fault, seen: Seen): Finding {
  const { health } = seen;
  const allowed =
    fault.expect === 'any' || (fault.expect === 'not up' ? health.is !== 'up' : health.is === fault.expect);
  const wrong = [...(allowed ? [] : [`must be ${fault.expect}`]), ...faultsOf(seen)];
  const said = health.is === 'up' ? (health.detail ?? '') : health.reason;
  const verdict = `${health.is}${said === '' ? '' : `: ${said.slice(0, 100)}`} (${Math.round(seen.tookMs)} ms)`;
  return {
    tried: fault.name,
    seen: [verdict, ...wrong.map((text) => text.toUpperCase())].join('; '),
    good: wrong.length === 0,
  };
}

const ASKING: readonly Tool[] = HEALTHY.on.filter((tool) => tool !== 'read');

/** Whoever asks nobody is up with every server. */
function asked({ sample }: Subject, { health, used }: Seen): readonly Finding[] {
  const answers = [sample.stream, sample.datagram, sample.command, sample.fetch].some((answer) => answer !== undefined);
  const enough = answers ? ASKING : sample.files === undefined ? [] : HEALTHY.on;
  if (health.is !== 'up' || enough.length === 0 || enough.some((tool) => used.has(tool))) return [];
  const seen = `says up without asking ${answers ? 'the server' : 'for the files of its sample'}`;
  return [{ tried: 'what it asks', seen, good: false }];
}

/** What no check may do, whatever comes. */
function faultsOf({ bugs, stuck, left }: Seen): readonly string[] {
  return [
    ...bugs.slice(0, 2),
    ...(stuck ? [`not over ${OBEYS_WITHIN_MS} ms after the cut`] : []),
    ...(left.length === 0 ? [] : [`left open: ${left.join(', ')}`]),
  ];
}

async function cuts(once: (fault: Fault, cutAtMs: number) => Promise<Seen>): Promise<Finding> {
  const wrong: string[] = [];
  let slowest = 0;
  for (const fault of [HEALTHY, ...FAULTS.filter(({ silent }) => silent !== undefined)]) {
    for (const cutAtMs of CUTS_MS) {
      const seen = await once(fault, cutAtMs);
      slowest = Math.max(slowest, seen.obeyedAfterMs ?? 0);
      wrong.push(...faultsOf(seen).map((text) => `cut after ${cutAtMs} ms, ${fault.name}: ${text}`));
    }
  }
  const seen =
    wrong.length === 0 ? `over ${slowest.toFixed(0)} ms after it at the latest` : wrong.slice(0, 3).join('; ');
  return { tried: CUT, seen, good: wrong.length === 0 };
}

/** One instance, many checks, healthy and failing ones in turn: neither memory nor label sets may grow with them. */
async function state(subject: Subject, outside: Outside): Promise<Finding> {
  const fails: Fault = { name: '', expect: 'any', on: [], fails: 'ECONNREFUSED' };
  const both = [new Try(subject, HEALTHY, outside), new Try(subject, fails, outside)];
  let series = 0;
  const round = async (): Promise<number> => {
    for (let i = 0; i < CHECKS_PER_ROUND; i++) {
      for (const one of both) series = Math.max(series, (await one.check()).series.size);
    }
    return outside.heapUsed();
  };
  const checks = 2 * CHECKS_PER_ROUND * ROUNDS_PER_STRETCH;
  let lowest = Number.NaN;
  let kept = Number.POSITIVE_INFINITY;
  let stretches = 0;
  for (; kept > GROWTH_BYTES && stretches < MOST_STRETCHES; stretches++) {
    const before = lowest;
    lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < ROUNDS_PER_STRETCH; i++) lowest = Math.min(lowest, await round());
    if (stretches > 0) kept = (lowest - before) / checks;
  }
  const wrong = [
    ...(kept > GROWTH_BYTES ? [`keeps about ${Math.round(kept)} bytes of each check`] : []),
    ...(series > MAX_SERIES ? [`${series} sets of labels`] : []),
  ];
  const seen = wrong.length === 0 ? `steady, ${series} sets of labels` : wrong.join(', ');
  return { tried: `${checks * stretches} checks, one after the other`, seen, good: wrong.length === 0 };
}

const ENDPOINT: ReadonlySet<string> = new Set(['host', 'address', 'port']);

function looks({ module }: Subject, { looked }: Seen): Finding {
  const tried = "what it looks at of its target (asks: 'endpoint')";
  const more = [...looked].filter((name) => !ENDPOINT.has(name));
  if (module.asks !== 'endpoint') return { tried, seen: `${[...looked].sort().join(', ')}; not declared`, good: null };
  return more.length === 0
    ? { tried, seen: [...looked].sort().join(', '), good: true }
    : { tried, seen: `${more.join(', ')}, which services do not share`, good: false };
}

/** The sample behind a real socket. */
async function overLoopback(subject: Subject, healthy: Seen, { world }: Outside): Promise<Finding> {
  const tried = ON_LOOPBACK;
  const { sample } = subject;
  if (!healthy.used.has('connect')) return { tried, seen: 'not tried: it opens no connection', good: null };
  if (healthy.askedTls) return { tried, seen: 'not tried: it asks for TLS', good: null };
  const server = await serve(world.streams, (received) => latin1(sample.stream?.(received) ?? ''));
  const { lent, takeBack } = lend(world);
  try {
    const target = {
      service: 'web',
      host: '127.0.0.1',
      ...server.local,
      weight: 10,
      vip: '198.51.100.80',
      servicePort: 80,
      protocol: 'tcp',
    } as const;
    const { health, latencyMs } = await checkOnce(subject, target, lent, { log: () => {}, observe: () => {} });
    const said = health.is === 'up' ? (health.detail ?? '') : health.reason;
    return {
      tried,
      seen: `${health.is}${said === '' ? '' : `: ${said}`} (${Math.round(latencyMs)} ms)`,
      good: health.is === 'up',
    };
  } finally {
    await server.close();
    takeBack();
  }
}

/** The world to a monitor, and back what it leaves open there: timers and connections would keep this process. */
function lend(world: World): { readonly lent: World; takeBack(): void } {
  const { clock, streams } = world;
  const left: (() => void)[] = [];
  return {
    lent: {
      ...world,
      clock: {
        now: () => clock.now(),
        wall: () => clock.wall(),
        at(delayMs, fn) {
          const cancel = clock.at(delayMs, fn);
          left.push(cancel);
          return cancel;
        },
        sleep: (ms, cut) => clock.sleep(ms, cut),
      },
      streams: {
        async connect(options, cut) {
          const stream = await streams.connect(options, cut);
          left.push(() => stream.close('rst'));
          return stream;
        },
        secure: (stream, tls, cut) => streams.secure(stream, tls, cut),
        listen: (at, onStream) => streams.listen(at, onStream),
      },
    },
    takeBack() {
      for (const release of left) release();
    },
  };
}

async function serve(
  streams: Streams,
  says: (received: string) => Uint8Array,
): Promise<{ readonly local: Endpoint; close(): Promise<void> }> {
  const open = new Set<Stream>();
  const server = await streams.listen({ address: '127.0.0.1', port: 0 }, (stream) => {
    open.add(stream);
    let received = '';
    let sent = 0;
    const speak = () => {
      const all = says(received);
      if (sent < all.length) stream.write(all.slice(sent));
      sent = Math.max(sent, all.length);
    };
    stream.on({
      onData(bytes) {
        received += new TextDecoder('latin1').decode(bytes);
        speak();
      },
      onEnd: () => stream.close('fin'),
      onDrain: () => {},
      onClose: () => void open.delete(stream),
    });
    speak();
  });
  return {
    local: server.local,
    close() {
      // What a monitor leaves open would keep this process.
      for (const stream of open) stream.close('rst');
      return server.close();
    },
  };
}
