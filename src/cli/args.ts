// The command line: one table of commands, from which parsing and help are made. PyBal's own flags work without a command,
// so that a unit file or a habit written for PyBal keeps working. Called by main.ts.

import { type ParseArgsConfig, parseArgs } from 'node:util';
import { errorText } from '../lib/errors.ts';

export const DEFAULT_CONFIG = '/etc/pybal/pybal.conf';
export const DEFAULT_SOCKET = '/run/anybal/control.sock';

/** What to do. `help` and `usage` carry what to print: to standard output with exit 0, or to standard error with exit 2. */
export type Invocation =
  | { readonly do: 'run'; readonly config: string; readonly dryRun: boolean; readonly debug: boolean }
  | { readonly do: 'check'; readonly config: string; readonly strict: boolean }
  | {
      readonly do: 'status';
      readonly socket: string;
      readonly json: boolean;
      /** Only this one. */
      readonly server: string | null;
      readonly history: boolean;
    }
  | {
      readonly do: 'check-now';
      readonly config: string;
      readonly service: string;
      /** null: all of the pool. */
      readonly server: string | null;
      readonly monitor: string | null;
    }
  | {
      readonly do: 'monitor-test';
      readonly file: string;
      /** `option = value` each, as in a section but without the monitor's name. */
      readonly settings: readonly string[];
    }
  | { readonly do: 'version' }
  | { readonly do: 'help'; readonly text: string }
  | { readonly do: 'usage'; readonly text: string };

type Options = NonNullable<ParseArgsConfig['options']>;
type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

interface CommandRow {
  readonly name: string;
  readonly about: string;
  readonly options: Options;
  /** What may stand behind the name besides options, and how many of them must and can. */
  readonly operands?: { readonly text: string; readonly least: number; readonly most: number };
  /** Of each option: what stands for its value, and what it does. */
  readonly help: Readonly<Record<string, readonly [value: string, text: string]>>;
  /** Text: what is wrong with it. */
  make(values: Values, operands: readonly string[]): Invocation | string;
}

const HELP: Options = { help: { type: 'boolean', short: 'h' } };
const CONFIG: Options = { config: { type: 'string', short: 'c', default: DEFAULT_CONFIG } };

const RUN: CommandRow = {
  name: 'run',
  about: 'run the balancer (in the foreground)',
  options: {
    ...CONFIG,
    dryrun: { type: 'boolean', short: 'n', default: false },
    debug: { type: 'boolean', short: 'd', default: false },
  },
  help: {
    config: ['FILE', `configuration, ${DEFAULT_CONFIG} unless given`],
    dryrun: ['', 'write nothing, serve nothing, and talk to no router'],
    debug: ['', 'log at level DEBUG'],
  },
  make: ({ config, dryrun, debug }) => ({
    do: 'run',
    config: String(config),
    dryRun: dryrun === true,
    debug: debug === true,
  }),
};

const COMMANDS: readonly CommandRow[] = [
  RUN,
  {
    name: 'check',
    about: 'check a configuration and print every complaint; exit 0 or 2',
    options: { ...CONFIG, strict: { type: 'boolean', default: false } },
    help: {
      config: ['FILE', `configuration, ${DEFAULT_CONFIG} unless given`],
      strict: ['', 'refuse the whole file for any error'],
    },
    make: ({ config, strict }) => ({ do: 'check', config: String(config), strict: strict === true }),
  },
  {
    name: 'status',
    about: 'show what the running balancer knows and does, of one server if named',
    operands: { text: '[SERVER]', least: 0, most: 1 },
    options: {
      socket: { type: 'string', short: 's', default: DEFAULT_SOCKET },
      json: { type: 'boolean', default: false },
      history: { type: 'boolean', default: false },
    },
    help: {
      socket: ['FILE', `control socket, ${DEFAULT_SOCKET} unless given`],
      json: ['', 'as JSON'],
      history: ['', 'of SERVER: the last results of its checks, and when verdicts changed'],
    },
    make: ({ socket, json, history }, [server = null]) =>
      history === true && server === null
        ? '--history is about one server: name it'
        : { do: 'status', socket: String(socket), json: json === true, server, history: history === true },
  },
  {
    name: 'check-now',
    about: 'run the checks of a service once, here, and print each step; exit 0 up, 1 down, 2 not possible, 3 unknown',
    operands: { text: 'SERVICE [SERVER]', least: 1, most: 2 },
    options: { ...CONFIG, monitor: { type: 'string', short: 'm' } },
    help: {
      config: ['FILE', `configuration, ${DEFAULT_CONFIG} unless given`],
      monitor: ['NAME', 'only this one of its monitors'],
    },
    make: ({ config, monitor }, [service = '', server = null]) => ({
      do: 'check-now',
      config: String(config),
      service,
      server,
      monitor: typeof monitor === 'string' ? monitor : null,
    }),
  },
  {
    name: 'monitor test',
    about: 'see whether a monitor of your own keeps to the contract; exit 0, 1 or 2',
    operands: { text: 'FILE', least: 1, most: 1 },
    options: { set: { type: 'string', multiple: true } },
    help: { set: ['OPTION=VALUE', 'an option of the monitor; any number of times'] },
    make: ({ set }, [file = '']) => ({
      do: 'monitor-test',
      file,
      settings: Array.isArray(set) ? set.map(String) : [],
    }),
  },
  { name: 'version', about: 'print the version', options: {}, help: {}, make: () => ({ do: 'version' }) },
  {
    name: 'help',
    about: 'print this text',
    options: {},
    help: {},
    make: () => ({ do: 'help', text: helpText() }),
  },
];

/** `args` without node and script. Never throws. */
export function parseCommandLine(args: readonly string[]): Invocation {
  const [first = ''] = args;
  if (first === '--version') return { do: 'version' };
  if (first === '') return parse(RUN, []);
  if (first.startsWith('-')) return parse(RUN, args);
  const words = (name: string) => name.split(' ');
  const command = COMMANDS.find(({ name }) => words(name).every((word, i) => args[i] === word));
  if (command === undefined) {
    // The first word of two.
    const begun = COMMANDS.filter(({ name }) => words(name).length > 1 && words(name)[0] === first);
    if (begun.length === 0) return usage(`there is no command '${first}'`);
    const text = `Usage:\n${rowsText(begun)}\n`;
    return args.includes('--help') || args.includes('-h') ? { do: 'help', text } : { do: 'usage', text };
  }
  return parse(command, args.slice(words(command.name).length));
}

function parse(command: CommandRow, args: readonly string[]): Invocation {
  try {
    const options = { ...command.options, ...HELP };
    const { least, most, text } = command.operands ?? { least: 0, most: 0, text: '' };
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: most > 0 });
    if (values['help'] === true) return { do: 'help', text: helpText() };
    const surplus = positionals[most];
    if (surplus !== undefined) return usage(`unexpected argument '${surplus}'`);
    if (positionals.length < least) return usage(`${command.name} needs ${text}`);
    const made = command.make(values, positionals);
    return typeof made === 'string' ? usage(made) : made;
  } catch (error) {
    return usage(errorText(error).replace(/\. .*/, ''));
  }
}

function usage(complaint: string): Invocation {
  return { do: 'usage', text: `anybal: ${complaint}\nTry 'anybal help'.\n` };
}

function rowsText(commands: readonly CommandRow[]): string {
  const rows = commands.flatMap(({ name, about, options, operands, help }) => [
    [`  anybal ${name}${operands === undefined ? '' : ` ${operands.text}`}`, about] as const,
    ...Object.entries(help).map(([option, [value, text]]) => {
      const short = options[option]?.short;
      const flag = `${short === undefined ? '    ' : `-${short}, `}--${option}${value === '' ? '' : ` ${value}`}`;
      return [`      ${flag}`, text] as const;
    }),
  ]);
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  return rows.map(([left, right]) => `${left.padEnd(width)}${right}`).join('\n');
}

export function helpText(): string {
  return [
    'anybal: an anycast balancer. Health checks drive IPVS, and IPVS drives what BGP announces.',
    '',
    rowsText(COMMANDS),
    '',
    "Without a command, 'run' is meant, with PyBal's own flags: pybal [-c FILE] [-n] [-d]",
    '',
    'Exit codes: 0 done, 1 failed or refused, 2 usage or invalid configuration, 3 no daemon answers,',
    '70 a bug in anybal. check-now: 0 up, 1 down, 2 not possible, 3 unknown.',
    '',
  ].join('\n');
}
