// The router: BIRD in namespace rt, one session per director, routes exported to the kernel. Its table and the kernel's
// route events (with the kernel's time) are the witnesses of what was announced and when.

import { mkdirSync, writeFileSync } from 'node:fs';
import { follow, run, runIn, until, type Follower } from './process.ts';
import { directors, router, type DirectorName } from './network.ts';
import { labFolder } from './server.ts';

export const routerAs = 64510;
export const directorAs = 64600;

export interface RouteEvent {
  /** Unix ms, stamped by `ip` on arrival. */
  readonly at: number;
  readonly deleted: boolean;
  readonly prefix: string;
  /** Null where the deletion names none. */
  readonly via: string | null;
  readonly text: string;
}

export interface Router {
  /** Changes of the kernel's table that BIRD made, in order. */
  readonly events: readonly RouteEvent[];
  /** BIRD's own view: which directors announce this VIP, best first. */
  announcers(vip: string): Promise<readonly DirectorName[]>;
  /** The director that the kernel's table sends this VIP to, by the events so far. */
  selected(vip: string): DirectorName | null;
  sessionUp(director: DirectorName): Promise<boolean>;
  /** `birdc` with the given words. */
  birdc(words: string): Promise<string>;
  waitSelected(vip: string, director: DirectorName | null, withinMs: number): Promise<void>;
  waitSession(director: DirectorName, up: boolean, withinMs: number): Promise<void>;
  /** A route that wins over whatever is announced, for what must not move. */
  pin(vip: string, director: DirectorName): Promise<void>;
  unpinAll(): Promise<void>;
}

const folder = `${labFolder}/rt`;

export async function startRouter(): Promise<Router> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/bird.conf`, birdConfig());
  const events: RouteEvent[] = [];
  const monitor = follow('rt', 'ip', ['-ts', 'monitor', 'route'], {
    onLine: ({ text }) => {
      const event = parseRouteEvent(text);
      if (event !== null) events.push(event);
    },
  });
  const bird = follow('rt', 'bird', ['-f', '-c', `${folder}/bird.conf`, '-s', `${folder}/bird.ctl`]);
  const birdc = (words: string): Promise<string> => run('birdc', ['-s', `${folder}/bird.ctl`, ...words.split(' ')]);
  await until('BIRD answering', 10_000, () => answers(bird, birdc));
  if (!monitor.running()) throw new Error('ip monitor ended');

  const selected = (vip: string): DirectorName | null => {
    const last = events.findLast((event) => event.prefix === vip);
    return last === undefined || last.deleted ? null : directorAt(last.via);
  };
  const sessionUp = async (director: DirectorName): Promise<boolean> =>
    /Established/.test(await birdc(`show protocols ${director}`));
  return {
    events,
    birdc,
    selected,
    sessionUp,
    async announcers(vip) {
      const length = vip.includes(':') ? 128 : 32;
      const text = await birdc(`show route for ${vip}/${length} table ${length === 32 ? 'master4' : 'master6'}`);
      return [...text.matchAll(/\[(d\d) /g)].map((match) => match[1]).filter(isDirector);
    },
    waitSelected: (vip, director, withinMs) =>
      until(`${vip} via ${director ?? 'nobody'}`, withinMs, () => selected(vip) === director, 20).then(() => undefined),
    waitSession: (director, up, withinMs) =>
      until(
        `session of ${director} ${up ? 'up' : 'down'}`,
        withinMs,
        async () => (await sessionUp(director)) === up,
        200,
      ).then(() => undefined),
    async pin(vip, director) {
      await runIn('rt', 'ip', [
        'route',
        'replace',
        vip,
        'via',
        nextHop(vip, director),
        'metric',
        '5',
        'proto',
        'static',
      ]);
    },
    async unpinAll() {
      for (const family of ['-4', '-6']) {
        await runIn('rt', 'ip', [family, 'route', 'flush', 'proto', 'static'], { mayFail: true });
      }
    },
  };
}

async function answers(bird: Follower, birdc: (words: string) => Promise<string>): Promise<boolean> {
  if (!bird.running()) throw new Error(`BIRD ended: ${bird.lines.map((line) => line.text).join(' ')}`);
  return birdc('show status').then(
    (text) => text.includes('up and running'),
    () => false,
  );
}

function nextHop(vip: string, director: DirectorName): string {
  return vip.includes(':') ? directors[director].ipv6 : directors[director].ipv4;
}

function isDirector(name: string | undefined): name is DirectorName {
  return name !== undefined && name in directors;
}

function directorAt(via: string | null): DirectorName | null {
  for (const [name, host] of Object.entries(directors)) {
    if (isDirector(name) && (host.ipv4 === via || host.ipv6 === via)) return name;
  }
  return null;
}

/** `[2026-11-21T01:02:03.456789] Deleted 10.9.0.1 via 10.2.0.11 dev eth0 proto bird metric 32`; null for other routes. */
export function parseRouteEvent(text: string): RouteEvent | null {
  const match = /^\[([^\]]+)\] (Deleted )?(?:unicast )?(\S+) (?:via (\S+) )?.*proto bird/.exec(text);
  const [, stamp, deleted, prefix, via] = match ?? [];
  if (stamp === undefined || prefix === undefined) return null;
  return { at: Date.parse(`${stamp}Z`), deleted: deleted !== undefined, prefix, via: via ?? null, text };
}

/** MED decides: d1 announces with the lower one. Both directors are one neighbour AS, so BIRD compares it. */
function birdConfig(): string {
  const session = (name: DirectorName): string => `
protocol bgp ${name} {
  local ${router.ipv4} as ${routerAs};
  neighbor ${directors[name].ipv4} as ${directorAs};
  hold time 90;
  connect delay time 1;
  connect retry time 3;
  error wait time 1, 2;
  error forget time 1;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`;
  return `
log "${folder}/bird.log" all;
debug protocols { states, events };
router id ${router.ipv4};
protocol device { scan time 5; }
protocol direct { ipv4; ipv6; interface "eth0"; }
protocol kernel { learn off; persist off; scan time 3600; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { learn off; persist off; scan time 3600; ipv6 { import none; export where source = RTS_BGP; }; }
${session('d1')}${session('d2')}`;
}
