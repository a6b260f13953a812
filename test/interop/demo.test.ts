// The demo as its user sees it: a process with an output, an input and a folder. Needs no root.

import { expect } from 'chai';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { firstTaken } from '../../src/demo/ports.ts';
import { eventually } from '../support/namespace.ts';

const MAIN = fileURLToPath(new URL('../../src/demo/main.js', import.meta.url));
const WEB = '127.80.0.1';
const FLOOR = '127.80.0.2';
const SERVERS = ['server 1', 'server 2', 'server 3'];
const LISTENERS = [WEB, FLOOR, '127.80.1.1', '127.80.1.2', '127.80.1.3', '127.80.2.1']
  .map((address) => ({ what: 'demo', address, port: 8080 }))
  .concat(['127.80.3.1', '127.80.3.2'].map((address) => ({ what: 'demo', address, port: 1790 })))
  .concat({ what: 'demo', address: '127.80.3.2', port: 9090 });

class Demo {
  readonly process: ChildProcess;
  readonly ended: Promise<string>;
  output = '';

  constructor(temporary: string) {
    const child = spawn(process.execPath, [MAIN], { env: { ...process.env, TMPDIR: temporary } });
    this.process = child;
    child.stdout.on('data', (bytes: Buffer) => (this.output += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (this.output += bytes.toString()));
    this.ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(`${signal ?? code}`)));
  }

  type(line: string): void {
    this.process.stdin?.write(`${line}\n`);
  }

  says(text: string | RegExp, after = 0): Promise<true> {
    const look = () => (this.output.slice(after).search(text) < 0 ? null : (true as const));
    return eventually(
      String(text),
      () => look(),
      () => this.output,
      12_000,
    );
  }

  /** Guide and routes are there. */
  async runs(): Promise<this> {
    await this.says('Type here');
    await this.routes([WEB, FLOOR]);
    return this;
  }

  /** The pid of the last start. */
  pid(name: string): number {
    const pids = [...this.output.matchAll(new RegExp(`${name} +started, pid (\\d+)`, 'g'))];
    return Number(pids.at(-1)?.[1]);
  }

  pids(): number[] {
    return [...this.output.matchAll(/started, pid (\d+)/g)].map(([, pid]) => Number(pid));
  }

  /** The routing table that the router printed last is exactly this. */
  routes(prefixes: readonly string[]): Promise<true> {
    return eventually(
      `routes ${prefixes.join(', ')}`,
      () => (String(this.#table()) === String(prefixes.map((prefix) => `${prefix}/32`)) ? true : null),
      () => this.output,
      12_000,
    );
  }

  #table(): string[] {
    const lines = this.output.split('\n').flatMap((line) => /^\S+ router {3}(.*)$/.exec(line)?.[1] ?? []);
    const at = lines.findLastIndex((line) => line.startsWith('routing table'));
    const rows = lines.slice(at + 1).filter((line) => line.startsWith('  '));
    return rows.map((row) => row.trim().split(' ')[0] ?? '');
  }
}

/** Who answers, on a connection of its own; the error's code if nobody does. */
function ask(vip: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ host: vip, port: 8080, agent: false, timeout: 2_000 }, (response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += bytes.toString()));
      response.on('end', () => resolve(text.split(' (')[0] ?? ''));
      response.on('error', () => resolve('broken'));
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

/** Nine answers in a row come from exactly these. */
function answers(vip: string, names: readonly string[]): Promise<true> {
  let seen: string[] = [];
  return eventually(
    `answers of ${names.join(', ')}`,
    async () => {
      seen = [];
      for (let i = 0; i < 9; i++) seen.push(await ask(vip));
      return String([...new Set(seen)].sort()) === String(names) ? true : null;
    },
    () => seen.join(', '),
    12_000,
  );
}

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('interop: the demo', function () {
  this.timeout(120_000);
  let temporary = '';
  const demos: Demo[] = [];
  const start = (): Demo => {
    const demo = new Demo(temporary);
    demos.push(demo);
    return demo;
  };
  /** Of a test that failed: the next one needs the ports. */
  async function clear(): Promise<void> {
    for (const demo of demos.splice(0)) {
      demo.process.kill('SIGKILL');
      await demo.ended;
      for (const pid of demo.pids()) if (alive(pid)) process.kill(pid, 'SIGKILL');
    }
    for (const folder of await readdir(temporary)) await rm(join(temporary, folder), { recursive: true, force: true });
  }

  before(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'anybal-demo-test-'));
  });
  after(() => rm(temporary, { recursive: true, force: true }));

  async function nothingIsLeft(demo: Demo): Promise<void> {
    expect(demo.pids().filter(alive)).to.deep.equal([]);
    expect(await readdir(temporary)).to.deep.equal([]);
    expect(await firstTaken(LISTENERS)).to.equal(null);
  }

  describe('while it runs', () => {
    let demo: Demo;
    before(async () => {
      demo = await start().runs();
    });
    after(clear);

    it('answers at the web VIP with the name of each server', async () => {
      await answers(WEB, SERVERS);
    });

    it('depools a server that is killed, and pools it when it is started again', async () => {
      const before = demo.output.length;
      process.kill(demo.pid('server 1'), 'SIGTERM');
      await demo.says(/\[web\] INFO: Depooled server 127\.80\.1\.1: down/, before);
      await demo.says(/\[floor\] INFO: Depooled server 127\.80\.1\.1: down/, before);
      await answers(WEB, ['server 2', 'server 3']);
      demo.type('start 1');
      await answers(WEB, SERVERS);
    });

    it('obeys an edit of the pool file', async () => {
      const pool = /from (\S+\/pool)$/m.exec(demo.output)?.[1] ?? '';
      const text = await readFile(pool, 'utf8');
      await writeFile(pool, text.replace(/(127\.80\.1\.3.*)True/, '$1False'));
      await answers(WEB, ['server 1', 'server 2']);
      await writeFile(pool, text);
      await answers(WEB, SERVERS);
    });

    it('takes the route of [web] away with its last server, while [floor] holds its own', async () => {
      const before = demo.output.length;
      for (const name of ['1', '2', '3']) demo.type(`stop ${name}`);
      await demo.says('Could not depool', before);
      await demo.routes([FLOOR]);
      for (const name of ['1', '2', '3']) demo.type(`start ${name}`);
      await demo.routes([WEB, FLOOR]);
      await answers(WEB, SERVERS);
    });

    it('withdraws all routes when anybal is stopped, and announces them when it is started', async () => {
      process.kill(demo.pid('anybal'), 'SIGTERM');
      await demo.routes([]);
      await demo.says(/anybal +ended \(exit code 0\)/);
      expect(await ask(WEB)).to.equal('ECONNREFUSED');
      demo.type('start anybal');
      await demo.routes([WEB, FLOOR]);
      await answers(WEB, SERVERS);
    });

    it('prints commands that work', async () => {
      const [command, main = '', socket = ''] = /node (\S+anybal\.js) status -s (\S+)/.exec(demo.output) ?? [];
      expect(command, demo.output).to.be.a('string');
      const { stdout } = await promisify(execFile)(process.execPath, [main, 'status', '-s', socket]);
      expect(stdout).to.contain(`${WEB}  announced`).and.to.contain('3 servers: 3 up, 3 pooled');
    });

    it('ends on SIGINT, however often it is sent, and leaves nothing', async () => {
      demo.process.kill('SIGINT');
      demo.process.kill('SIGINT');
      expect(await demo.ended).to.equal('0');
      await nothingIsLeft(demo);
    });
  });

  describe('when it ends', () => {
    afterEach(clear);

    it('leaves nothing when it is ended while it starts', async () => {
      const demo = start();
      await demo.says('started, pid');
      demo.process.kill('SIGTERM');
      expect(await demo.ended).to.equal('0');
      await nothingIsLeft(demo);
    });

    it('leaves nothing when some of its processes have died or hang', async () => {
      const demo = await start().runs();
      process.kill(demo.pid('anybal'), 'SIGKILL');
      process.kill(demo.pid('server 1'), 'SIGKILL');
      process.kill(demo.pid('server 2'), 'SIGSTOP');
      await demo.routes([]);
      demo.process.kill('SIGHUP');
      expect(await demo.ended).to.equal('0');
      await nothingIsLeft(demo);
    });

    it('takes its processes with it when it is killed', async () => {
      const demo = await start().runs();
      demo.process.kill('SIGKILL');
      await demo.ended;
      await eventually('no process', () => (demo.pids().some(alive) ? null : true));
      expect(await firstTaken(LISTENERS)).to.equal(null);
    });

    for (const { address, port } of [LISTENERS[1], LISTENERS.at(-1)].flatMap((each) => each ?? [])) {
      it(`names port ${port} of ${address} when it is taken, and starts nothing`, async () => {
        const squatter = createServer();
        await new Promise<void>((resolve) => squatter.listen(port, address, resolve));
        try {
          const demo = start();
          expect(await demo.ended).to.equal('1');
          expect(demo.output).to.match(new RegExp(`^anybal demo: port ${port} is taken: ${address}:${port} .*\\n$`));
          expect(demo.pids()).to.deep.equal([]);
        } finally {
          await new Promise((resolve) => squatter.close(resolve));
        }
        expect(await readdir(temporary)).to.deep.equal([]);
        expect(await firstTaken(LISTENERS)).to.equal(null);
      });
    }
  });
});
