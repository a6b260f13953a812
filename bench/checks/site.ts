// What is checked in `npm run bench:checks`: one nginx worker that answers for all addresses of 127/8, and a program that
// holds connections and does nothing else. Both on the core that the checker does not have.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { eventually, kill } from '../../test/support/namespace.ts';
import { compiled } from './compiled.ts';
import { CERTIFICATE, KEY } from '../../test/support/certificate.ts';

/** Below those from which connections are made: one of them would keep a server from its port. */
export const PORT = { http: 80, https: 443, idle: 81 } as const;
export const CORE = { checker: 0, site: 1 } as const;

/** Address of real server `index`: of each /24 of the /16 all but the ends. */
export function addressOf(index: number, network = '127.1'): string {
  return `${network}.${Math.floor(index / 254)}.${1 + (index % 254)}`;
}

export interface Served {
  readonly connections: number;
  readonly requests: number;
}

export class Site {
  readonly #nginx: ChildProcess;

  private constructor(nginx: ChildProcess) {
    this.#nginx = nginx;
  }

  static async start(folder: string): Promise<Site> {
    const at = (name: string) => join(folder, name);
    mkdirSync(at('logs'), { recursive: true });
    writeFileSync(at('certificate.pem'), CERTIFICATE);
    writeFileSync(at('key.pem'), KEY);
    writeFileSync(at('nginx.conf'), configuration(at));
    const nginx = spawn('taskset', ['-c', `${CORE.site}`, 'nginx', '-p', folder, '-c', at('nginx.conf')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const site = new Site(nginx);
    await eventually('nginx answers', () => site.served().catch(() => null));
    return site;
  }

  /** Since nginx started; asking counts too. */
  async served(): Promise<Served> {
    const [connections, , requests] = /(\d+) (\d+) (\d+)/.exec(await fetchText('/served'))?.slice(1) ?? [];
    return { connections: Number(connections), requests: Number(requests) };
  }

  stop(): Promise<void> {
    return kill(this.#nginx);
  }
}

function configuration(at: (name: string) => string): string {
  return `
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${at('nginx.pid')};
error_log stderr crit;
events { worker_connections 18000; multi_accept on; }
http {
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  ssl_certificate ${at('certificate.pem')};
  ssl_certificate_key ${at('key.pem')};
  ssl_session_cache off;
  ssl_session_tickets off;
  server {
    listen ${PORT.http} backlog=4096;
    listen ${PORT.https} ssl backlog=4096;
    location / { return 200 "ok\\n"; }
    location = /served { stub_status; }
  }
}
`;
}

function fetchText(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port: PORT.http, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('latin1');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(text));
    });
    request.on('error', reject);
  });
}

/** How connections end when their servers die: in order (FIN), or by force (RST). */
export type Ending = 'closed' | 'reset';

/** The servers of idle connections, on all addresses. SIGTERM kills them all. */
export async function startIdleServers(folder: string, ending: Ending): Promise<ChildProcess> {
  const program = compiled('idle-servers.c', join(folder, 'idle-servers'));
  const servers = spawn('taskset', ['-c', `${CORE.site}`, program, `${PORT.idle}`, ending], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    servers.stdout.once('data', () => resolve());
    servers.once('exit', () => reject(new Error('the servers of idle connections died')));
  });
  return servers;
}
