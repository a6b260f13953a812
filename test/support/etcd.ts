// A real etcd (Debian's etcd-server) on loopback, with a folder of its own: started, stopped, stopped in its tracks, asked.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { listenSomewhere } from './listen.ts';
import { eventually, kill } from './namespace.ts';

const run = promisify(execFile);

export interface EtcdOptions {
  readonly v2?: boolean;
  /** PEM files: its own certificate and key, and the authority of clients, if they need a certificate. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa: string | null };
  /** etcdctl's own way in. */
  readonly ctl?: readonly string[];
  /** A network namespace that has the address. */
  readonly within?: string;
}

export class Etcd {
  readonly address: string;
  readonly port: number;
  readonly #peerPort: number;
  readonly #folder = mkdtempSync(join(tmpdir(), 'anybal-etcd-'));
  readonly #options: EtcdOptions;
  #child: ChildProcess | null = null;

  private constructor(address: string, port: number, peerPort: number, options: EtcdOptions) {
    this.address = address;
    this.port = port;
    this.#peerPort = peerPort;
    this.#options = options;
  }

  static async start(address: string, options: EtcdOptions = {}): Promise<Etcd> {
    const [port, peerPort] = options.within === undefined ? await freePorts(address) : [2379, 2380];
    const etcd = new Etcd(address, port, peerPort, options);
    await etcd.start();
    return etcd;
  }

  get at(): string {
    return `${this.address}:${this.port}`;
  }

  async start(): Promise<void> {
    const { tls, v2 } = this.#options;
    const client = `${tls === undefined ? 'http' : 'https'}://${this.at}`;
    const peer = `http://${this.address}:${this.#peerPort}`;
    const args = [
      ...['--data-dir', join(this.#folder, 'data'), '--log-level', 'error', '--unsafe-no-fsync'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
      ...(v2 === true ? ['--enable-v2'] : []),
      ...(tls === undefined ? [] : ['--cert-file', tls.cert, '--key-file', tls.key]),
      ...(tls?.clientCa ? ['--client-cert-auth', '--trusted-ca-file', tls.clientCa] : []),
    ];
    const [command, ...all] = this.#inside('/usr/bin/etcd', ...args);
    this.#child = spawn(command, all, { stdio: 'ignore' });
    await eventually('etcd answers', () =>
      this.ctl('get', 'nothing').then(
        () => true,
        () => null,
      ),
    );
  }

  /** etcdctl, v3. */
  async ctl(...args: readonly string[]): Promise<string> {
    return this.#ctl('3', args);
  }

  async ctl2(...args: readonly string[]): Promise<string> {
    return this.#ctl('2', args);
  }

  async #ctl(api: '2' | '3', args: readonly string[]): Promise<string> {
    return (await this.#run(api, args)).stdout;
  }

  #run(api: '2' | '3', args: readonly string[], ctl = this.#options.ctl ?? []) {
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    const all = [`--endpoints=${scheme}://${this.at}`, ...ctl, ...args];
    const env = { ...process.env, ETCDCTL_API: api };
    const [command, ...given] = this.#inside('/usr/bin/etcdctl', ...all);
    return run(command, given, { timeout: 10_000, env, maxBuffer: 16 << 20 });
  }

  #inside(...command: readonly [string, ...string[]]): readonly [string, ...string[]] {
    const { within } = this.#options;
    return within === undefined ? command : ['ip', 'netns', 'exec', within, ...command];
  }

  /** All of these commands at once. */
  async txn(commands: readonly string[]): Promise<void> {
    const asking = this.#run('3', ['txn']);
    asking.child.stdin?.end(`\n${commands.join('\n')}\n\n\n`);
    await asking;
  }

  /** A value that is too long for a command line, from a file. */
  async put(key: string, path: string): Promise<void> {
    const asking = this.#run('3', ['put', key]);
    createReadStream(path).pipe(asking.child.stdin ?? process.stdout);
    await asking;
  }

  /** Turn on authentication: root with password `pw`, and a user that may read this folder. */
  async secure(user: string, password: string, folder: string): Promise<void> {
    const { ctl } = this.#options;
    const bare = (...args: readonly string[]) => this.#run('3', args, []);
    await bare('user', 'add', 'root:pw');
    await bare('user', 'grant-role', 'root', 'root');
    await bare('role', 'add', 'reader');
    await bare('role', 'grant-permission', '--prefix', 'reader', 'read', folder);
    await bare('user', 'add', `${user}:${password}`);
    await bare('user', 'grant-role', user, 'reader');
    await bare('auth', 'enable');
    if (ctl === undefined) throw new Error('nobody could ask it any more');
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    if (this.#child !== null) await kill(this.#child);
    this.#child = null;
  }

  /** Takes connections, and says nothing. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** As after a disaster: no history, no keys. */
  forget(): void {
    rmSync(join(this.#folder, 'data'), { recursive: true, force: true });
  }

  async destroy(): Promise<void> {
    this.thaw();
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Two that are free at this address now. */
export async function freePorts(address: string): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()] as const;
  const ports = [await listenSomewhere(servers[0], address), await listenSomewhere(servers[1], address)] as const;
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
