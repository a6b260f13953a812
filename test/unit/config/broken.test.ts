// Broken configurations, each with every complaint that it must get and the line that it must name.

import { expect } from 'chai';
import { printComplaint } from '../../../src/lib/errors.ts';
import { decodeText } from '../../support/config.ts';

const GOOD: Readonly<Record<string, string>> = {
  protocol: 'tcp',
  ip: '198.51.100.1',
  port: '80',
  scheduler: 'wrr',
  config: 'file:///etc/pybal/web',
  monitors: "[ 'IdleConnection' ]",
};

/** `[web]` in line 1, protocol 2, ip 3, port 4, scheduler 5, config 6, monitors 7, what `more` adds from line 8 on. */
function web(change: Readonly<Record<string, string | null>> = {}, more: readonly string[] = [], name = 'web'): string {
  const lines = Object.entries({ ...GOOD, ...change }).map(([key, value]) =>
    value === null ? '' : `${key} = ${value}`,
  );
  return [`[${name}]`, ...lines, ...more].join('\n');
}

/** `[global]` in line 1, then bgp 2, bgp-local-asn 3, bgp-nexthop-ipv4 4, what `more` adds from line 5 on. */
function bgp(...more: readonly string[]): string {
  return ['[global]', 'bgp = yes', 'bgp-local-asn = 64600', 'bgp-nexthop-ipv4 = 192.0.2.10', ...more].join('\n');
}

const PEER = 'bgp-peer-address = 192.0.2.1';

/** [title, text, complaints, services that run: none unless told, null when the file is refused] */
type Case = readonly [title: string, text: string, complaints: readonly string[], services?: readonly string[] | null];

const CASES: readonly Case[] = [
  [
    'a service without protocol',
    web({ protocol: null }),
    [
      '1: [web] protocol: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
  ],
  [
    'a service without an address',
    web({ ip: null }),
    ['1: [web] ip: is required and missing', '1: warning: [web] not usable: what it has in the kernel stays as it is'],
  ],
  [
    'a service without a port',
    web({ port: null }),
    [
      '1: [web] port: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
  ],
  [
    'a service without a scheduler',
    web({ scheduler: null }),
    [
      '1: [web] scheduler: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
  ],
  [
    'a service without a pool',
    web({ config: null }),
    [
      '1: [web] config: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
  ],
  [
    'an empty section',
    '[web]',
    [
      '1: [web] protocol: is required and missing',
      '1: [web] ip: is required and missing',
      '1: [web] port: is required and missing',
      '1: [web] scheduler: is required and missing',
      '1: [web] config: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
  ],
  [
    'a protocol that is neither',
    web({ protocol: 'sctp' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '2: [web] protocol: “sctp” is not known, one of tcp, udp',
    ],
  ],
  [
    'a misspelt protocol',
    web({ protocol: 'tpc' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '2: [web] protocol: “tpc” is not known (did you mean tcp?)',
    ],
  ],
  [
    'an address that is none',
    web({ ip: '198.51.100.256' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '3: [web] ip: “198.51.100.256” is not an IP address',
    ],
  ],
  [
    'a host name as address',
    web({ ip: 'www.example.org' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '3: [web] ip: “www.example.org” is not an IP address',
    ],
  ],
  [
    'an address with a prefix length',
    web({ ip: '198.51.100.1/32' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '3: [web] ip: “198.51.100.1/32” is not an IP address',
    ],
  ],
  [
    'an address with leading zeros',
    web({ ip: '198.051.100.1' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '3: [web] ip: “198.051.100.1” is not an IP address',
    ],
  ],
  [
    'a multicast address',
    web({ ip: '224.0.0.1' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '3: [web] ip: 224.0.0.1 is not a unicast address',
    ],
  ],
  [
    'an unspecified address',
    web({ ip: '::' }),
    ['1: warning: [web] not usable: what it has in the kernel stays as it is', '3: [web] ip: :: stands for no address'],
  ],
  [
    'a link-local address',
    web({ ip: 'fe80::1' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '3: [web] ip: fe80::1 is link-local and can not be announced',
    ],
  ],
  [
    'a port of zero',
    web({ port: '0' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '4: [web] port: 0 is not between 1 and 65535',
    ],
  ],
  [
    'a port beyond the last',
    web({ port: '65536' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '4: [web] port: 65536 is not between 1 and 65535',
    ],
  ],
  [
    'a port by name',
    web({ port: 'http' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '4: [web] port: “http” is not a whole number',
    ],
  ],
  [
    'an empty port',
    web({ port: '' }),
    ['1: warning: [web] not usable: what it has in the kernel stays as it is', '4: [web] port: the value is empty'],
  ],
  [
    'a hexadecimal port',
    web({ port: '0x50' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '4: [web] port: “0x50” is not a whole number',
    ],
  ],
  [
    'a misspelt scheduler',
    web({ scheduler: 'wwr' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '5: [web] scheduler: “wwr” is not known (did you mean wrr?)',
    ],
  ],
  [
    'an unknown scheduler',
    web({ scheduler: 'fastest' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '5: [web] scheduler: “fastest” is not known',
    ],
  ],
  [
    'a scheduler in capitals',
    web({ scheduler: 'WRR' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '5: [web] scheduler: “WRR” is not known (did you mean wrr?)',
    ],
  ],
  [
    'a threshold above one',
    web({}, ['depool-threshold = 1.5']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] depool-threshold: 1.5 is not between 0 and 1',
    ],
  ],
  [
    'a threshold below zero',
    web({}, ['depool-threshold = -.1']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] depool-threshold: -0.1 is not between 0 and 1',
    ],
  ],
  [
    'a threshold in per cent',
    web({}, ['depool-threshold = 50%%']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] depool-threshold: “50%” is not a number (write 0.5)',
    ],
  ],
  [
    'a threshold that is no number',
    web({}, ['depool-threshold = half']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] depool-threshold: “half” is not a number',
    ],
  ],
  [
    'a threshold of infinity',
    web({}, ['depool-threshold = inf']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] depool-threshold: “inf” is not a number',
    ],
  ],
  [
    'a lone per cent sign',
    web({}, ['depool-threshold = 50%']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] depool-threshold: a literal % is written %%; otherwise it must be %(key)s',
    ],
  ],
  [
    'a reference to nothing',
    web({ config: 'file:///etc/%(nme)s' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: %(nme)s: this section has no key nme',
    ],
  ],
  [
    'a reference in a circle',
    web({ config: '%(config)s' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: %(…)s is nested more than 10 deep, or in a circle',
    ],
  ],
  [
    'a truth that is none',
    web({}, ['bgp = maybe']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] bgp: “maybe” is neither yes nor no',
    ],
  ],
  [
    'an empty truth',
    web({}, ['bgp =']),
    ['1: warning: [web] not usable: what it has in the kernel stays as it is', '8: [web] bgp: the value is empty'],
  ],
  [
    'one-packet scheduling with tcp',
    web({}, ['ops = yes']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] ops: one-packet scheduling is for udp, not tcp',
    ],
  ],
  [
    'a source of an unknown kind',
    web({ config: 'ftp://h/p' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: ftp:// is not known here (file://, http://, https://, etcd://, dns://, srv://, k8s://)',
    ],
  ],
  [
    'a path instead of a source',
    web({ config: '/etc/pybal/web' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: “/etc/pybal/web” is not a URL (file://, http://, https://, etcd://, dns://, srv://, k8s://)',
    ],
  ],
  [
    'a relative file',
    web({ config: 'file://etc/pybal/web' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: “file://etc/pybal/web”: write three slashes and an absolute path, file:///etc/…',
    ],
  ],
  [
    'a source with a password and a port that is none',
    web({ config: 'http://me:secret@h:x/p' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: “http://***@h:x/p” is not a URL',
    ],
  ],
  [
    'half a way to get into a source',
    web({ config: 'etcd://h/p', 'config-user': 'me', 'config-key': '/key' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] config-user: nothing without config-password-file',
      '9: [web] config-key: nothing without config-certificate',
    ],
  ],
  [
    'a source with a blank',
    web({ config: 'http://h/a b' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: “http://h/a b” has a blank in it',
    ],
  ],
  [
    'a source without a host',
    web({ config: 'http://' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '6: [web] config: “http://” is not a URL',
    ],
  ],
  [
    'monitors as one string',
    web({ monitors: "'IdleConnection'" }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      "7: [web] monitors: not a list, write [ 'IdleConnection' ]",
    ],
  ],
  [
    'monitors without quotes',
    web({ monitors: 'IdleConnection' }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      "7: [web] monitors: not a list of strings: IdleConnection means nothing here (a string needs quotes), write [ 'IdleConnection' ]",
    ],
  ],
  [
    'monitors with a list not closed',
    web({ monitors: "[ 'IdleConnection'" }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '7: [web] monitors: not a list of strings: [ is never closed',
    ],
  ],
  [
    'monitors as a tuple',
    web({ monitors: "( 'IdleConnection', )" }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '7: [web] monitors: not a list of strings: a tuple is not taken here, write a list: [ … ]',
    ],
  ],
  [
    'monitors with a number',
    web({ monitors: "[ 'IdleConnection', 1 ]" }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '7: [web] monitors: 1 is not a string: put it in quotes',
    ],
  ],
  [
    'an empty list of monitors',
    web({ monitors: '[]' }),
    ['7: warning: [web] monitors: no monitors: every server counts as up'],
    ['web'],
  ],
  [
    'a call instead of monitors',
    web({ monitors: "__import__('os').system('true')" }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '7: [web] monitors: not a list of strings: __import__ means nothing here (a string needs quotes)',
    ],
  ],
  [
    'a bad item in a later line',
    web({ monitors: "[ 'IdleConnection',\n  ProxyFetch ]" }),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] monitors: not a list of strings: ProxyFetch means nothing here (a string needs quotes)',
    ],
  ],
  [
    'an unknown monitor',
    web({ monitors: "[ 'IdleConnection', 'Teapot' ]" }),
    ['7: DANGER: [web] monitors: there is no monitor Teapot, skipped'],
    ['web'],
  ],
  [
    'a misspelt monitor',
    web({ monitors: "[ 'IdelConnection' ]" }),
    [
      '7: DANGER: [web] monitors: there is no monitor IdelConnection, skipped (did you mean IdleConnection?)',
      '7: DANGER: [web] monitors: none of them can run: every server counts as up',
    ],
    ['web'],
  ],
  [
    'a monitor that is not in this version',
    web({ monitors: "[ 'UDP', 'IdleConnection' ]" }),
    ['7: DANGER: [web] monitors: UDP is not in this version, skipped'],
    ['web'],
  ],
  [
    'a monitor twice',
    web({ monitors: "[ 'IdleConnection', 'idleconnection' ]" }),
    ['7: warning: [web] monitors: idleconnection is listed twice: it runs once'],
    ['web'],
  ],
  ['no monitors', web({ monitors: null }), ['1: warning: [web] no monitors: every server counts as up'], ['web']],
  [
    'a misspelt list of monitors',
    web({ monitors: null, monitor: "[ 'IdleConnection' ]" }),
    ['8: DANGER: [web] monitor: no such option (did you mean monitors?): every server counts as up'],
    ['web'],
  ],
  [
    'a required option of a monitor missing',
    web({ monitors: "[ 'ProxyFetch' ]" }),
    [
      '1: [web] proxyfetch.url: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
  ],
  [
    'a bad option of a monitor',
    web({}, ['idleconnection.keepalive = perhaps']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] idleconnection.keepalive: “perhaps” is neither yes nor no',
    ],
  ],
  [
    'a bare URL for a list',
    web({ monitors: "[ 'ProxyFetch' ]" }, ['proxyfetch.url = http://h/']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      "8: [web] proxyfetch.url: not a list of strings: http means nothing here (a string needs quotes), write [ 'http://h/' ]",
    ],
  ],
  [
    'an empty list of URLs',
    web({ monitors: "[ 'ProxyFetch' ]" }, ['proxyfetch.url = []']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] proxyfetch.url: the list is empty',
    ],
  ],
  [
    'an interval of zero',
    web({ monitors: "[ 'ProxyFetch' ]" }, ["proxyfetch.url = 'http://h/'", 'proxyfetch.interval = 0']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] proxyfetch.interval: 0 is not between 0.1 and 31536000 seconds',
    ],
  ],
  [
    'a command that is not absolute',
    web({ monitors: "[ 'RunCommand' ]" }, ['runcommand.command = true']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] runcommand.command: “true” is not an absolute path',
    ],
  ],
  [
    'an argument that is a number',
    web({ monitors: "[ 'RunCommand' ]" }, ['runcommand.command = /bin/true', "runcommand.arguments = [ '-p', 80 ]"]),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] runcommand.arguments: 80 is not a string: put it in quotes',
    ],
  ],
  [
    'an unknown attribute of the server',
    web({ monitors: "[ 'RunCommand' ]" }, ['runcommand.command = /bin/true', 'runcommand.arguments = [ server.nme ]']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] runcommand.arguments: not a list of strings: server.nme means nothing here (known are server.host, server.ip, server.port, server.weight, server.lvsservice.name, server.lvsservice.ip, server.lvsservice.protocol, server.service, server.vip, server.protocol)',
    ],
  ],
  [
    'a misspelt option of a monitor',
    web({}, ['idleconnection.maxdelay = 3']),
    ['8: warning: [web] idleconnection.maxdelay: no such option, ignored (did you mean max-delay?)'],
    ['web'],
  ],
  [
    'an option of a monitor that is not listed',
    web({}, ["proxyfetch.url = 'http://h/'"]),
    ['8: warning: [web] proxyfetch.url: has no effect: ProxyFetch is not among the monitors'],
    ['web'],
  ],
  [
    'a misspelt option',
    web({}, ['depool_treshold = .5']),
    ['8: warning: [web] depool_treshold: no such option, ignored (did you mean depool-threshold?)'],
    ['web'],
  ],
  [
    'an option that nothing is like',
    web({}, ['colour = blue']),
    ['8: warning: [web] colour: no such option, ignored'],
    ['web'],
  ],
  [
    'an option of [global] in a service',
    web({}, ['instrumentation_port = 9091']),
    ['8: warning: [web] instrumentation_port: belongs into [global], ignored here'],
    ['web'],
  ],
  [
    '--dryrun in the file',
    web({}, ['dryrun = yes']),
    ['8: warning: [web] dryrun: has no effect in the file, as in PyBal: use --dryrun'],
    ['web'],
  ],
  [
    'another port with direct routing',
    web({}, ['realserver-port = 8080']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] realserver-port: 8080 differs from port 80, which only forward = nat can do',
    ],
  ],
  [
    'tunneling that contradicts',
    web({}, ['forward = nat', 'tunneling = yes']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] tunneling: contradicts forward = nat',
    ],
  ],
  [
    'flags of another scheduler',
    web({ scheduler: 'mh' }, ['scheduler-flags = sh-port']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] scheduler-flags: sh-port is for scheduler sh, not mh',
    ],
  ],
  [
    'flags of no scheduler',
    web({ scheduler: 'sh' }, ['scheduler-flags = sh-prot']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] scheduler-flags: “sh-prot” is not known (did you mean sh-port?)',
    ],
  ],
  [
    'a netmask with a hole',
    web({}, ['persistence-netmask = 255.0.255.0']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] persistence-netmask: “255.0.255.0” is not a netmask or prefix length from 1 to 32',
    ],
  ],
  [
    'a netmask for IPv6',
    web({ ip: '2001:db8::1' }, ['persistence-netmask = 255.255.255.0']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] persistence-netmask: “255.255.255.0” is not a prefix length from 1 to 128',
    ],
  ],
  [
    'a lower quorum above the upper',
    web({}, ['announce-quorum = .3', 'announce-quorum-low = .5']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] announce-quorum-low: 0.5 is more than announce-quorum, 0.3',
    ],
  ],
  [
    'a pace for a monitor that is not asked in intervals, and one that is misspelt',
    web({}, ['idleconnection.fast-interval = 1', 'idleconnection.fast-intervall = 1']),
    [
      '8: warning: [web] idleconnection.fast-interval: has no effect: IdleConnection is not asked in intervals',
      '9: warning: [web] idleconnection.fast-intervall: no such option, ignored (did you mean fast-interval?)',
    ],
    ['web'],
  ],
  [
    'a slow start where weights do not count',
    web({ scheduler: 'mh' }, ['slow-start = 60']),
    ['8: warning: [web] slow-start: has no effect: scheduler mh does not share by weight'],
    ['web'],
  ],
  [
    'more monitors that must be up than there are',
    web({}, ['monitors-combine = 2']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] monitors-combine: 2 of 1 monitors can never be up',
    ],
  ],
  [
    'a word that says nothing about how monitors combine',
    web({}, ['monitors-combine = most']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] monitors-combine: “most” is neither all nor any nor a number from 1 up',
    ],
  ],
  [
    'a presence by route without the uplinks of it',
    web({}, ['vip-presence = route']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] vip-presence: route needs vip-uplinks in [global]',
    ],
  ],
  [
    'checks through the path that have no source but the virtual IP',
    web({}, ['via = both']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] via: checks through the path need vip-presence = route, or an IPv4 address in path-source in [global]',
    ],
  ],
  [
    'a rise of zero',
    web({}, ['rise = 0']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] rise: 0 is not between 1 and 100',
    ],
  ],
  [
    'a line that is nothing',
    web({}, ['oops']),
    [
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] neither a comment, a [section], nor “key = value”: oops',
    ],
  ],
  [
    'a continuation at the start',
    '[web]\n  protocol = tcp',
    [
      '1: [web] protocol: is required and missing',
      '1: [web] ip: is required and missing',
      '1: [web] port: is required and missing',
      '1: [web] scheduler: is required and missing',
      '1: [web] config: is required and missing',
      '1: warning: [web] not usable: what it has in the kernel stays as it is',
      '2: [web] neither a comment, a [section], nor “key = value”: protocol = tcp',
    ],
  ],
  [
    'text before the first section',
    'ip = 198.51.100.1\n' + web(),
    ['1: text before the first [section]: ip = 198.51.100.1'],
    null,
  ],
  ['no section at all', '# nothing\n', ['1: the file has no [section] at all'], null],
  ['an empty file', '', ['1: the file has no [section] at all'], null],
  [
    'an option twice',
    web({}, ['port = 81']),
    ['8: warning: [web] port: given in line 4 already: the last one counts'],
    ['web'],
  ],
  [
    'a section twice',
    `${web()}\n[a]\n[web]\nport = 81`,
    [
      '8: [a] protocol: is required and missing',
      '8: [a] ip: is required and missing',
      '8: [a] port: is required and missing',
      '8: [a] scheduler: is required and missing',
      '8: [a] config: is required and missing',
      '8: warning: [a] not usable: what it has in the kernel stays as it is',
      '9: warning: [web] the section began in line 1 already: both are one section',
      '10: warning: [web] port: given in line 4 already: the last one counts',
    ],
    ['web'],
  ],
  [
    'the same service twice',
    `${web()}\n${web({}, [], 'other')}`,
    [
      '8: warning: [other] not usable: what it has in the kernel stays as it is',
      '10: [other] ip: tcp 198.51.100.1:80 is [web] in line 1 already',
    ],
    ['web'],
  ],
  [
    'MEDs that differ',
    `${web({}, ['bgp-med = 1'])}\n${web({ port: '443' }, ['bgp-med = 2'], 'other')}`,
    [
      '9: warning: [other] not usable: what it has in the kernel stays as it is',
      '16: [other] bgp-med: 2 here, 1 in [web] in line 1: services on 198.51.100.1 must agree',
    ],
    ['web'],
  ],
  [
    'a MED on one only',
    `${web({}, ['bgp-med = 1'])}\n${web({ port: '443' }, [], 'other')}`,
    [
      '9: [other] bgp-med: none here, 1 in [web] in line 1: services on 198.51.100.1 must agree',
      '9: warning: [other] not usable: what it has in the kernel stays as it is',
    ],
    ['web'],
  ],
  [
    'presences that differ',
    `${web()}\n${web({ port: '443' }, ['vip-presence = external'], 'other')}`,
    [
      '8: warning: [other] not usable: what it has in the kernel stays as it is',
      '15: [other] vip-presence: external here, lo in [web] in line 1: services on 198.51.100.1 must agree',
    ],
    ['web'],
  ],
  [
    'VIP policies that differ',
    `${web()}\n${web({ port: '443' }, ['vip-policy = all'], 'other')}`,
    [
      '8: warning: [other] not usable: what it has in the kernel stays as it is',
      '15: [other] vip-policy: all here, any in [web] in line 1: services on 198.51.100.1 must agree',
    ],
    ['web'],
  ],
  [
    'a misspelt [global]',
    `[Global]\nbgp = no\n${web()}`,
    ['1: [Global] not a service: did you mean [global]?', '1: warning: [global] not usable: the file is refused'],
    null,
  ],
  [
    'a misspelt [DEFAULT]',
    `[default]\nbgp = no\n${web()}`,
    ['1: [default] not a service: did you mean [DEFAULT]?', '1: warning: [global] not usable: the file is refused'],
    null,
  ],
  [
    'a bad value in [DEFAULT]',
    `[DEFAULT]\nrise = many\n${web()}\n${web({ port: '81' }, ['rise = 2'], 'other')}`,
    [
      '2: [web] rise: “many” is not a whole number',
      '3: warning: [web] not usable: what it has in the kernel stays as it is',
    ],
    ['other'],
  ],
  [
    'an unknown key in [DEFAULT]',
    `[DEFAULT]\nraise = 2\n${web()}`,
    ['2: warning: [DEFAULT] raise: no such option, ignored (did you mean rise?)'],
    ['web'],
  ],
  [
    'a bad line in [DEFAULT]',
    `${web()}\n[DEFAULT]\noops`,
    [
      '1: warning: [global] not usable: the file is refused',
      '9: [DEFAULT] neither a comment, a [section], nor “key = value”: oops',
    ],
    null,
  ],
  ['only [global]', '[global]\nbgp = no', ['1: warning: [global] there are no services in this file']],
  [
    'a bad option in [global]',
    `[global]\ninstrumentation_port = 99999\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '2: [global] instrumentation_port: 99999 is not between 1 and 65535',
    ],
    null,
  ],
  [
    'a bad option in [global], and what is wrong with the other sections by themselves',
    [
      '[global]',
      'bgp = yes',
      'bgp-local-asn = x',
      'monitor-directories = [ "/srv" ]',
      '[peer 192.0.2.1]',
      'hold-time = y',
      web({ port: '0' }),
      web({ port: '81', monitors: "[ 'Teapot', 'IdleConnection' ]" }, ['colour = red'], 'other'),
      web({}, [], 'third'),
      web({}, [], 'again'),
    ].join('\n'),
    [
      '1: warning: [global] not usable: the file is refused',
      '3: [global] bgp-local-asn: “x” is not a whole number',
      '6: [peer 192.0.2.1] hold-time: “y” is not a whole number',
      '10: [web] port: 0 is not between 1 and 65535',
      '20: DANGER: [other] monitors: there is no monitor Teapot, skipped',
      '21: warning: [other] colour: no such option, ignored',
      '31: [again] ip: tcp 198.51.100.1:80 is [third] in line 22 already',
    ],
    null,
  ],
  [
    'a bad monitor-directories in [global], of which a service knows no monitor',
    ['[global]', 'monitor-directories = 1', web({ monitors: "[ 'Teapot' ]" }, ['ops = yes'])].join('\n'),
    [
      '1: warning: [global] not usable: the file is refused',
      '2: [global] monitor-directories: 1 is neither a string nor a list of strings',
      '10: [web] ops: one-packet scheduling is for udp, not tcp',
    ],
    null,
  ],
  [
    'a misspelt option in [global]',
    `[global]\ninstrumentation-ports = 9090\n${web()}`,
    ['2: warning: [global] instrumentation-ports: no such option, ignored (did you mean instrumentation_port?)'],
    ['web'],
  ],
  [
    'an option of services in [global]',
    `[global]\nscheduler = wrr\n${web()}`,
    ['2: warning: [global] scheduler: belongs into a service section or [DEFAULT], ignored here'],
    ['web'],
  ],
  [
    'BGP without an AS number',
    `[global]\nbgp = yes\n${PEER}\nbgp-nexthop-ipv4 = 192.0.2.10\n${web()}`,
    ['1: [global] bgp-local-asn: is required when bgp is on', '1: warning: [global] not usable: the file is refused'],
    null,
  ],
  [
    'BGP without peers',
    `${bgp()}\n${web()}`,
    [
      '1: [global] bgp-peer-address: is required when bgp is on, or a [peer …] section',
      '1: warning: [global] not usable: the file is refused',
    ],
    null,
  ],
  [
    'a reserved AS number',
    `[global]\nbgp-local-asn = 23456\n${web()}`,
    ['1: warning: [global] not usable: the file is refused', '2: [global] bgp-local-asn: AS 23456 is reserved'],
    null,
  ],
  [
    'a hold time of two seconds',
    `[global]\nbgp-hold-time = 2\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '2: [global] bgp-hold-time: 2 is not allowed: 0, or 3 and more',
    ],
    null,
  ],
  [
    'a peer that is no address',
    `${bgp('bgp-peer-address = router1')}\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '5: [global] bgp-peer-address: “router1” is not an IP address',
    ],
    null,
  ],
  [
    'a list of peers without quotes',
    `${bgp('bgp-peer-address = [ 192.0.2.1 ]')}\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '5: [global] bgp-peer-address: not a list of strings: 192.0.2.1 is not a number (a string needs quotes)',
    ],
    null,
  ],
  [
    'a peer listed twice',
    `${bgp("bgp-peer-address = [ '192.0.2.1', '192.0.2.1' ]")}\n${web()}`,
    ['5: warning: [global] bgp-peer-address: 192.0.2.1 is listed twice'],
    ['web'],
  ],
  [
    'an AS path that is no list of numbers',
    `${bgp(PEER, 'bgp-as-path = 64600, 64601')}\n${web()}`,
    ['1: warning: [global] not usable: the file is refused', '6: [global] bgp-as-path: “64600,” is not a whole number'],
    null,
  ],
  [
    'a community too large',
    `${bgp(PEER, 'bgp-communities = 64600:65536')}\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '6: [global] bgp-communities: “64600:65536” is not a community: asn:value with both up to 65535, or a well-known name',
    ],
    null,
  ],
  [
    'a next hop of the other family',
    `${bgp(PEER, 'bgp-nexthop-ipv6 = 192.0.2.10')}\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '6: [global] bgp-nexthop-ipv6: 192.0.2.10 is not an IPv6 address',
    ],
    null,
  ],
  [
    'an IPv6 service without a next hop',
    `${bgp(PEER)}\n${web({ ip: '2001:db8::80' })}`,
    [
      '1: [global] bgp-nexthop-ipv6: is required to announce 2001:db8::80 of [web]: without it IPv6 routes are not sent',
    ],
    ['web'],
  ],
  [
    'the router id as a service',
    `${bgp(PEER, 'bgp-router-id = 198.51.100.1')}\n${web()}`,
    [
      '7: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] ip: 198.51.100.1 is the BGP router id, which can not be a virtual IP',
    ],
  ],
  [
    'the next hop as a service',
    `${bgp(PEER)}\n${web({ ip: '192.0.2.10' })}`,
    [
      '6: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] ip: 192.0.2.10 is the next hop, which can not be a virtual IP',
    ],
  ],
  [
    'a router as a service',
    `${bgp(PEER)}\n${web({ ip: '192.0.2.1' })}`,
    [
      '6: warning: [web] not usable: what it has in the kernel stays as it is',
      '8: [web] ip: 192.0.2.1 is the address of peer 192.0.2.1, which can not be a virtual IP',
    ],
  ],
  [
    'a limit that is not longer than the period',
    `[global]\nreconcile-period = 10\n${web()}`,
    [
      '1: [global] reconcile-limit: 10 is not longer than reconcile-period',
      '1: warning: [global] not usable: the file is refused',
    ],
    null,
  ],
  [
    'a peer section without an address',
    `${bgp()}\n[peer one]\n${web()}`,
    [
      '5: [peer one] peer-address: is required, because the name in the header is not an address',
      '5: warning: [peer one] not usable: the peer is left out',
    ],
    ['web'],
  ],
  [
    'a peer section of a known peer',
    `${bgp(PEER)}\n[peer one]\npeer-address = 192.0.2.1\n${web()}`,
    [
      '6: warning: [peer one] not usable: the peer is left out',
      '7: [peer one] peer-address: 192.0.2.1 is peer 192.0.2.1 in line 5 already',
    ],
    ['web'],
  ],
  [
    'two peer sections of one name',
    `${bgp()}\n[peer one]\npeer-address = 192.0.2.1\n[peer  one]\npeer-address = 192.0.2.2\n${web()}`,
    [
      '7: [peer  one] the name is taken by peer one in line 5',
      '7: warning: [peer  one] not usable: the peer is left out',
    ],
    ['web'],
  ],
  [
    'a local address of the other family',
    `${bgp()}\n[peer 192.0.2.1]\nlocal-address = 2001:db8::1\n[peer 192.0.2.2]\n${web()}`,
    [
      '5: warning: [peer 192.0.2.1] not usable: the peer is left out',
      '6: [peer 192.0.2.1] local-address: 2001:db8::1 is of the other family than 192.0.2.1',
    ],
    ['web'],
  ],
  [
    'a misspelt option of a peer',
    `${bgp()}\n[peer 192.0.2.1]\nmet = 1\n${web()}`,
    ['6: warning: [peer 192.0.2.1] met: no such option, ignored (did you mean med?)'],
    ['web'],
  ],
  [
    'a misspelt peer section',
    `${bgp(PEER)}\n[peer\tone]\n${web()}`,
    ['6: [peer	one] not a service: did you mean [peer <name>]?'],
    ['web'],
  ],
  [
    'a misspelt [global] beside the right one',
    `[Global]\nbgp = no\n[global]\nbgp = no\n${web()}`,
    ['1: [Global] not a service: did you mean [global]?', '3: warning: [global] not usable: the file is refused'],
    null,
  ],
  [
    'a service whose name is Global',
    web({ protocol: 'x' }, [], 'Global'),
    [
      '1: warning: [Global] not usable: what it has in the kernel stays as it is',
      '2: [Global] protocol: “x” is not known, one of tcp, udp',
    ],
  ],
  [
    'an empty optional value',
    `[global]\nbgp = no\nbgp-peer-address =\nbgp-nexthop-ipv6 =\n${web()}`,
    [
      '3: warning: [global] bgp-peer-address: is empty: as if it were not given',
      '4: warning: [global] bgp-nexthop-ipv6: is empty: as if it were not given',
    ],
    ['web'],
  ],
  [
    'an empty list of peers with BGP on',
    `${bgp('bgp-peer-address =')}\n${web()}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '5: warning: [global] bgp-peer-address: is empty: as if it were not given',
      '5: [global] bgp-peer-address: is required when bgp is on, or a [peer …] section',
    ],
    null,
  ],
  [
    'the IPv6 next hop as a service',
    `${bgp(PEER, 'bgp-nexthop-ipv6 = 2001:db8::10')}\n${web({ ip: '2001:DB8::10' })}`,
    [
      '7: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] ip: 2001:db8::10 is the next hop, which can not be a virtual IP',
    ],
  ],
  [
    'the local address of a peer as a service',
    `${bgp()}\n[peer 192.0.2.1]\nlocal-address = 198.51.100.1\n${web()}`,
    [
      '7: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] ip: 198.51.100.1 is the local address towards peer 192.0.2.1, which can not be a virtual IP',
    ],
  ],
  [
    'an address that BGP listens on as a service',
    `${bgp(PEER, "bgp-local-ips = [ '198.51.100.1' ]")}\n${web()}`,
    [
      '7: warning: [web] not usable: what it has in the kernel stays as it is',
      '9: [web] ip: 198.51.100.1 is a local address of BGP, which can not be a virtual IP',
    ],
  ],
  ...['0.0.0.0', '224.0.0.1', '255.255.255.255', '::', 'ff02::1'].map(
    (address): Case => [
      `a peer at ${address}`,
      bgp(`bgp-peer-address = ${address}`),
      [
        '1: warning: [global] not usable: the file is refused',
        `5: [global] bgp-peer-address: ${address} is the address of no host`,
      ],
      null,
    ],
  ),
  [
    'a next hop that is the router, a next hop that is none',
    `${bgp()}\n[peer 192.0.2.10]\n[peer r2]\npeer-address = 192.0.2.2\nnexthop-ipv6 = ff02::1\n${web()}`,
    [
      '5: [peer 192.0.2.10] peer-address: 192.0.2.10 is the next hop too, which must be this director and not the router',
      '5: warning: [peer 192.0.2.10] not usable: the peer is left out',
      '6: warning: [peer r2] not usable: the peer is left out',
      '8: [peer r2] nexthop-ipv6: ff02::1 is the address of no host',
    ],
    ['web'],
  ],
  [
    'a router id of nobody, a port for two, the path of no socket',
    `${bgp(PEER, 'bgp-router-id = 0.0.0.0', 'instrumentation = yes', 'instrumentation_port = 179', `control-socket = /${'x'.repeat(200)}`)}`,
    [
      '1: warning: [global] not usable: the file is refused',
      '6: [global] bgp-router-id: 0.0.0.0 is no router id',
      '8: [global] instrumentation_port: 179 is bgp-local-port too',
      '9: [global] control-socket: is longer than 107 octets, as the path of a socket can not be',
    ],
    null,
  ],
  [
    'attributes that the peer never sees',
    `${bgp()}\n[peer r1]\npeer-address = 192.0.2.1\npeer-as = 64700\nlocal-pref = 100\n[peer r2]\npeer-address = 192.0.2.2\npeer-as = 64600\nprepend = 2\n${web()}`,
    [
      '8: warning: [peer r1] local-pref: has no effect: AS 64700 is not ours',
      '12: warning: [peer r2] prepend: has no effect: the peer is in our own AS',
    ],
    ['web'],
  ],
  [
    'a service of a family that no peer takes',
    `${bgp(PEER, 'bgp-families = ipv6')}\n${web()}`,
    ['9: warning: [web] ip: no peer takes IPv4 routes: 198.51.100.1 is announced to nobody'],
    ['web'],
  ],
  [
    'a peer section without a next hop',
    `[global]\nbgp = yes\nbgp-local-asn = 64600\n[peer 192.0.2.1]\n${web()}`,
    [
      '4: [peer 192.0.2.1] nexthop-ipv4: is required to announce 198.51.100.1 of [web]: without it IPv4 routes are not sent',
    ],
    ['web'],
  ],
];

describe('config: broken files', () => {
  it('are at least sixty', () => expect(CASES).to.have.length.of.at.least(60));

  for (const [title, text, expected, services = []] of CASES)
    it(title, async () => {
      const { config, complaints } = await decodeText(text);
      const found = complaints.map((complaint) => printComplaint(complaint).replace(/^pybal\.conf:/, ''));
      expect(found).to.deep.equal(expected);
      expect(config?.services.map((service) => service.name) ?? null).to.deep.equal(services);
    });
});
