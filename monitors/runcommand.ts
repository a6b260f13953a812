// RunCommand: run a program on the director; exit status 0 is up. No shell, no PATH, an empty environment, a process group
// of its own that is killed as a whole (what leaves the group is not). Options, arguments and messages are PyBal's. Waiting
// for a turn (the runner bounds how many programs run at once) is not part of the timeout, so the world enforces it and not
// the runner.

import type {
  CommandResult,
  Cut,
  Health,
  OptionRow,
  OptionsOf,
  Poll,
  Sample,
  Target,
  Template,
  Tools,
} from 'anybal/monitor';

const OUTPUT_BYTES = 4096;
const PASSWD_BYTES = 4 << 20;

const options = [
  {
    name: 'command',
    kind: 'path',
    example: '/usr/local/lib/anybal/check-web',
    pybal: '1.00',
    doc: 'Absolute path of the program. It is run directly: no shell, no PATH, an empty environment.',
  },
  {
    name: 'arguments',
    kind: 'template',
    default: [''],
    pybal: '1.00',
    doc: 'List of arguments; server.host, server.ip, server.port, server.weight … stand for the server that is checked.',
  },
  {
    name: 'interval',
    kind: 'seconds',
    min: 0.1,
    max: 86400,
    default: 60,
    pybal: '1.00',
    doc: 'Seconds between checks.',
  },
  {
    name: 'timeout',
    kind: 'seconds',
    min: 0,
    max: 86400,
    default: 20,
    pybal: '1.00',
    doc:
      'Seconds after which the program is killed with its process group, which means down. 0: never. What left the group is ' +
      'not reached and runs on: daemons, setsid, jobs of a shell with set -m, timeout without --foreground, ssh with ' +
      'ControlPersist. A check must start none of these, or end them itself.',
  },
  {
    name: 'user',
    kind: 'string',
    default: null,
    example: 'nobody',
    doc:
      'Run the program as this user, without capabilities: a name of /etc/passwd, or numbers such as 65534:65534. Without it, ' +
      'it may do all that anybal may.',
  },
  {
    name: 'exit-weight',
    kind: 'bool',
    default: false,
    doc:
      "Exit statuses as keepalived's misc_dynamic has them: 0 is up, 1 is down, and 2 to 255 are up with a weight of 2 less, so " +
      'that 2 drains. Otherwise all but 0 are down.',
  },
  {
    name: 'log-output',
    kind: 'bool',
    default: true,
    pybal: '1.00',
    doc: 'Log what the program prints (the first 4 KiB): at level info when it failed, else at debug.',
  },
] as const satisfies readonly OptionRow[];

export default {
  apiVersion: 1,
  name: 'RunCommand',
  viaPath: () => false,
  kind: 'poll',
  options,
  refuse: (o) =>
    o.user === null || NUMBERS.test(o.user) || /^[a-z_][\w-]*\$?$/i.test(o.user)
      ? []
      : [{ option: 'user', why: 'is neither a name nor numbers such as 65534:65534' }],
  uses: (o) => ({ command: 'program', ...(o.user === null || NUMBERS.test(o.user) ? {} : { user: 'user' }) }),
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: 0 }),
  create: (o, tools) => ({
    async check(target, cut) {
      const args = fill(o.arguments, target);
      const timeoutMs = o.timeout * 1000;
      const user = o.user === null ? null : await userNamed(o.user, tools, cut);
      if (typeof user === 'string') return { is: 'unknown', reason: user };
      const command = { path: o.command, args, env: {}, timeoutMs, maxOutputBytes: OUTPUT_BYTES };
      const result = await tools.run({ ...command, ...(user === null ? {} : { user }) }, cut);
      const health = verdict(o, result);
      tell(o, args, target, result, health.is === 'up', tools);
      return health;
    },
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = {
  options: { command: '/usr/bin/true', timeout: '5' },
  command: { exitCode: 0, output: 'fine' },
};

const NUMBERS = /^(\d{1,9})(?::(\d{1,9}))?$/;

/** Whom to be; text: why nobody. Names are looked up each time: a system user may come after us. */
async function userNamed(
  user: string,
  tools: Tools,
  cut: Cut,
): Promise<{ readonly uid: number; readonly gid: number } | string> {
  const [, uid, gid = uid] = NUMBERS.exec(user) ?? [];
  if (uid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  const passwd = new TextDecoder().decode(await tools.read('/etc/passwd', PASSWD_BYTES, cut));
  for (const line of passwd.split('\n')) {
    const [name, , entryUid = '', entryGid = ''] = line.split(':');
    if (name === user && /^\d+$/.test(entryUid) && /^\d+$/.test(entryGid)) {
      return { uid: Number(entryUid), gid: Number(entryGid) };
    }
  }
  return `/etc/passwd has no user ${user}`;
}

function verdict(o: OptionsOf<typeof options>, result: CommandResult): Health {
  const { exitCode, timedOut } = result;
  if (exitCode === 0 && !timedOut) return { is: 'up' };
  if (o['exit-weight'] && exitCode !== null && exitCode > 1 && !timedOut) return { is: 'up', weight: exitCode - 2 };
  return { is: 'down', reason: failure(result, o.timeout) };
}

function fill(template: Template, target: Target): readonly string[] {
  const attributes = {
    host: target.host,
    ip: target.address,
    port: String(target.port),
    weight: String(target.weight),
    service: target.service,
    vip: target.vip,
    protocol: target.protocol,
  };
  return template.map((part) => (typeof part === 'string' ? part : attributes[part.server]));
}

function tell(
  o: OptionsOf<typeof options>,
  args: readonly string[],
  target: Target,
  result: CommandResult,
  up: boolean,
  tools: Tools,
): void {
  if (o['log-output'] && result.output !== '') {
    tools.log(up ? 'debug' : 'info', target, `Cmd stdout: ${escape(result.output)}`);
  }
  // After a timeout the group is there because it was cut off, not because the program forgot it.
  if (result.leftovers !== 'none' && !(result.timedOut && result.leftovers === 'killed')) {
    const killed = result.leftovers === 'killed' ? 'which have been killed!' : 'and not all could be killed!';
    const list = args.map((arg) => `'${escape(arg)}'`).join(', ');
    tools.log('warn', target, `Command ${o.command} [${list}] left child processes behind, ${killed}`);
  }
  tools.observe(target, 'run_duration_seconds', result.durationMs / 1000, {
    result: up ? 'successful' : 'failed',
    exitcode: result.exitCode === null ? 'none' : String(result.exitCode),
  });
}

/** Linux's numbers, as PyBal's messages give them. */
const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};

function failure({ exitCode, signal, timedOut, leftovers }: CommandResult, timeoutSeconds: number): string {
  const alive = leftovers === 'not all killed' ? ', but not all of it is dead' : '';
  const how = timedOut
    ? `by signal 9 (killed after ${timeoutSeconds} seconds${alive})`
    : exitCode === null
      ? `by signal ${SIGNALS[signal ?? ''] ?? signal}`
      : `with exit code ${exitCode}`;
  return `A process has ended with a probable error condition: process ended ${how}.`;
}

function escape(text: string): string {
  const short: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  return text.replace(
    /[\u0000-\u001f\u007f]/g,
    (c) => short[c] ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
