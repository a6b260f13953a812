// The Agent monitor beside HAProxy: the same agent, asked by both, line after line; what HAProxy makes of each is what we make of it.
// Then agents that are not well, from socat's hand and over HTTPS.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { expect } from 'chai';
import agent from '../../monitors/agent.ts';
import type { Health } from '../../src/health/monitor.ts';
import { createHttp } from '../../src/world/real/http.ts';
import { createNames } from '../../src/world/real/names.ts';
import { CERTIFICATE, KEY } from '../support/certificate.ts';
import { listenSomewhere } from '../support/listen.ts';
import { type Bench, freePort, runMonitor, serve } from '../support/monitor-bench.ts';
import { requireTools } from '../support/namespace.ts';

const AT = '127.20.99.1';
const WEIGHT = 100;

/** Told one after the other: HAProxy keeps what is not said again. */
const LINES = [
  'up 75%',
  'drain',
  '50%',
  'up',
  'ready',
  'maint',
  'up 20%',
  'ready',
  'down # disk full',
  '80%',
  'ready',
  'up',
  'stopped',
  'up ready 100%',
  'Fail, 10%',
  'READY\tUP,30% maxconn:5 whatever',
  '0%',
  '200%',
  '1%',
  'maxconn:10',
  'ready drain up 60% # of everything',
  'up ready 100%',
];

describe('Agent monitor and HAProxy', () => {
  const benches: Bench[] = [];
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
  });
  before(() => requireTools({ '/usr/sbin/haproxy': 'haproxy', '/usr/bin/socat': 'socat' }));

  it('make the same of every line', async () => {
    let line = 'up';
    const asked = { haproxy: 0, us: 0 };
    const speaker = await serve(
      (socket) =>
        void socket.once('data', (bytes: Buffer) => {
          asked[bytes.toString() === 'us\n' ? 'us' : 'haproxy']++;
          socket.end(`${line}\n`);
        }),
      { at: AT },
    );
    const haproxy = await startHaproxy(speaker.port);
    const bench = runMonitor(
      agent,
      { port: speaker.port, send: ['us\n'], interval: 0.1, timeout: 2 },
      { address: AT, weight: WEIGHT },
    );
    benches.push(bench);
    try {
      for (const next of LINES) {
        line = next;
        const before = { ...asked };
        const results = bench.results.length;
        // Two more by each: the first may have been under way with the line before.
        for (let tries = 0; asked.haproxy < before.haproxy + 3 || asked.us < before.us + 3; tries++) {
          if (tries > 500) throw new Error(`asked ${JSON.stringify(asked)}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        const ours = await bench.result(Math.max(results + 2, bench.results.length), 5000);
        expect(shown(ours), next).to.equal(await haproxy.state());
      }
    } finally {
      haproxy.stop();
      await speaker.close();
    }
  });

  it('understands an agent that is a shell script behind socat, and names what is wrong with one that is not well', async () => {
    const cases: readonly (readonly [script: string, words: string])[] = [
      ['echo up 40%', 'up 40%'],
      ['echo "drain # leaving"', 'up drain # leaving'],
      ['exit 0', 'down: the connection was closed'],
      ['printf up', 'up'],
      ['printf dow', 'down: the agent says "dow", which has no word of an agent\'s'],
      ['sleep 5', 'down: nothing came in time'],
      ['for i in 1 2 3 4 5 6 7 8; do printf u; sleep 0.2; done', 'down: nothing came in time after "u'],
      ['head -c 100000 /dev/zero', 'down: a line of more than 1024 bytes: "\\x00'],
      ['echo "<html>"', 'down: the agent says "<html>", which has no word of an agent\'s'],
    ];
    const folder = mkdtempSync(join(tmpdir(), 'talk-socat-'));
    const file = join(folder, 'agent.sh');
    for (const [script, words] of cases) {
      writeFileSync(file, `${script}\n`);
      const port = await freePort(AT);
      const child = spawn('/usr/bin/socat', [`TCP-LISTEN:${port},bind=${AT},reuseaddr,fork`, `EXEC:/bin/sh ${file}`], {
        stdio: 'ignore',
        detached: true,
      });
      try {
        await listening(port);
        expect(await check({ port, timeout: 1 }), script).to.satisfy((said: string) => said.startsWith(words));
      } finally {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      }
    }
    rmSync(folder, { recursive: true });
    expect(await check({ port: await freePort(AT) })).to.match(/^down: Connection was refused/);
  });

  it('asks over HTTPS by the name in the URL, and verifies who answers', async () => {
    const seen: string[] = [];
    const server = https.createServer({ cert: CERTIFICATE, key: KEY }, (request, response) => {
      seen.push(`${request.headers.host} ${request.url}`);
      response.end('{"state": "up", "weight": "30%"}');
    });
    const port = await listenSomewhere(server, AT);
    const context = createSecureContext({ ca: CERTIFICATE });
    const http = createHttp(
      createNames(),
      () => context,
      () => {},
    );
    try {
      expect(await check({ url: 'https://real.example/state?x', port }, http)).to.equal('up 30%');
      expect(seen).to.deep.equal(['real.example /state?x']);
      expect(await check({ url: 'https://other.example/', port }, http)).to.match(/^down: .*other\.example/);
      expect(seen).to.have.length(1);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  async function check(
    given: Readonly<Record<string, unknown>>,
    http?: ReturnType<typeof createHttp>,
  ): Promise<string> {
    const parts = http === undefined ? {} : { http };
    const bench = runMonitor(agent, { interval: 3600, timeout: 3, ...given }, { address: AT }, parts);
    benches.push(bench);
    const health = await bench.result(1, 8000);
    return health.is === 'up' ? `up ${health.detail ?? ''}`.trim() : `${health.is}: ${health.reason}`;
  }
});

/** As HAProxy's statistics show a server: MAINT hides what else is said, and so does DOWN. */
function shown(health: Health): string {
  if (health.is !== 'up') return health.reason.startsWith('the agent says maint') ? 'MAINT' : 'DOWN';
  const weight = Math.min(256, Math.round((WEIGHT * (health.percent ?? 100)) / 100));
  return `${health.drain === true ? 'DRAIN' : 'UP'} ${weight}`;
}

async function startHaproxy(agentPort: number) {
  const folder = mkdtempSync(join(tmpdir(), 'talk-agent-'));
  const socket = join(folder, 'admin');
  const config = [
    'global',
    `  stats socket ${socket} mode 600 level admin`,
    'defaults',
    '  mode tcp',
    '  timeout connect 1s',
    '  timeout client 5s',
    '  timeout server 5s',
    'frontend f',
    `  bind ${AT}:${await freePort(AT)}`,
    '  default_backend b',
    'backend b',
    `  server s1 ${AT}:9 weight ${WEIGHT} agent-check agent-port ${agentPort} agent-inter 100ms agent-send "haproxy\\n"`,
  ];
  writeFileSync(join(folder, 'haproxy.cfg'), `${config.join('\n')}\n`);
  const child: ChildProcess = spawn('/usr/sbin/haproxy', ['-db', '-q', '-f', join(folder, 'haproxy.cfg')], {
    stdio: 'ignore',
  });
  const state = async (): Promise<string> => {
    const text = await ask(socket, 'show stat\n');
    const [head = '', ...rows] = text.split('\n');
    const names = head.replace(/^# /, '').split(',');
    const fields = rows.map((row) => row.split(',')).find((row) => row[0] === 'b' && row[1] === 's1') ?? [];
    const status = fields[names.indexOf('status')] ?? '';
    const weight = fields[names.indexOf('weight')] ?? '';
    if (/^MAINT/.test(status)) return 'MAINT';
    if (/^DOWN/.test(status)) return 'DOWN';
    // A weight of 0 is shown as draining, however it came about.
    return `${/^DRAIN/.test(status) ? 'DRAIN' : 'UP'} ${weight}`;
  };
  for (let tries = 0; ; tries++) {
    const up = await state().catch(() => '');
    if (up !== '') break;
    if (tries > 100) throw new Error('haproxy does not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    state,
    stop: () => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true });
    },
  };
}

function ask(path: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path, () => void socket.write(command));
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString();
    });
    socket.on('error', reject);
    socket.on('end', () => resolve(text));
  });
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, AT, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('socat does not listen');
}
