// What the demo says about itself: what runs where, and what to try. Every command can be copied into another terminal.

import { printEndpoint } from '../lib/address.ts';
import type { Child } from './child.ts';
import type { Site } from './site.ts';

export interface Running {
  readonly site: Site;
  readonly servers: readonly Child[];
  readonly anybal: Child;
  /** `node dist/src/anybal.js`, as it can be typed where the demo was started. */
  readonly command: string;
}

export function guide(running: Running): readonly string[] {
  return [
    'What runs',
    ...columns(whatRuns(running)),
    '',
    'What to try, in another terminal',
    ...columns(whatToTry(running)),
    '',
    'Type here: stop 1, start 1 (2, 3), stop anybal, start anybal, help (with the pids of now), quit; or Ctrl-C',
  ];
}

type Row = readonly [label: string, text: string];

function whatRuns({ site, servers, anybal }: Running): readonly Row[] {
  const { config, router, hosts, serverPort, poolFile, poolUrl } = site;
  return [
    ...config.services.map(
      ({ name, vip, port, depoolThreshold, announce }): Row => [
        `[${name}]`,
        `${url(vip, port)}  depool-threshold = ${depoolThreshold}, announce = ${announce}`,
      ],
    ),
    ...servers.map((server, i): Row => [server.name, `${url(hosts[i]?.host ?? '', serverPort)}  pid ${pidOf(server)}`]),
    ['pool', `${poolUrl}  from ${poolFile}`],
    ['anybal', `pid ${pidOf(anybal)}, ${config.file}`],
    ['router', `${printEndpoint(router.address, router.port)}, prints its table when it changes`],
  ];
}

function whatToTry({ site, servers, anybal, command }: Running): readonly Row[] {
  const { config, router, hosts, poolFile } = site;
  const { global, services } = config;
  const [web] = services;
  const server = pidOf(servers[0]);
  const daemon = pidOf(anybal);
  const edited = hosts.at(-1)?.host ?? '';
  return [
    ['see who answers', `while sleep 0.2; do curl -sS -m 2 ${web === undefined ? '' : url(web.vip, web.port)}; done`],
    ['stop a server: depooled; start it here', `kill ${server}`],
    ['let one hang: depooled after a timeout', `kill -STOP ${server}; sleep 10; kill -CONT ${server}`],
    ['stop two: [floor] holds the second', 'here: stop 1, stop 2'],
    ['stop all: the route of [web] leaves, that of [floor] stays', 'here: stop 3'],
    ['disable a server', `sed -i '/${edited}/s/True/False/' ${poolFile}`],
    ['enable it again', `sed -i '/${edited}/s/False/True/' ${poolFile}`],
    ['empty the pool: held back as suspect', `cp ${poolFile} ${poolFile}.old; : > ${poolFile}`],
    ['bring it back', `cp ${poolFile}.old ${poolFile}`],
    ['stop anybal: it withdraws its routes first', `kill ${daemon}`],
    [
      `let it hang: the router drops it after ${router.holdTimeSeconds} s`,
      `kill -STOP ${daemon}; sleep 15; kill -CONT ${daemon}`,
    ],
    ['change the configuration', `\${EDITOR:-vi} ${config.file} && kill -HUP ${daemon}`],
    ['ask anybal', `${command} status -s ${global.controlSocket}`],
    ...global.instrumentationAddresses.map(
      (address): Row => ['ask it as Nagios does', `curl ${url(address, global.instrumentationPort)}alerts`],
    ),
  ];
}

function url(address: string, port: number): string {
  return `http://${printEndpoint(address, port)}/`;
}

function pidOf(child: Child | undefined): string {
  return String(child?.pid ?? 'PID');
}

function columns(rows: readonly Row[]): readonly string[] {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`);
}
