// The BFD options: those of [global], which hold for every peer, and those of a [peer …] section. Part of the option table,
// options-bgp.ts.

import type { OptionRow } from './rows.ts';

/** RFC 5880 §4.2 to §4.4 */
const AUTH_TYPES = ['simple', 'md5', 'meticulous-md5', 'sha1', 'meticulous-sha1'] as const;
const INTERVAL = { kind: 'int', min: 10, max: 60_000 } as const;
const MULTIPLIER = { kind: 'int', min: 1, max: 255 } as const;
const KEY_ID = { kind: 'int', min: 0, max: 255 } as const;

/** In [global]. */
export const BFD_OPTIONS = [
  {
    name: 'bfd',
    kind: 'bool',
    default: false,
    doc: 'Watch the path to every peer with BFD (RFC 5880): a silent failure is seen within interval × multiplier.',
  },
  {
    name: 'bfd-interval',
    ...INTERVAL,
    default: 300,
    doc: 'Milliseconds between BFD packets, both ways. 50 is as low as we have measured to be safe.',
  },
  {
    name: 'bfd-multiplier',
    ...MULTIPLIER,
    default: 3,
    doc: 'A session is down when so many packets in a row are missing.',
  },
  {
    name: 'bfd-multihop',
    kind: 'bool',
    default: false,
    doc: 'The peers are not on our own network (RFC 5883): use bfd-auth with it. Without it packets must come with a TTL of 255.',
  },
  {
    name: 'bfd-auth',
    kind: 'choice',
    choices: AUTH_TYPES,
    default: null,
    example: 'meticulous-sha1',
    doc: 'Authentication of BFD packets: simple, md5, meticulous-md5, sha1 or meticulous-sha1. Needs bfd-auth-key or bfd-auth-key-file.',
  },
  {
    name: 'bfd-auth-key',
    kind: 'secret',
    default: null,
    example: 'secret',
    doc: 'The key, ASCII: up to 16 characters for simple and md5, 20 for sha1.',
  },
  {
    name: 'bfd-auth-key-file',
    kind: 'path',
    default: null,
    example: '/etc/pybal/bfd-key',
    doc: 'A file whose only line is the key. It is read again at SIGHUP.',
  },
  { name: 'bfd-auth-key-id', ...KEY_ID, default: 1, doc: 'Number of the key, the same on both sides.' },
  {
    name: 'bfd-wedged-after',
    kind: 'seconds',
    min: 0.5,
    max: 60,
    default: 2,
    doc: 'A daemon that stands still for so long takes its BFD sessions down, so that routers stop sending to it.',
  },
] as const satisfies readonly OptionRow[];

/** In a [peer …] section. */
export const PEER_BFD_OPTIONS = [
  { name: 'bfd', kind: 'bool', default: null, example: 'yes', doc: 'As bfd in [global].' },
  { name: 'bfd-interval', ...INTERVAL, default: null, example: '300', doc: 'As bfd-interval in [global].' },
  { name: 'bfd-multiplier', ...MULTIPLIER, default: null, example: '3', doc: 'As bfd-multiplier in [global].' },
  { name: 'bfd-multihop', kind: 'bool', default: null, example: 'no', doc: 'As bfd-multihop in [global].' },
  {
    name: 'bfd-auth',
    kind: 'choice',
    choices: [...AUTH_TYPES, 'none'],
    default: null,
    example: 'meticulous-sha1',
    doc: 'As bfd-auth in [global]; none turns it off for this peer.',
  },
  { name: 'bfd-auth-key', kind: 'secret', default: null, example: 'secret', doc: 'As bfd-auth-key in [global].' },
  {
    name: 'bfd-auth-key-file',
    kind: 'path',
    default: null,
    example: '/etc/pybal/bfd-key',
    doc: 'As bfd-auth-key-file in [global].',
  },
  { name: 'bfd-auth-key-id', ...KEY_ID, default: null, example: '1', doc: 'As bfd-auth-key-id in [global].' },
] as const satisfies readonly OptionRow[];
