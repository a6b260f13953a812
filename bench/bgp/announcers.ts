// The announcers of `npm run bench:bgp`, each started with its routes loaded and no session. The receiver dials.

import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  createWriteStream,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually, kill } from '../../test/support/namespace.ts';
import { tableDump } from './mrt.ts';
import type { Answer, Order } from './ours.ts';
import { addresses, bits } from './prefixes.ts';
import { ADDRESS, AS, Control, type Family } from './receiver.ts';

const LOAD_LIMIT_MS = 180_000;

export interface Announcer {
  /** The process whose CPU and memory count. */
  readonly pid: number;
  /** Take back every route, in the way that the announcer's users do. Resolves when it was told to. */
  withdraw(): Promise<void>;
  /** Hold the routes once more, without a session. Where it is missing, a process is as quick the first time as ever after. */
  reload?(): Promise<void>;
  stop(): Promise<void>;
}

export type Start = (family: Family, count: number) => Promise<Announcer>;

export const ANNOUNCERS: Readonly<Record<'anybal' | 'BIRD' | 'GoBGP' | 'ExaBGP', Start>> = {
  anybal: startOurs,
  BIRD: startBird,
  GoBGP: startGobgp,
  ExaBGP: startExabgp,
};

export interface Ours extends Announcer {
  order(order: Order): Promise<Answer>;
}

export async function startOurs(family: Family, count: number): Promise<Ours> {
  const child = fork(new URL('./ours.js', import.meta.url).pathname, {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const order = (order: Order): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const died = () => reject(new Error('our announcer died'));
      child.once('exit', died);
      child.once('message', (answer: Answer) => {
        child.off('exit', died);
        resolve(answer);
      });
      child.send(order, (error) => {
        if (error !== null) reject(error);
      });
    });
  const reload = async () => void (await order({ do: 'load', family, count }));
  return loaded(child, async () => {
    await reload();
    return { order, reload, withdraw: async () => void (await order({ do: 'withdraw' })) };
  });
}

async function startBird(family: Family, count: number): Promise<Announcer> {
  const folder = new Folder();
  const { announcer, receiver } = ADDRESS[family];
  folder.write(
    'routes',
    addresses(family, count)
      .map((address) => `route ${address}/${bits(family)} blackhole;\n`)
      .join(''),
  );
  folder.write(
    'bird.conf',
    `router id ${ADDRESS[4].announcer};
protocol device {}
protocol static held {
  ipv${family};
  include "${folder.at('routes')}";
}
protocol bgp to_receiver {
  local ${announcer} as ${AS.announcer};
  neighbor ${receiver} as ${AS.receiver};
  passive;
  hold time 90;
  ipv${family} { import none; export all; next hop self; };
}
`,
  );
  const child = spawn(
    '/usr/sbin/bird',
    ['-f', '-c', folder.at('bird.conf'), '-s', folder.at('ctl'), '-P', folder.at('pid')],
    {
      stdio: 'inherit',
    },
  );
  const load = async () => {
    const control = await eventually(
      'BIRD’s control socket',
      () => alive(child) && Control.open(folder.at('ctl')).catch(() => null),
    );
    await eventually('BIRD’s routes', async () => {
      const text = await control.ask('show route count');
      return text.includes(`${count} of ${count} routes`) ? true : null;
    });
    return { withdraw: async () => void (await control.ask('disable held')) };
  };
  return loaded(child, load, () => folder.remove());
}

const GOBGP_FAMILY: Readonly<Record<Family, string>> = { 4: 'ipv4', 6: 'ipv6' };

async function startGobgp(family: Family, count: number): Promise<Announcer> {
  const folder = new Folder();
  const { announcer, receiver } = ADDRESS[family];
  folder.write(
    'gobgpd.toml',
    `[global.config]
  as = ${AS.announcer}
  router-id = "${ADDRESS[4].announcer}"
  local-address-list = ["${announcer}"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${receiver}"
    peer-as = ${AS.receiver}
  [neighbors.transport.config]
    passive-mode = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${GOBGP_FAMILY[family]}-unicast"
`,
  );
  const child = spawn('gobgpd', ['-f', folder.at('gobgpd.toml'), '-l', 'warn', '--api-hosts', '127.0.0.1:50051'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const held = async () => {
    const text = await gobgp('global', 'rib', 'summary', '-a', GOBGP_FAMILY[family]).catch(() => '');
    return Number(/Destination: (\d+)/.exec(text)?.[1] ?? -1);
  };
  const load = async () => {
    await eventually('gobgpd', async () => (alive(child) && (await held()) === 0 ? true : null));
    // `mrt inject` ends before everything has arrived, and what was last is lost: let it be the first route, said again.
    const routes = addresses(family, count);
    const padding = Array.from({ length: 5_000 + count / 5 }, () => routes[0] ?? '');
    folder.write('routes.mrt', tableDump(family, [...routes, ...padding]));
    const end = performance.now() + LOAD_LIMIT_MS;
    while ((await held()) < count) {
      if (performance.now() > end) throw new Error(`GoBGP has taken ${await held()} of ${count} routes`);
      await gobgp('mrt', 'inject', 'global', folder.at('routes.mrt'));
      for (let before = -1, now = await held(); now !== before; now = await held()) {
        before = now;
        await sleep(200);
      }
    }
    return { withdraw: async () => void (await gobgp('global', 'rib', 'del', 'all', '-a', GOBGP_FAMILY[family])) };
  };
  return loaded(child, load, () => folder.remove());
}

async function gobgp(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('gobgp', args, { timeout: LOAD_LIMIT_MS, maxBuffer: 64 << 20 });
  return stdout;
}

async function startExabgp(family: Family, count: number): Promise<Announcer> {
  const folder = new Folder();
  const { announcer, receiver } = ADDRESS[family];
  const [commands, replies] = [folder.at('commands'), folder.at('replies')];
  await promisify(execFile)('mkfifo', [commands]);
  folder.write('replies', '');
  // Its users write to the standard output of a process that it starts, and read its answers there.
  folder.write('feed.sh', `#!/bin/sh\nexec 3<&0\ncat <&3 > ${replies} &\nexec cat ${commands}\n`, 0o755);
  folder.write(
    'exabgp.conf',
    `process feed {
  run ${folder.at('feed.sh')};
  encoder text;
}
neighbor ${receiver} {
  router-id ${ADDRESS[4].announcer};
  local-address ${announcer};
  local-as ${AS.announcer};
  peer-as ${AS.receiver};
  hold-time 90;
  passive;
  family { ipv${family} unicast; }
  api { processes [ feed ]; }
}
`,
  );
  const child = spawn('exabgp', [folder.at('exabgp.conf')], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      'exabgp.daemon.drop': 'false',
      'exabgp.daemon.user': 'root',
      'exabgp.api.ack': 'false',
      'exabgp.api.cli': 'false',
      'exabgp.log.level': 'CRIT',
      'exabgp.tcp.bind': announcer,
      'exabgp.tcp.port': '179',
    },
  });
  const pipe = createWriteStream(commands);
  // Of a daemon that has ended. Whoever waits for its answer is told below.
  pipe.on('error', () => {});
  const tell = (verb: 'announce' | 'withdraw') => {
    const routes = addresses(family, count).map(
      (address) => `${verb} route ${address}/${bits(family)} next-hop ${announcer}\n`,
    );
    // `version` is the only command that is answered: everything before it has been taken then.
    pipe.write(`${routes.join('')}version\n`);
  };
  const load = async () => {
    tell('announce');
    await eventually(
      'ExaBGP has taken its routes',
      () => (alive(child) && statSync(replies).size > 0 ? true : null),
      undefined,
      LOAD_LIMIT_MS,
    );
    return { withdraw: async () => tell('withdraw') };
  };
  return loaded(child, load, () => {
    pipe.destroy();
    // Opening the writer's end waits for a reader, and would never end if there was none.
    closeSync(openSync(commands, constants.O_RDONLY | constants.O_NONBLOCK));
    folder.remove();
  });
}

/** What a child that was started is good for once `load` is done. One that does not get there is ended like any other. */
async function loaded<T extends Omit<Announcer, 'pid' | 'stop'>>(
  child: ChildProcess,
  load: () => Promise<T>,
  remove = () => {},
): Promise<T & Pick<Announcer, 'pid' | 'stop'>> {
  const pid = pidOf(child);
  const stop = async () => {
    await kill(child);
    remove();
  };
  try {
    return { ...(await load()), pid, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A folder for the files of one daemon. */
class Folder {
  readonly #path = mkdtempSync(join(tmpdir(), 'anybal-bench-'));

  at(name: string): string {
    return join(this.#path, name);
  }
  write(name: string, content: string | Uint8Array, mode = 0o644): void {
    writeFileSync(this.at(name), content, { mode });
  }
  remove(): void {
    rmSync(this.#path, { recursive: true, force: true });
  }
}

/** True, or throws: nobody should wait for a daemon that did not like its configuration. */
function alive(child: ChildProcess): true {
  if (child.exitCode === null && child.signalCode === null) return true;
  throw new Error(`${child.spawnargs.join(' ')} ended with ${child.exitCode ?? child.signalCode}`);
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`${child.spawnfile} could not be started`);
  return child.pid;
}
