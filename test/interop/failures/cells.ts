// What each monitor says of each failure.

import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { familyOf, printEndpoint } from '../../../src/lib/address.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { createFiles } from '../../../src/world/real/files.ts';
import { createHttp } from '../../../src/world/real/http.ts';
import { createNames, NAMES_DEFAULTS } from '../../../src/world/real/names.ts';
import { runMonitor } from '../../support/monitor-bench.ts';
import { DEEDS, type DeedName, hostile, HOSTILE_AT, hostileUdp } from './hostile.ts';
import { AT, CERTIFICATES, PORTS, type Servers, US } from './servers.ts';
import type { Given, Own, Place, Subject } from './subjects.ts';

/** For what never ends: long enough for a handshake of TLS while everything else goes on too. */
const SHORT_SECONDS = 5;
/** For what ends by itself. The kernel looks for a neighbour for 3 s. */
const LONG_SECONDS = 20;
/** How long a connection is held to see whether it is lost. */
const HELD_MS = 8000;

export interface Failure {
  readonly title: string;
  /** While the servers stand still. */
  readonly frozen: boolean;
  /** What the monitor says. */
  say(servers: Servers): Promise<string>;
}

const DEED_TITLES: Readonly<Record<DeedName, string>> = {
  closed: 'accepted, and closed at once',
  reset: 'accepted, then a reset',
  cut: 'an answer that is cut short, then closed',
  drip: 'a slow drip',
  garbage: 'garbage, and no end',
  endless: 'an answer without end',
};

const CERTIFICATE_TITLES: Readonly<Record<(typeof CERTIFICATES)[number], string>> = {
  good: 'TLS, and all is well',
  expired: 'a certificate that has expired',
  other: 'a certificate for another name',
  stranger: 'a certificate of an authority that nobody knows',
};

/** All that can happen to this one, in the order of the document. */
export function failuresOf(subject: Subject): readonly Failure[] {
  return [...ofTheWay(subject), ...ofHostileServers(subject), ...ofTls(subject), ...ofItsOwn(subject)];
}

function ofTheWay(subject: Subject): readonly Failure[] {
  const { module, port } = subject;
  const way = (title: string, place: Partial<Place>, seconds: number, frozen = false): Failure => ({
    title,
    frozen,
    say: (servers) => said(subject, servers, place, {}, seconds),
  });
  const overTcp = port > 0 && module.name !== 'UDP' && !/^(DNS|DNSQuery)$/.test(subject.title);
  return [
    way('all is well', {}, LONG_SECONDS),
    ...(port === 0 ? [] : [way('nobody listens', { port: PORTS.nobody }, LONG_SECONDS)]),
    way('nobody has the address', { address: AT.nobody }, LONG_SECONDS),
    way('a firewall says no', { address: AT.prohibited }, LONG_SECONDS),
    way('a firewall says no, in IPv6', { address: AT.prohibitedInSix }, LONG_SECONDS),
    way('a router knows no way', { address: AT.noRoute }, LONG_SECONDS),
    way('a router knows no way, in IPv6', { address: AT.noRouteInSix }, LONG_SECONDS),
    way('a black hole', { address: AT.blackHole }, SHORT_SECONDS),
    ...(overTcp ? [way('a black hole once connected', { address: AT.mute }, SHORT_SECONDS)] : []),
    way('a process that stands still', {}, SHORT_SECONDS, true),
  ];
}

function ofHostileServers(subject: Subject): readonly Failure[] {
  const { hostile: how } = subject;
  if (how === undefined) return [];
  return (Object.keys(DEEDS) as DeedName[]).map((deed) => ({
    title: DEED_TITLES[deed],
    frozen: false,
    async say(servers) {
      const server = await hostile(deed, how.speech, how.endless);
      const without = deed === 'drip' || deed === 'garbage' || (deed === 'endless' && how.patient === true);
      const place = { address: HOSTILE_AT, port: server.port };
      return said(subject, servers, place, {}, without ? SHORT_SECONDS : LONG_SECONDS).finally(() => server.close());
    },
  }));
}

function ofTls(subject: Subject): readonly Failure[] {
  const { tls } = subject;
  if (tls === undefined) return [];
  const failure = (title: string, place: Place, seconds = LONG_SECONDS): Failure => ({
    title,
    frozen: false,
    say: (servers) => said(subject, servers, place, tls.given(servers, place), seconds),
  });
  return [
    ...CERTIFICATES.map((name) => failure(CERTIFICATE_TITLES[name], { address: AT.well, port: tls.ports[name] })),
    ...(tls.starttls === true ? [] : [failure('TLS where none is spoken', { address: AT.well, port: PORTS.nginx })]),
    failure('TLS, and a black hole once connected', { address: AT.mute, port: tls.ports.good }, SHORT_SECONDS),
  ];
}

function ofItsOwn(subject: Subject): readonly Failure[] {
  const say = async (own: Own, servers: Servers): Promise<string> => {
    const given = typeof own.given === 'function' ? own.given(servers) : (own.given ?? {});
    const seconds = own.endless === true ? SHORT_SECONDS : LONG_SECONDS;
    if (own.answers === undefined) return said(subject, servers, own.place ?? {}, given, seconds);
    const server = await hostileUdp(own.answers);
    const place = { address: HOSTILE_AT, port: server.port };
    return said(subject, servers, place, given, seconds).finally(() => server.close());
  };
  return (subject.own ?? []).map((own) => ({ title: own.title, frozen: false, say: (servers) => say(own, servers) }));
}

/** `down: …` of one check; of a watch, what it comes to. */
async function said(
  subject: Subject,
  servers: Servers,
  where: Partial<Place>,
  given: Given,
  seconds: number,
): Promise<string> {
  const { module } = subject;
  const place = { address: AT.well, port: subject.port, ...where };
  const deadline = module.kind === 'watch' ? { 'connect-timeout': seconds } : { timeout: seconds };
  const options = { ...deadline, ...subject.options(servers, place), ...given };
  const bench = runMonitor(module, options, place, partsOf(servers, place));
  try {
    const first = await bench.result(1, (LONG_SECONDS + 2) * 1000);
    if (module.kind === 'watch' && first.is === 'up') {
      if (place.address === AT.later) await servers.swallow();
      if (place.address === AT.cutOff) await servers.cutOff();
      await bench.result(2, HELD_MS).catch(() => {});
    }
    const last = bench.results.at(-1) ?? first;
    return normalized(last.is === 'up' ? `up: ${last.detail ?? ''}` : `${last.is}: ${last.reason}`, servers, place);
  } finally {
    await bench.stop();
  }
}

/** The operating system's, with names from the real DNS server and `real.example` where the server is. */
function partsOf(servers: Servers, { address }: Place) {
  const { authority } = servers;
  const dns = createNames({
    ...NAMES_DEFAULTS,
    resolvFile: '/dev/null',
    timeoutMs: 500,
    tries: 1,
    servers: [`${AT.well}:${PORTS.unbound}`],
  });
  const names: typeof dns = {
    ...dns,
    async resolve(name, family, cut) {
      if (name !== 'real.example') return dns.resolve(name, family, cut);
      if (familyOf(address) === family) return [address];
      throw new SystemError('ENOTFOUND', `resolve ${name}`);
    },
  };
  const trusted = () => createSecureContext({ ca: readFileSync(authority) });
  return {
    names,
    files: createFiles(),
    http: createHttp(names, trusted, () => {}),
  };
}

/** Without what is another one in each run. */
function normalized(text: string, servers: Servers, { address, port }: Place): string {
  return (
    text
      .replaceAll(servers.path(''), '/…')
      .replaceAll(printEndpoint(address, port), 'SERVER')
      .replaceAll(address, 'SERVER')
      .replaceAll(US, 'DIRECTOR')
      .replaceAll(/\d+(\.\d+)? ms\b/g, 'N ms')
      .replaceAll(/\b\d+ (times|messages|replies)\b/g, 'N $1')
      // Of a drip.
      .replace(/ after \d bytes/, ' after a few bytes')
      .replace(/ after "(..).{0,7}"$/, ' after "$1…"')
      .replace(/(Exim|OpenSSH_)[^"]*$/, '$1…')
      .replaceAll(/\s*\n\s*/g, ' / ')
      .trim()
  );
}
