// A real server: nginx in its namespace. `/` answers with the server's name and a digest over the whole body, `/big` is
// 20 MB as fast as it goes, `/slow` the same at a rate that takes longer than any restart, `/short` a quarter of it at that rate,
// `/check` is for monitors.

import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { follow, runIn, until, type Follower } from './process.ts';
import { natRealPort, servers, type Host, type ServerName } from './network.ts';

export interface Server {
  readonly name: ServerName;
  readonly host: Host;
  startNginx(): Promise<void>;
  /** Connections are refused afterwards. */
  stopNginx(): Promise<void>;
  /** Drops every IP packet, in and out. */
  blackhole(): Promise<void>;
  heal(): Promise<void>;
}

export const labFolder = '/run/lab';
export const downloadBytes = 20 << 20;

export type DownloadPath = '/big' | '/slow' | '/short';

const digests = { whole: '', quarter: '' };

/** SHA-256 that it must have. */
export function downloadDigest(path: DownloadPath): string {
  return path === '/short' ? digests.quarter : digests.whole;
}

export function bodyOf(server: ServerName): string {
  const text = `server ${server}\n${`${server} `.repeat(700)}\n`;
  return `${text}sha256 ${createHash('sha256').update(text).digest('hex')}\n`;
}

/** The 20 MB that all servers share, and a quarter of them. Called once. */
export function writeDownload(): void {
  const block = randomBytes(1 << 20);
  const bytes = Buffer.concat(Array.from({ length: downloadBytes >> 20 }, () => block));
  const quarter = bytes.subarray(0, downloadBytes / 4);
  digests.whole = createHash('sha256').update(bytes).digest('hex');
  digests.quarter = createHash('sha256').update(quarter).digest('hex');
  mkdirSync(labFolder, { recursive: true });
  writeFileSync(`${labFolder}/big`, bytes);
  writeFileSync(`${labFolder}/short`, quarter);
}

export function makeServer(name: ServerName, slowBytesPerSecond: number): Server {
  const host = servers[name];
  const folder = `${labFolder}/${name}`;
  mkdirSync(`${folder}/www`, { recursive: true });
  writeFileSync(`${folder}/www/index.html`, bodyOf(name));
  writeFileSync(`${folder}/cert.pem`, CERTIFICATE);
  writeFileSync(`${folder}/key.pem`, KEY);
  writeFileSync(`${folder}/nginx.conf`, nginxConfig(name, folder, slowBytesPerSecond));
  let nginx: Follower | null = null;
  return {
    name,
    host,
    async startNginx() {
      if (nginx !== null && nginx.running()) return;
      nginx = follow(name, 'nginx', ['-p', folder, '-c', `${folder}/nginx.conf`]);
      const started = nginx;
      await until(`nginx of ${name} listening`, 10_000, async () => {
        if (!started.running()) throw new Error(`nginx of ${name}: ${started.lines.map((l) => l.text).join(' ')}`);
        return (await runIn(name, 'ss', ['-Hltn', 'sport', '=', ':80'])).includes(':80');
      });
    },
    async stopNginx() {
      await nginx?.stop();
      nginx = null;
    },
    async blackhole() {
      await runIn(name, 'nft', ['-f', '-'], {
        input: ['input', 'output']
          .map((hook) => `add chain inet blackhole ${hook} { type filter hook ${hook} priority -300; policy drop; }`)
          .reduce((all, chain) => `${all}${chain}\n`, 'add table inet blackhole\n'),
      });
    },
    async heal() {
      await runIn(name, 'nft', ['-f', '-'], { input: 'add table inet blackhole\ndelete table inet blackhole\n' });
    },
  };
}

function nginxConfig(name: ServerName, folder: string, slowBytesPerSecond: number): string {
  return `
daemon off;
worker_processes 1;
user root;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_timeout 0;
  server {
    listen 80; listen ${natRealPort};
    listen [::]:80 ipv6only=on; listen [::]:${natRealPort} ipv6only=on;
    listen 443 ssl; listen [::]:443 ssl ipv6only=on;
    ssl_certificate ${folder}/cert.pem;
    ssl_certificate_key ${folder}/key.pem;
    root ${folder}/www;
    location = /check { return 200 "ok\\n"; }
    location = /big { alias ${labFolder}/big; }
    add_header X-Server ${name};
    location = /slow { alias ${labFolder}/big; limit_rate ${slowBytesPerSecond}; }
    location = /short { alias ${labFolder}/short; limit_rate ${slowBytesPerSecond}; }
  }
}
`;
}
