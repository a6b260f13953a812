import { expect } from 'chai';
import fc from 'fast-check';
import ssh, { argumentsFor, verdict } from '../../../monitors/ssh.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { Command, CommandResult } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';

const LOGIN = { mode: 'login', user: 'monitor', identity: '/key' };

describe('SSH', () => {
  const benches: Bench[] = [];
  const servers: Awaited<ReturnType<typeof serve>>[] = [];
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });
  const words = async (bench: Bench) => {
    const health = await bench.result(1, 3500);
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  };

  describe('banner', () => {
    async function sshd(onSocket: Parameters<typeof serve>[0], given: Readonly<Record<string, unknown>> = {}) {
      const server = await serve(onSocket);
      servers.push(server);
      const bench = runMonitor(ssh, { timeout: 3, port: server.port, ...given });
      benches.push(bench);
      return { bench, server };
    }

    it('reads the identification, behind whatever stands before it, and identifies itself', async () => {
      const { bench, server } = await sshd(
        (socket) => void socket.write('hello\r\nworld\nSSH-2.0-OpenSSH_9.2p1 Debian\r\n'),
      );
      expect(await words(bench)).to.equal('up: SSH-2.0-OpenSSH_9.2p1 Debian');
      while (!server.seen.text.includes('\n')) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(server.seen.text).to.equal('SSH-2.0-anybal\r\n');
    });

    for (const [what, onSocket, given, reason] of [
      ['another version', (s) => void s.write('SSH-1.5-old\n'), {}, 'speaks another version of SSH: "SSH-1.5-old"'],
      ['silence', () => {}, { timeout: 0.2 }, 'no identification: nothing came in time'],
      ['an end', (s) => void s.end('Exceeded'), {}, 'no identification: the connection was closed after "Exceeded"'],
      [
        'a line that turns us away',
        (s) => void s.end('Exceeded MaxStartups\r\n'),
        {},
        'no identification: the connection was closed after "Exceeded MaxStartups"',
      ],
      [
        'the greeting of another protocol',
        (s) => void s.write('220 mx ESMTP\r\n'),
        { timeout: 0.2 },
        'no identification: nothing came in time after "220 mx ESMTP"',
      ],
      ['lines without end', (s) => void s.write('x\n'.repeat(99)), {}, 'no identification in 50 lines'],
      [
        'a line without end',
        (s) => void s.write('x'.repeat(3000)),
        {},
        `no identification: a line of more than 1024 bytes: "${'x'.repeat(80)}…"`,
      ],
      [
        'a reset',
        (s) => void setTimeout(() => s.resetAndDestroy(), 30),
        {},
        'no identification: the connection was lost (ECONNRESET)',
      ],
    ] satisfies [string, Parameters<typeof serve>[0], Record<string, unknown>, string][]) {
      it(`is down for ${what}`, async () => {
        expect(await words((await sshd(onSocket, given)).bench)).to.equal(`down: ${reason}`);
      });
    }
  });

  describe('login and command', () => {
    const ended = (exitCode: number | null, output = '', over: Partial<CommandResult> = {}): CommandResult => ({
      exitCode,
      signal: exitCode === null ? 'SIGKILL' : null,
      timedOut: false,
      output,
      durationMs: 5,
      leftovers: 'none',
      ...over,
    });
    const judge = (result: CommandResult, mode = 'login') => {
      const health = verdict({ mode, timeout: 10 }, result);
      return health.is === 'up' ? 'up' : `${health.is}: ${health.reason}`;
    };

    function run(result: CommandResult | SystemError, given = {}, missing: readonly string[] = [], key = 'x') {
      const fake = new FakeWorld();
      for (const path of ['/key', '/etc/ssh/ssh_known_hosts']) if (!missing.includes(path)) fake.write(path, key);
      const commands: Command[] = [];
      const processes = {
        run: (command: Command) => {
          commands.push(command);
          return result instanceof SystemError ? Promise.reject(result) : Promise.resolve(result);
        },
      };
      const bench = runMonitor(
        ssh,
        { ...LOGIN, ...given },
        { address: '2001:db8::7', port: 2222 },
        { files: fake.files, processes },
      );
      benches.push(bench);
      return { bench, commands };
    }

    it("tells the command's exit status from an error of ssh's own", () => {
      expect(judge(ended(0))).to.equal('up');
      expect(judge(ended(3, 'disk full\n'), 'command')).to.equal(
        'down: the command ended with exit status 3: disk full',
      );
      expect(judge(ended(1, 'This account is currently not available.\n'))).to.equal(
        'down: logged in, but `true` ended with exit status 1: This account is currently not available.',
      );
      expect(judge(ended(255, 'monitor@192.0.2.1: Permission denied (publickey).\r\n'))).to.equal(
        'down: monitor@192.0.2.1: Permission denied (publickey).',
      );
      expect(judge(ended(255, 'ssh: connect to host 192.0.2.1 port 22: Connection refused\r\n'))).to.equal(
        'down: ssh: connect to host 192.0.2.1 port 22: Connection refused',
      );
      expect(judge(ended(255), 'command')).to.equal('down: ssh, or the command, ended with exit status 255');
      expect(judge(ended(null, '', { timedOut: true }))).to.equal('down: ssh took longer than 10 seconds');
      expect(judge(ended(0, '', { timedOut: true }))).to.match(/^down/);
      expect(judge(ended(null))).to.equal('down: ssh was ended by SIGKILL');
    });

    it('is down for a changed host key, and knows nothing where the fault is ours', () => {
      const changed =
        '@@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@@@\nHost key verification failed.\r\n';
      expect(judge(ended(255, changed))).to.equal('down: the server has another host key than known-hosts says');
      for (const ours of [
        'No ED25519 host key is known for cp1 and you have requested strict checking.\r\nHost key verification failed.\r\n',
        'Load key "/key": Permission denied\r\nmonitor@192.0.2.1: Permission denied (publickey).\r\n',
        'Load key "/key": error in libcrypto\r\n',
        'ssh: connect to host 192.0.2.1 port 22: Network is unreachable\r\n',
      ]) {
        expect(judge(ended(255, ours)), ours).to.match(/^unknown: ssh: /);
      }
    });

    it('starts ssh with nothing but what it needs, and checks host keys by name', async () => {
      const { bench, commands } = run(ended(0));
      expect(await words(bench)).to.equal('up: ');
      expect(commands[0]).to.deep.include({
        path: '/usr/bin/ssh',
        env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent', LC_ALL: 'C' },
        timeoutMs: 10_000,
      });
      const args = commands[0]?.args ?? [];
      expect(args.slice(0, 9)).to.deep.equal(['-F', 'none', '-T', '-l', 'monitor', '-p', '2222', '-i', '/key']);
      expect(args.slice(-3)).to.deep.equal(['--', '2001:db8::7', 'true']);
      for (const setting of [
        'StrictHostKeyChecking=yes',
        'HostKeyAlias=cp1',
        'UserKnownHostsFile=/etc/ssh/ssh_known_hosts',
        'GlobalKnownHostsFile=/dev/null',
        'BatchMode=yes',
        'ConnectTimeout=8',
      ]) {
        expect(args, setting).to.include(setting);
      }
    });

    it('hands over the command as it stands, whatever is in it, as one argument', () => {
      fc.assert(
        fc.property(fc.string({ minLength: 1 }), (command) => {
          const options = withDefaults(ssh, { ...LOGIN, mode: 'command', command }) as never;
          const args = argumentsFor(options, { host: 'cp1', address: '192.0.2.1', port: 22 } as never);
          expect(args.slice(-3)).to.deep.equal(['--', '192.0.2.1', command]);
          expect(args.join('\n')).not.to.match(/StrictHostKeyChecking=(?!yes)/);
        }),
        { numRuns: 50, seed: 1 },
      );
    });

    it('blames no server for a key that it can not use without a passphrase', async () => {
      const openssh = (body: string) =>
        `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----\n`;
      const denied = ended(255, 'monitor@192.0.2.1: Permission denied (publickey).\r\n');
      // As ssh-keygen writes them, cut off where nobody looks any more.
      for (const locked of [
        openssh('b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABCSmLmste'),
        '-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3A2F\n',
        '-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC',
      ]) {
        const { bench, commands } = run(denied, {}, [], locked);
        expect(await words(bench)).to.equal('unknown: /key has a passphrase, which nobody is there to type');
        expect(commands).to.deep.equal([]);
      }
      for (const open of [
        openssh('b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW'),
        '-----BEGIN RSA PRIVATE KEY-----\nMIIE',
        'x',
      ])
        expect(await words(run(denied, {}, [], open).bench), open).to.match(/^down: .*Permission denied/);
    });

    it('does not start ssh without its files, nor blames the server for that', async () => {
      for (const missing of ['/key', '/etc/ssh/ssh_known_hosts']) {
        const { bench, commands } = run(ended(0), {}, [missing]);
        expect(await words(bench)).to.match(new RegExp(`^unknown: .*${missing}.*ENOENT`));
        expect(commands).to.deep.equal([]);
      }
      const { bench } = run(new SystemError('ENOENT', 'run /usr/bin/ssh'));
      expect(await words(bench)).to.equal('unknown: run /usr/bin/ssh: ENOENT');
    });

    it('goes through the path with connections of its own only', () => {
      const viaPath = (given: Readonly<Record<string, unknown>>) => ssh.viaPath(withDefaults(ssh, given) as never);
      expect([viaPath({}), viaPath(LOGIN), viaPath({ ...LOGIN, mode: 'command', command: 'x' })]).to.deep.equal([
        ...[true, false, false],
      ]);
    });

    it('refuses what would not work, or means something to ssh', () => {
      const complaints = (given: Readonly<Record<string, unknown>>) =>
        ssh.refuse(withDefaults(ssh, given) as never).map(({ option }) => option);
      expect(complaints({})).to.deep.equal([]);
      expect(complaints(LOGIN)).to.deep.equal([]);
      expect(complaints({ mode: 'login' })).to.deep.equal(['user', 'identity']);
      expect(complaints({ ...LOGIN, mode: 'command' })).to.deep.equal(['command']);
      expect(complaints({ ...LOGIN, command: 'x' })).to.deep.equal(['command']);
      expect(complaints({ ...LOGIN, user: '-oProxyCommand=x' })).to.deep.equal(['user']);
      expect(complaints({ ...LOGIN, identity: '/keys/%h' })).to.deep.equal(['identity']);
      expect(complaints({ ...LOGIN, 'known-hosts': '/a /b' })).to.deep.equal(['known-hosts']);
    });
  });
});
