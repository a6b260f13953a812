// The monitors, each with the real server that it is put before, and what can become of that one.

import agent, { sample as agentSample } from '../../../monitors/agent.ts';
import dns, { sample as dnsSample } from '../../../monitors/dns.ts';
import dnsquery from '../../../monitors/dnsquery.ts';
import file from '../../../monitors/file.ts';
import grpc, { sample as grpcSample } from '../../../monitors/grpc.ts';
import http from '../../../monitors/http.ts';
import idleconnection from '../../../monitors/idleconnection.ts';
import ping from '../../../monitors/ping.ts';
import proxyfetch from '../../../monitors/proxyfetch.ts';
import runcommand from '../../../monitors/runcommand.ts';
import smtp, { sample as smtpSample } from '../../../monitors/smtp.ts';
import ssh, { sample as sshSample } from '../../../monitors/ssh.ts';
import tcp from '../../../monitors/tcp.ts';
import udp from '../../../monitors/udp.ts';
import { printEndpoint } from '../../../src/lib/address.ts';
import type { MonitorModule, Sample } from '../../../src/health/monitor.ts';
import type { Speech } from './hostile.ts';
import { AT, PORTS, type Servers, type TlsPorts } from './servers.ts';

export type Given = Readonly<Record<string, unknown>>;

export interface Place {
  readonly address: string;
  readonly port: number;
}

/** What else can happen to this one: where, and with which options. */
export interface Own {
  readonly title: string;
  readonly place?: Partial<Place>;
  readonly given?: Given | ((servers: Servers) => Given);
  /** Nothing ends it but the deadline. */
  readonly endless?: boolean;
  /** Answers to a datagram, from a hostile server. */
  readonly answers?: (bytes: Buffer) => readonly Uint8Array[];
}

export interface Subject {
  /** The monitor's, and what of it. */
  readonly title: string;
  /** As the document names it. */
  readonly server: string;
  readonly module: MonitorModule;
  readonly port: number;
  /** Beside the deadline. */
  readonly options: (servers: Servers, place: Place) => Given;
  /** For a server that speaks it and breaks its rules: how a healthy one speaks, and what stands before a flood. */
  readonly hostile?: {
    readonly speech: Speech;
    readonly endless: string | Uint8Array;
    /** It reads for as long as it may. */
    readonly patient?: boolean;
  };
  /** Where it is with TLS, and the options for that. */
  readonly tls?: {
    readonly ports: TlsPorts;
    readonly given: (servers: Servers, place: Place) => Given;
    /** It begins in the clear. */
    readonly starttls?: boolean;
  };
  readonly own?: readonly Own[];
  /** Failures that are none to this one, by intention: it is up. */
  readonly bears?: readonly string[];
  /** Failures that are our own fault: it knows nothing then. */
  readonly ours?: readonly string[];
  /** Pairs of failures that it has the same words for. */
  readonly blurs?: readonly (readonly [string, string])[];
}

/** The name that certificates are for. */
const REAL = 'real.example';
const trusting = (servers: Servers): Given => ({ 'tls-servername': REAL, 'tls-ca': servers.authority });
const speechOf = ({ stream }: Sample): Speech => stream ?? (() => '');
const at = ({ address, port }: Place): string => printEndpoint(address, port);
const FLOODED_PAGE = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n';
const page = (body: string): Speech => {
  const answer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  return (received) => (received.includes('\r\n\r\n') ? answer : '');
};

/** A length before each message (RFC 1035 §4.2.2). */
const dnsOverTcp: Speech = (received) => {
  const query = Buffer.from(received, 'latin1').subarray(2);
  const reply = query.length < 12 ? null : (dnsSample.datagram?.(query) ?? null);
  return reply === null ? '' : Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 255]), reply]);
};

/** Type A, class IN, in octets as the UDP monitor has them. */
const QUERY = '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01';
/** 192.0.2.1. */
const ANSWER = '\xc0\x00\x02\x01';

const healthyReply = (bytes: Buffer): Buffer => Buffer.from(dnsSample.datagram?.(bytes) ?? []);
const altered = (bytes: Buffer, alter: (reply: Buffer) => void): readonly Buffer[] => {
  const reply = healthyReply(bytes);
  alter(reply);
  return [reply];
};

const shell = (script: string): Given => ({ command: '/bin/sh', arguments: ['-c', script] });

export const subjects: readonly Subject[] = [
  {
    title: 'HTTP',
    server: 'nginx',
    module: http,
    port: PORTS.nginx,
    options: () => ({ url: [`http://${REAL}/`], 'expect-text': 'hello' }),
    hostile: { speech: page('hello'), endless: FLOODED_PAGE },
    tls: {
      ports: PORTS.nginxTls,
      given: (servers) => ({ url: [`https://${REAL}/`], 'expect-text': 'hello', 'tls-ca': servers.authority }),
    },
  },
  {
    title: 'ProxyFetch',
    server: 'nginx',
    module: proxyfetch,
    port: PORTS.nginx,
    options: () => ({ url: [`http://${REAL}/`] }),
    hostile: { speech: page('hello'), endless: FLOODED_PAGE },
    tls: { ports: PORTS.nginxTls, given: () => ({ url: [`https://${REAL}/`] }) },
    bears: [
      'an answer without end',
      'a certificate that has expired',
      'a certificate for another name',
      'a certificate of an authority that nobody knows',
    ],
    blurs: [['a slow drip', 'a process that stands still']],
  },
  {
    title: 'TCP',
    server: 'nginx',
    module: tcp,
    port: PORTS.nginx,
    options: () => ({ send: ['GET / HTTP/1.0\r\n\r\n'], expect: ['hello'] }),
    hostile: { speech: page('hello'), endless: FLOODED_PAGE },
    tls: {
      ports: PORTS.nginxTls,
      given: (servers) => ({ tls: true, ...trusting(servers), send: ['GET / HTTP/1.0\r\n\r\n'], expect: ['hello'] }),
    },
  },
  {
    title: 'IdleConnection',
    server: 'HAProxy',
    module: idleconnection,
    port: PORTS.haproxy,
    options: () => ({ 'keepalive-idle': 1, 'keepalive-interval': 1, 'keepalive-retries': 1 }),
    hostile: { speech: () => 'x', endless: 'x' },
    own: [
      { title: 'a black hole, later', place: { address: AT.later } },
      { title: 'this host loses its way to the server, later', place: { address: AT.cutOff } },
    ],
    ours: ['this host loses its way to the server, later'],
    bears: [
      'a black hole once connected',
      'a process that stands still',
      'accepted, and closed at once',
      'an answer that is cut short, then closed',
      'a slow drip',
      'garbage, and no end',
      'an answer without end',
    ],
  },
  {
    title: 'DNS',
    server: 'Unbound',
    module: dns,
    port: PORTS.unbound,
    options: () => ({ name: 'www.example', answers: ['192.0.2.1'] }),
    own: [
      { title: 'NXDOMAIN', given: { name: 'a.nothing.test' } },
      { title: 'REFUSED', given: { name: 'a.refused.test' } },
      { title: 'SERVFAIL', given: { name: 'a.failing.test' } },
      { title: 'no answer to this question', endless: true, given: { name: 'a.silent.test' } },
      { title: 'no such records', given: { type: 'MX', answers: [] } },
      { title: 'another address', given: { answers: ['192.0.2.9'] } },
      {
        title: 'an answer to another question',
        endless: true,
        answers: (bytes) => altered(bytes, (reply) => reply.writeUInt8((reply[14] ?? 0) ^ 1, 14)),
      },
      {
        title: 'an answer with another ID',
        endless: true,
        answers: (bytes) => altered(bytes, (reply) => reply.writeUInt8(1, 0)),
      },
      { title: 'half an answer', answers: (bytes) => [healthyReply(bytes).subarray(0, 20)] },
      { title: 'garbage', endless: true, answers: () => [Buffer.alloc(1200, 0xff)] },
      { title: 'cut short, and no TCP', answers: (bytes) => altered(bytes, (reply) => reply.writeUInt8(0x83, 2)) },
    ],
  },
  {
    title: 'DNS over TCP',
    server: 'Unbound',
    module: dns,
    port: PORTS.unbound,
    options: () => ({ name: 'www.example', transport: 'tcp' }),
    // As long as it can be, and without anything that was asked for.
    hostile: { speech: dnsOverTcp, endless: '\xff\xff' },
    blurs: [['a slow drip', 'a process that stands still']],
  },
  {
    title: 'DNSQuery',
    server: 'Unbound',
    module: dnsquery,
    port: PORTS.unbound,
    options: () => ({ hostnames: ['www.example'] }),
    own: [
      { title: 'NXDOMAIN', given: { hostnames: ['a.nothing.test'], 'fail-on-nxdomain': true } },
      { title: 'REFUSED', given: { hostnames: ['a.refused.test'] } },
      { title: 'SERVFAIL', given: { hostnames: ['a.failing.test'] } },
      { title: 'no answer to this question', endless: true, given: { hostnames: ['a.silent.test'] } },
      {
        title: 'an answer with another ID',
        endless: true,
        answers: (bytes) => altered(bytes, (reply) => reply.writeUInt8(1, 0)),
      },
      { title: 'garbage', endless: true, answers: () => [Buffer.alloc(1200, 0xff)] },
    ],
  },
  {
    title: 'UDP',
    server: 'Unbound',
    module: udp,
    port: PORTS.unbound,
    options: () => ({ send: [QUERY], expect: [ANSWER] }),
    own: [
      { title: 'another reply', endless: true, given: { expect: ['\xc0\x00\x02\x09'], tries: 1 } },
      { title: 'nothing in the reply', endless: true, answers: () => [Buffer.alloc(0)] },
      { title: 'replies without end', answers: () => Array.from({ length: 200 }, () => Buffer.from('x')) },
      { title: 'nothing is expected, and nobody listens', place: { port: PORTS.nobody }, given: { expect: [] } },
      {
        title: 'nothing is expected, and nothing comes',
        endless: true,
        place: { address: AT.blackHole },
        given: { expect: [] },
      },
    ],
    bears: ['nothing is expected, and nothing comes'],
  },
  {
    title: 'Ping',
    server: "Debian's kernel",
    module: ping,
    port: 0,
    options: () => ({ pause: 0.05 }),
    own: [
      { title: 'answers that take too long', endless: true, given: { 'max-latency': 0.00001 } },
      { title: 'large packets that are lost, small ones', place: { address: AT.narrow } },
      {
        title: 'large packets that are lost, large ones',
        endless: true,
        place: { address: AT.narrow },
        given: { bytes: 1000 },
      },
    ],
    bears: ['a process that stands still', 'large packets that are lost, small ones'],
  },
  {
    title: 'RunCommand',
    server: 'curl, before nginx',
    module: runcommand,
    port: PORTS.nginx,
    options: (_, place) => ({ command: '/usr/bin/curl', arguments: ['-sSf', '-o', '/dev/null', at(place)] }),
    hostile: { speech: page('hello'), endless: FLOODED_PAGE, patient: true },
    tls: {
      ports: PORTS.nginxTls,
      given: (servers, place) => ({
        command: '/usr/bin/curl',
        arguments: [
          ...['-sSf', '-o', '/dev/null', '--cacert', servers.authority],
          ...['--resolve', `${REAL}:${place.port}:${place.address}`, `https://${REAL}:${place.port}/`],
        ],
      }),
    },
    own: [
      { title: 'a program that fails', given: shell('echo no disk; exit 3') },
      { title: 'a program that is killed', given: shell('kill -KILL $$') },
      { title: 'a program that hangs', given: { ...shell('trap "" TERM; sleep 60'), timeout: 1 } },
      { title: 'a program that prints without end', given: { ...shell('exec yes'), timeout: 1 } },
      { title: 'a program that leaves others behind', given: shell('sleep 60 & exit 1') },
      { title: 'no such program', given: (servers) => ({ command: servers.path('nothing'), arguments: [] }) },
      { title: 'no program', given: (servers) => ({ command: servers.path('known_hosts'), arguments: [] }) },
    ],
    // What curl's exit codes do not tell.
    blurs: [
      ['a black hole', 'a process that stands still'],
      ['nobody listens', 'a firewall says no'],
      ['a slow drip', 'a process that stands still'],
      ['a slow drip', 'an answer without end'],
      ['a certificate that has expired', 'a certificate for another name'],
      ['a certificate that has expired', 'a certificate of an authority that nobody knows'],
    ],
    ours: ['no such program', 'no program'],
  },
  {
    title: 'SSH',
    server: 'OpenSSH',
    module: ssh,
    port: PORTS.sshd,
    options: () => ({}),
    hostile: { speech: speechOf(sshSample), endless: 'x' },
  },
  {
    title: 'SSH, mode = login',
    server: 'OpenSSH',
    module: ssh,
    port: PORTS.sshd,
    options: (servers) => ({
      mode: 'login',
      // ssh has four fifths of it, and the rest to say what it waited for.
      timeout: 10,
      user: 'root',
      identity: servers.path('client'),
      'known-hosts': servers.path('known_hosts'),
    }),
    hostile: { speech: speechOf(sshSample), endless: 'x' },
    own: [
      { title: 'another host key', given: (servers) => ({ 'known-hosts': servers.path('changed_hosts') }) },
      { title: 'a host that nobody knows', given: (servers) => ({ 'known-hosts': servers.path('no_hosts') }) },
      { title: 'a key that it does not take', given: (servers) => ({ identity: servers.path('stranger-key') }) },
      { title: 'a command that fails', given: { mode: 'command', command: 'exit 3' } },
      { title: 'a command that hangs', given: { mode: 'command', command: 'sleep 60', timeout: 2 } },
    ],
    blurs: [
      ['accepted, and closed at once', 'an answer that is cut short, then closed'],
      ['a slow drip', 'a process that stands still'],
    ],
    // What ssh prints of a router's words it prints of a route that this host lacks, too.
    ours: ['a host that nobody knows', 'a router knows no way', 'a router knows no way, in IPv6'],
  },
  {
    title: 'SMTP',
    server: 'Exim',
    module: smtp,
    port: PORTS.exim,
    options: () => ({}),
    hostile: { speech: speechOf(smtpSample), endless: '220-' },
    tls: { ports: PORTS.eximTls, given: (servers) => ({ tls: 'starttls', ...trusting(servers) }), starttls: true },
  },
  {
    title: 'GRPC',
    server: 'grpcio',
    module: grpc,
    port: PORTS.grpc,
    options: () => ({}),
    hostile: {
      speech: speechOf(grpcSample),
      // SETTINGS, :status 200 with application/grpc, and DATA that ends nowhere.
      endless: Buffer.concat([
        Buffer.from(speechOf(grpcSample)('') as Uint8Array),
        Buffer.from([0, 0, 19, 1, 4, 0, 0, 0, 1, 0x88, 0x5f, 16, ...Buffer.from('application/grpc')]),
        Buffer.from([0, 64, 0, 0, 0, 0, 0, 0, 1]),
      ]),
    },
    tls: { ports: PORTS.grpcTls, given: (servers) => ({ tls: true, ...trusting(servers) }) },
  },
  {
    title: 'Agent',
    server: 'a shell script behind socat',
    module: agent,
    port: PORTS.agent,
    options: () => ({}),
    hostile: { speech: speechOf(agentSample), endless: 'up ' },
    // HAProxy's agents may end a line by closing: what came before is a line, if it has a word that is known.
    bears: ['an answer that is cut short, then closed'],
  },
  {
    title: 'Agent, with url',
    server: 'nginx',
    module: agent,
    port: PORTS.nginx,
    options: () => ({ url: `http://${REAL}/agent` }),
    hostile: { speech: page('up 75%\n'), endless: FLOODED_PAGE },
    tls: { ports: PORTS.nginxTls, given: () => ({ url: `https://${REAL}/agent` }) },
    own: [{ title: 'another status', given: { url: `http://${REAL}/nothing` } }],
    blurs: [
      ['a black hole', 'a process that stands still'],
      ['accepted, and closed at once', 'an answer that is cut short, then closed'],
      ['a slow drip', 'a process that stands still'],
    ],
  },
  {
    title: 'File, with url',
    server: 'nginx',
    module: file,
    port: PORTS.nginx,
    options: (_, place) => ({ url: `http://${at(place)}/members` }),
    hostile: { speech: page('cp1 up 50%\n'), endless: FLOODED_PAGE },
    tls: { ports: PORTS.nginxTls, given: (_, { port }) => ({ url: `https://${REAL}:${port}/members` }) },
    own: [
      { title: 'another status', given: { url: `http://${AT.well}/nothing` } },
      { title: 'NXDOMAIN', given: { url: 'http://a.nothing.test/members' } },
      { title: 'REFUSED', given: { url: 'http://a.refused.test/members' } },
      { title: 'SERVFAIL', given: { url: 'http://a.failing.test/members' } },
      { title: 'no answer to this question', endless: true, given: { url: 'http://a.silent.test/members' } },
      { title: 'no such file', given: (servers) => ({ url: null, path: servers.path('nothing') }) },
      { title: 'a folder', given: (servers) => ({ url: null, path: servers.path('') }) },
      { title: 'a file of something else', given: (servers) => ({ url: null, path: servers.path('health.py') }) },
    ],
    blurs: [
      ['a black hole', 'a process that stands still'],
      ['accepted, and closed at once', 'an answer that is cut short, then closed'],
      ['a slow drip', 'a process that stands still'],
    ],
  },
];
