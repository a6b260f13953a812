// SSH: the server's identification (RFC 4253 §4.2), a login, or a command's exit status. The first is a connection of our own;
// the others are OpenSSH's client with everything switched off that it could do besides, and host keys always checked.

import type { CommandResult, Cut, Health, OptionRow, OptionsOf, Poll, Sample, Target, Tools } from 'anybal/monitor';
import { linesOf } from './lib/lines.ts';
import { noConnection, printable, quote, textOf } from './lib/text.ts';

/** RFC 4253 §4.2 allows 255 for the identification, and lines before it of any length. */
const MAX_LINE_BYTES = 1024;
const MAX_LINES = 50;
const MAX_OUTPUT_BYTES = 4096;
const MAX_FILE_BYTES = 16 << 20;
/** What can stand in a path without ssh making something else of it: it knows `%h`, `${HOME}`, quotes and lists. */
const PLAIN_PATH = /^[\w/.,+@:-]+$/;
const HOST = /^[\w.:-]{1,253}$/;

const options = [
  {
    name: 'mode',
    kind: 'choice',
    choices: ['banner', 'login', 'command'],
    default: 'banner',
    doc:
      'banner: the server identifies itself; no key, no process. login: `user` can log in and run `true`. command: `command` ' +
      'ends with exit status 0.',
  },
  {
    name: 'port',
    kind: 'port',
    default: null,
    example: '22',
    doc: 'Port of the SSH server. Without it, the port that the server has in the service.',
  },
  {
    name: 'user',
    kind: 'string',
    default: null,
    example: 'monitor',
    doc: 'Who logs in. Needed for login and command.',
  },
  {
    name: 'identity',
    kind: 'path',
    default: null,
    example: '/etc/pybal/ssh/id_ed25519',
    doc:
      'Private key without a passphrase. Needed for login and command. In authorized_keys on the server, ' +
      'restrict,command="/bin/true" before the public key keeps it from doing more than that.',
  },
  {
    name: 'known-hosts',
    kind: 'path',
    default: '/etc/ssh/ssh_known_hosts',
    doc: "Host keys, by the servers' names in the pool. A server with another key is down; one that is not in it, unknown.",
  },
  {
    name: 'command',
    kind: 'string',
    default: null,
    example: '/usr/local/bin/am-i-well',
    doc: "For mode = command: handed to the user's shell on the server as it stands.",
  },
  { name: 'client', kind: 'path', default: '/usr/bin/ssh', doc: 'The ssh program, OpenSSH 7.6 or later.' },
  { name: 'interval', kind: 'seconds', min: 1, max: 86400, default: 30, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.1, max: 3600, default: 10, doc: 'Seconds for the whole check.' },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

export default {
  apiVersion: 1,
  name: 'SSH',
  kind: 'poll',
  asks: 'endpoint',
  options,
  viaPath: (o) => o.mode === 'banner',
  refuse: (o) => refusals(o),
  uses: (o) => (o.mode === 'banner' ? {} : { identity: 'file', 'known-hosts': 'file', client: 'program' }),
  // How long a program may run is the world's business: waiting for its turn does not count.
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.mode === 'banner' ? o.timeout : 0 }),
  create: (o, tools) => ({
    check: (target, cut) => (o.mode === 'banner' ? banner(o, tools, target, cut) : login(o, tools, target, cut)),
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { stream: () => 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n' };

function refusals(o: Options) {
  const wrong: { readonly option: (typeof options)[number]['name']; readonly why: string }[] = [];
  if (o.mode !== 'banner') {
    for (const option of ['user', 'identity'] as const) {
      if (o[option] === null) wrong.push({ option, why: `is needed for mode = ${o.mode}` });
    }
  }
  if ((o.mode === 'command') !== (o.command !== null)) {
    wrong.push({
      option: 'command',
      why: o.command === null ? 'is needed for mode = command' : `has no use for mode = ${o.mode}`,
    });
  }
  if (o.user !== null && !/^[A-Za-z_][\w.-]*$/.test(o.user)) wrong.push({ option: 'user', why: "is no user's name" });
  for (const option of ['identity', 'known-hosts'] as const) {
    if (!PLAIN_PATH.test(o[option] ?? '/'))
      wrong.push({ option, why: 'has characters that ssh makes something else of' });
  }
  return wrong;
}

async function banner(o: Options, tools: Tools, target: Target, cut: Cut): Promise<Health> {
  let stream: Awaited<ReturnType<Tools['connect']>>;
  try {
    stream = await tools.connect({ address: target.address, port: o.port ?? target.port }, cut);
  } catch (error) {
    return { is: 'down', reason: noConnection(error, cut, o.timeout) };
  }
  const lines = linesOf(stream, cut, MAX_LINE_BYTES);
  let said = '';
  try {
    for (let count = 0; count < MAX_LINES; count++) {
      const line = await lines.next();
      if (!line.startsWith('SSH-')) {
        said = line;
        continue;
      }
      if (!/^SSH-(2\.0|1\.99)-/.test(line))
        return { is: 'down', reason: `speaks another version of SSH: ${quote(line)}` };
      // Without an identification of ours, sshd calls the connection an error in its log.
      stream.write(new TextEncoder().encode('SSH-2.0-anybal\r\n'));
      return { is: 'up', detail: printable(line) };
    }
    return { is: 'down', reason: `no identification in ${MAX_LINES} lines` };
  } catch (error) {
    // A server that turns us away says why in a line of its own: Exceeded MaxStartups.
    const after = said === '' || lines.rest !== '' ? '' : ` after ${quote(said)}`;
    return { is: 'down', reason: `no identification: ${textOf(error)}${after}` };
  } finally {
    stream.close(cut.aborted ? 'rst' : 'fin');
  }
}

async function login(o: Options, tools: Tools, target: Target, cut: Cut): Promise<Health> {
  const { host } = target;
  if (!HOST.test(host)) return { is: 'unknown', reason: `${quote(host)} is no name to find a host key by` };
  // ssh only warns of files that it cannot read, and the server is blamed for what follows.
  await tools.read(o['known-hosts'], MAX_FILE_BYTES, cut);
  if (o.identity !== null && isEncrypted(await tools.read(o.identity, MAX_FILE_BYTES, cut)))
    return { is: 'unknown', reason: `${o.identity} has a passphrase, which nobody is there to type` };
  const command = {
    path: o.client,
    args: argumentsFor(o, target),
    env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent', LC_ALL: 'C' },
    timeoutMs: o.timeout * 1000,
    maxOutputBytes: MAX_OUTPUT_BYTES,
  };
  return verdict(o, await tools.run(command, cut));
}

/** A private key with a passphrase: ssh says nothing of it and offers none, so that the server denies us. */
function isEncrypted(key: Uint8Array): boolean {
  const text = new TextDecoder('latin1').decode(key);
  if (/^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)) return true;
  // OpenSSH's own format begins with "openssh-key-v1" and the name of a cipher; without a passphrase that is "none".
  const [, body = ''] = /^-----BEGIN OPENSSH PRIVATE KEY-----\s+b3BlbnNzaC1rZXktdjEA(\S*)/m.exec(text) ?? [];
  return body !== '' && !body.startsWith('AAAABG5vbmU');
}

export function argumentsFor(o: Options, { host, address, port }: Target): readonly string[] {
  const settings = {
    BatchMode: 'yes',
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    PreferredAuthentications: 'publickey',
    PasswordAuthentication: 'no',
    KbdInteractiveAuthentication: 'no',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: o['known-hosts'],
    GlobalKnownHostsFile: '/dev/null',
    UpdateHostKeys: 'no',
    // Keys are kept by name, and the address is where the name is now.
    HostKeyAlias: host,
    CheckHostIP: 'no',
    // A little less than the whole: then ssh itself says what it waited for.
    ConnectTimeout: String(Math.max(1, Math.floor(o.timeout * 0.8))),
    ConnectionAttempts: '1',
    ClearAllForwardings: 'yes',
    ForwardAgent: 'no',
    PermitLocalCommand: 'no',
    ProxyCommand: 'none',
    ControlMaster: 'no',
    ControlPath: 'none',
    RequestTTY: 'no',
    LogLevel: 'ERROR',
  };
  return [
    ...['-F', 'none', '-T', '-l', o.user ?? '', '-p', String(o.port ?? port), '-i', o.identity ?? ''],
    ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...['--', address, o.command ?? 'true'],
  ];
}

/** What ssh says when it is us who cannot: our key, our list of hosts, our network. */
const OWN_FAULTS: readonly RegExp[] = [
  /^No \S+ host key is known for /m,
  /^Load key ".*": /m,
  /UNPROTECTED PRIVATE KEY FILE/,
  /^(Bad configuration option|command-line)/m,
  /: (Network is unreachable|Cannot assign requested address|Too many open files|No buffer space available)\r?$/m,
];

/** ssh ends with the command's own exit status, or with 255 when there was an error of its own. */
export function verdict(o: Pick<Options, 'mode' | 'timeout'>, result: CommandResult): Health {
  const { exitCode, signal, timedOut, output } = result;
  if (exitCode === 0 && !timedOut) return { is: 'up' };
  const said = lastWords(output);
  if (timedOut)
    return { is: 'down', reason: `ssh took longer than ${o.timeout} seconds${said === '' ? '' : `: ${said}`}` };
  if (exitCode === null) return { is: 'down', reason: `ssh was ended by ${signal}` };
  if (exitCode !== 255) {
    const what = o.mode === 'login' ? 'logged in, but `true` ended' : 'the command ended';
    return { is: 'down', reason: `${what} with exit status ${exitCode}${said === '' ? '' : `: ${said}`}` };
  }
  if (OWN_FAULTS.some((pattern) => pattern.test(output))) return { is: 'unknown', reason: `ssh: ${said}` };
  if (output.includes('REMOTE HOST IDENTIFICATION HAS CHANGED')) {
    return { is: 'down', reason: 'the server has another host key than known-hosts says' };
  }
  return { is: 'down', reason: said === '' ? 'ssh, or the command, ended with exit status 255' : said };
}

/** The lines that say most: the last ones, on one line. */
function lastWords(output: string): string {
  const lines = output.split(/[\r\n]+/).map((line) => line.trim());
  const telling = lines.filter((line) => line !== '' && !/^[@*]+/.test(line));
  return printable(telling.slice(-2).join(' / ').slice(-300), 300);
}
