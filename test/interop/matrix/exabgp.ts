// ExaBGP in the matrix: one neighbour for each session, and its JSON API, whose events are folded into a view.

import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Namespace, output } from '../../support/namespace.ts';
import {
  bandwidthOf,
  type CapabilityName,
  type Deed,
  type Lack,
  type Lane,
  lastWords,
  NOTHING,
  ourEnd,
  ROUTER_AS,
  type Router,
  type RouteView,
  type SessionView,
  shared,
  theirEnd,
  type View,
} from './router.ts';

const lacks: Readonly<Record<string, Lack>> = {
  BFD: { refused: 'bfd enable;' },
  'BFD over IPv6': { refused: 'bfd enable;' },
  'BFD, multihop': { refused: 'bfd enable;' },
  GTSM: { silent: '`incoming-ttl` is looked at only where it listens, and `outgoing-ttl` sent only where it dials' },
  'link-local session': { refused: 'local-address fe80::1%wire;' },
  'extended optional parameters': {
    silent: 'to such an OPEN it says "OPEN Message Error (2/0)": "Unknown OPEN parameter 0xff"',
  },
  'graceful restart, restarting': {
    silent: 'it installs no routes: its API tells what came, and nothing is kept or dropped',
  },
  'graceful restart after NOTIFICATION': {
    silent: 'it installs no routes: its API tells what came, and nothing is kept or dropped',
  },
  'maximum prefixes': { refused: 'maximum-prefix 2;' },
  'shutdown text': { silent: '`teardown` sends a code without a text' },
};

interface Event {
  readonly type: string;
  readonly neighbor: {
    readonly address: { readonly peer: string };
    readonly direction?: 'receive' | 'send';
    readonly state?: string;
    readonly open?: { readonly capabilities: Capabilities };
    readonly negotiated?: { readonly hold_time: number };
    readonly notification?: { readonly code: number; readonly subcode: number; readonly data: string };
    readonly 'route-refresh'?: { readonly subtype: string };
    readonly message?: { readonly eor?: unknown; readonly update?: Update };
  };
}

type Capabilities = Readonly<Record<string, { readonly families?: readonly string[]; readonly raw?: string }>>;

interface Update {
  readonly attribute?: {
    readonly origin: string;
    readonly 'as-path'?: readonly number[];
    readonly med?: number;
    readonly 'local-preference'?: number;
    readonly community?: readonly (readonly [number, number])[];
    readonly 'large-community'?: readonly (readonly number[])[];
    readonly 'extended-community'?: readonly { readonly value: string; readonly string: string }[];
  };
  /** By family and next hop. */
  readonly announce?: Readonly<Record<string, Readonly<Record<string, readonly { readonly nlri: string }[]>>>>;
  readonly withdraw?: Readonly<Record<string, readonly { readonly nlri: string }[]>>;
}

/** By their codes. */
const CAPABILITIES: Readonly<Record<string, CapabilityName>> = {
  2: 'route refresh',
  5: 'extended next hop',
  6: 'extended messages',
  64: 'graceful restart',
  65: '4-octet AS',
  70: 'enhanced refresh',
};

export function exabgp(): Router {
  const folder = mkdtempSync(join(tmpdir(), 'anybal-matrix-exabgp-'));
  const events = join(folder, 'events');
  const commands = join(folder, 'commands');

  const view = async (): Promise<View> => {
    const text = await readFile(events, 'utf8').catch(() => '');
    // The last line may be half written.
    const lines = text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '');
    const sessions = new Map<string, SessionView>();
    for (const line of lines) {
      const event = parse(line);
      const address = event.neighbor.address.peer;
      sessions.set(address, after(sessions.get(address) ?? NOTHING, event));
    }
    return sessions;
  };

  return {
    name: 'ExaBGP',
    debianPackage: 'exabgp',
    bfdAuth: false,
    lacks,
    start: async (namespace: Namespace, lanes) => {
      const file = join(folder, 'exabgp.conf');
      const script = join(folder, 'watch');
      writeFileSync(commands, '');
      // ExaBGP takes what this prints for commands, so its events go to a file without a word.
      const tail = `tail -n +1 -s 0.1 -f --pid=$$ ${commands}`;
      writeFileSync(script, `#!/bin/sh\n${tail} </dev/null &\nexec sed -n -u w${events}\n`, { mode: 0o755 });
      const watch = `process watch {\n  run ${script};\n  encoder json;\n}`;
      writeFileSync(file, [watch, ...lanes.map(neighbor)].join('\n'));
      const bound = [...new Set(lanes.flatMap(({ theirs }) => [theirs[4], theirs[6]]))].join(' ');
      const settings = [
        'exabgp_daemon_user=root',
        `exabgp_tcp_bind=${bound}`,
        'exabgp_tcp_port=179',
        'exabgp_log_all=false',
        'exabgp_api_cli=false',
        'exabgp_api_ack=false',
      ];
      namespace.spawn('/usr/bin/env', ...settings, '/usr/sbin/exabgp', file);
    },
    view: shared(view),
    do: async (lane: Lane, deed: Deed) => {
      if (deed !== 'refresh') throw new Error(`ExaBGP has no ${deed}`);
      for (const family of lane.families) {
        appendFileSync(commands, `neighbor ${ourEnd(lane)} announce route-refresh ipv${family} unicast\n`);
      }
    },
    complaint: async (lines) => {
      const file = join(folder, `check-${randomUUID()}`);
      writeFileSync(file, `${head('192.0.2.1', '192.0.2.2', '192.0.2.2', 2)}\n${lines}\n}\n`);
      const answer = await output('/usr/sbin/exabgp', '--test', file).then(() => null, lastWords);
      const said = answer?.split('\n').map((line) => line.split(' | ').at(-1)?.trim() ?? '');
      return said === undefined ? null : (said.filter((line) => line !== '').at(-1) ?? '');
    },
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

const head = (peer: string, local: string, routerId: string, as: number): string => `neighbor ${peer} {
  router-id ${routerId};
  local-address ${local};
  local-as ${ROUTER_AS};
  peer-as ${as};`;

function neighbor(lane: Lane): string {
  return `${head(ourEnd(lane), theirEnd(lane), lane.theirs[4], lane.as)}
  hold-time ${lane.holdTimeSeconds};
  passive ${!lane.dials};
  capability { asn4 enable; route-refresh enable; ${lane.offersAll ? 'nexthop enable; extended-message enable;' : ''} }
  ${extras(lane).join(' ')}
  family { ${lane.families.map((family) => `ipv${family} unicast;`).join(' ')} }
  api {
    processes [ watch ];
    neighbor-changes;
    negotiated;
    receive { parsed; open; update; notification; refresh; }
  }
}`;
}

function extras({ offersAll, password, ttlSecurity, multihop }: Lane): readonly string[] {
  return [
    ...(offersAll ? ['nexthop { ipv4 unicast ipv6; }'] : []),
    ...(password === null ? [] : [`md5-password "${password}";`]),
    ...(ttlSecurity ? ['incoming-ttl 255; outgoing-ttl 255;'] : []),
    ...(multihop ? ['outgoing-ttl 2;'] : []),
  ];
}

function parse(line: string): Event {
  // What it writes of a refresh is not JSON: its quotation marks are doubled.
  const refresh = /"peer": "([^"]+)".*"type": "refresh"|"type": "refresh".*"peer": "([^"]+)"/.exec(line);
  if (refresh !== null) {
    return { type: 'refresh', neighbor: { address: { peer: refresh[1] ?? refresh[2] ?? '' }, direction: 'receive' } };
  }
  // Extended communities are numbers of 64 bits, more than JSON.parse keeps.
  return JSON.parse(line.replace(/"value": (\d+)/g, '"value": "$1"')) as Event;
}

/** One event later. */
function after(session: SessionView, { type, neighbor }: Event): SessionView {
  const { state, open, direction, negotiated, notification, message } = neighbor;
  if (type === 'state') {
    if (state === 'up') return { ...session, established: true };
    return state === 'down' ? { ...session, established: false, routes: new Map() } : session;
  }
  if (type === 'negotiated') return { ...session, holdTimeSeconds: negotiated?.hold_time ?? null };
  if (direction !== 'receive') return session;
  if (open !== undefined) {
    const { 73: host, 75: version } = open.capabilities;
    const said = { hostname: texts(host?.raw).join('.'), software: texts(version?.raw).join() };
    return { ...session, ...said, capabilities: readCapabilities(open.capabilities) };
  }
  if (notification !== undefined) return { ...session, received: `${notification.code}/${notification.subcode}` };
  if (type === 'refresh') return { ...session, refreshMarks: session.refreshMarks + 1 };
  if (message?.eor !== undefined) return { ...session, endsOfRib: session.endsOfRib + 1 };
  return message?.update === undefined ? session : { ...session, routes: readUpdate(session.routes, message.update) };
}

/** It has no names for these capabilities and shows their octets: texts, each after its length. */
function texts(raw = ''): readonly string[] {
  const bytes = Buffer.from(raw, 'hex');
  const found: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at] ?? 0;
    found.push(bytes.toString('utf8', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return found;
}

function readCapabilities(all: Capabilities): Set<CapabilityName> {
  const families = all['1']?.families ?? [];
  const names = Object.keys(all).flatMap((code) => CAPABILITIES[code] ?? []);
  if (families.includes('ipv4/unicast')) names.push('IPv4 unicast');
  if (families.includes('ipv6/unicast')) names.push('IPv6 unicast');
  return new Set(names);
}

function readUpdate(before: ReadonlyMap<string, RouteView>, update: Update): ReadonlyMap<string, RouteView> {
  const routes = new Map(before);
  for (const prefixes of Object.values(update.withdraw ?? {})) for (const { nlri } of prefixes) routes.delete(nlri);
  for (const byNextHop of Object.values(update.announce ?? {})) {
    for (const [nextHop, prefixes] of Object.entries(byNextHop)) {
      for (const { nlri } of prefixes) routes.set(nlri, readRoute(nextHop, update));
    }
  }
  return routes;
}

function readRoute(nextHop: string, { attribute }: Update): RouteView {
  return {
    nextHop,
    origin: attribute?.origin.toUpperCase() ?? '',
    path: (attribute?.['as-path'] ?? []).join(' '),
    med: attribute?.med ?? null,
    localPref: attribute?.['local-preference'] ?? null,
    communities: (attribute?.community ?? []).map(([as, value]) => `${as}:${value}`),
    largeCommunities: (attribute?.['large-community'] ?? []).map((parts) => parts.join(':')),
    extendedCommunities: (attribute?.['extended-community'] ?? []).map(extendedCommunity),
  };
}

/** ExaBGP shows no text of a link bandwidth. */
function extendedCommunity({ value, string }: { readonly value: string; readonly string: string }): string {
  const number = BigInt(value);
  if (number >> 48n !== 0x4004n) return string.replace(/^target:/, 'rt ');
  return `lb ${(number >> 32n) & 0xffffn}:${bandwidthOf(Number(number & 0xffffffffn))}`;
}
