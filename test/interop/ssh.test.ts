// The SSH monitor against OpenSSH's server: what it says of a server that is well, and of each way in which one is not.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import ssh from '../../monitors/ssh.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { type Bench, freePort, runMonitor, serve } from '../support/monitor-bench.ts';
import { requireTools } from '../support/namespace.ts';

const AT = '127.20.22.1';

describe('SSH monitor and sshd', () => {
  const benches: Bench[] = [];
  let folder = '';
  let port = 0;
  let daemon: ChildProcess | null = null;
  let said = '';

  before(async () => {
    requireTools({ '/usr/sbin/sshd': 'openssh-server', '/usr/bin/ssh': 'openssh-client' });
    folder = mkdtempSync(join(tmpdir(), 'talk-ssh-'));
    // sshd looks into authorized_keys only where nobody else can write.
    chmodSync(folder, 0o755);
    for (const key of ['host', 'other-host', 'client', 'stranger']) {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
    }
    mkdirSync('/run/sshd', { recursive: true });
    port = await freePort(AT);
    writeFileSync(join(folder, 'authorized_keys'), readFileSync(join(folder, 'client.pub')));
    writeFileSync(join(folder, 'known_hosts'), `cp1 ${readFileSync(join(folder, 'host.pub'), 'utf8')}`);
    writeFileSync(join(folder, 'changed_hosts'), `cp1 ${readFileSync(join(folder, 'other-host.pub'), 'utf8')}`);
    writeFileSync(join(folder, 'no_hosts'), '');
    const config = [
      `ListenAddress ${AT}:${port}`,
      `HostKey ${join(folder, 'host')}`,
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'StrictModes no',
      'UsePAM no',
      'PidFile none',
    ];
    writeFileSync(join(folder, 'sshd_config'), `${config.join('\n')}\n`);
    daemon = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(folder, 'sshd_config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    daemon.stderr?.on('data', (text: Buffer) => {
      said += text.toString();
    });
    for (let tries = 0; !said.includes('Server listening'); tries++) {
      if (tries > 200 || daemon.exitCode !== null) throw new Error(`sshd does not start: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
  });
  after(() => {
    daemon?.kill('SIGKILL');
    if (folder !== '') rmSync(folder, { recursive: true });
  });

  const inFolder = (name: string) => join(folder, name);
  async function check(given: Readonly<Record<string, unknown>>, to: number = port): Promise<string> {
    const files = createFiles();
    const bench = runMonitor(ssh, { interval: 3600, ...given }, { address: AT, port: to }, { files });
    benches.push(bench);
    const health = await bench.result(1, 20_000);
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  }
  const login = (given: Readonly<Record<string, unknown>> = {}, to: number = port) =>
    check(
      { mode: 'login', user: 'root', identity: inFolder('client'), 'known-hosts': inFolder('known_hosts'), ...given },
      to,
    );

  it('reads its identification, and leaves no error in its log', async () => {
    const before = said.length;
    expect(await check({})).to.match(/^up: SSH-2\.0-OpenSSH_/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(said.slice(before)).not.to.match(/error|banner|identification/i);
  });

  it('logs in, and runs a command', async () => {
    expect(await login()).to.equal('up: ');
    expect(await login({ mode: 'command', command: 'test -d / && exit 0' })).to.equal('up: ');
  });

  it("names the command's own exit status and words, 255 too", async () => {
    expect(await login({ mode: 'command', command: 'echo disk full; exit 3' })).to.equal(
      'down: the command ended with exit status 3: disk full',
    );
    expect(await login({ mode: 'command', command: 'exit 255' })).to.equal(
      'down: ssh, or the command, ended with exit status 255',
    );
  });

  it('is down when the key is refused', async () => {
    expect(await login({ identity: inFolder('stranger') })).to.equal(
      `down: root@${AT}: Permission denied (publickey).`,
    );
  });

  it('is down when the host key has changed, and unknown when nobody knows the host', async () => {
    expect(await login({ 'known-hosts': inFolder('changed_hosts') })).to.equal(
      'down: the server has another host key than known-hosts says',
    );
    expect(await login({ 'known-hosts': inFolder('no_hosts') })).to.match(
      /^unknown: ssh: No ED25519 host key is known for cp1 and you have requested strict checking\./,
    );
  });

  it('is unknown when our own files are missing or of no use', async () => {
    expect(await login({ identity: inFolder('nothing') })).to.match(/^unknown: .*nothing.*ENOENT/);
    expect(await login({ 'known-hosts': inFolder('nothing') })).to.match(/^unknown: .*nothing.*ENOENT/);
    expect(await login({ client: '/usr/bin/no-such-ssh' })).to.match(/^unknown: run \/usr\/bin\/no-such-ssh: ENOENT/);
    const open = inFolder('open');
    writeFileSync(open, readFileSync(inFolder('client')));
    chmodSync(open, 0o644);
    expect(await login({ identity: open })).to.match(/^unknown: ssh: /);
    writeFileSync(inFolder('garbage'), 'no key\n', { mode: 0o600 });
    expect(await login({ identity: inFolder('garbage') })).to.match(/^unknown: ssh: /);
  });

  it('is down when nobody listens, or nobody answers', async () => {
    const closed = await freePort(AT);
    expect(await login({}, closed)).to.equal(`down: ssh: connect to host ${AT} port ${closed}: Connection refused`);
    expect(await check({}, closed)).to.match(/^down: Connection was refused/);
    const silent = await serve(() => {}, { at: AT });
    const closing = await serve((socket) => void socket.end(), { at: AT });
    const garbage = await serve((socket) => void socket.end(`${'x'.repeat(100_000)}\r\n`), { at: AT });
    try {
      expect(await login({ timeout: 2 }, silent.port)).to.match(/^down: .*(timed out|took longer)/);
      expect(await login({}, closing.port)).to.match(/^down: .*(closed|reset)/i);
      expect(await login({}, garbage.port)).to.match(/^down: /);
    } finally {
      await Promise.all([silent.close(), closing.close(), garbage.close()]);
    }
  });

  it('is down when the command takes too long, and leaves nothing behind', async () => {
    const mark = `31${port}`;
    expect(await login({ mode: 'command', command: `sleep ${mark}`, timeout: 2 })).to.match(
      /^down: ssh took longer than 2 seconds/,
    );
    const clients = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    expect(clients.split('\n').filter((line) => line.startsWith('/usr/bin/ssh ') && line.includes(mark))).to.deep.equal(
      [],
    );
  });
});
