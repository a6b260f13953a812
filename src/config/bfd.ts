// A peer's BFD options to its BfdSettings: what its section does not say comes from [global]. Called by peer.ts. Pure.

import { bfdKeyComplaint } from '../lib/secrets.ts';
import type { BFD_OPTIONS, PEER_BFD_OPTIONS } from './options-bfd.ts';
import type { OptionsOf } from './rows.ts';
import type { Report } from './section.ts';
import type { BfdAuthSettings, BfdSettings, KeySource } from './types.ts';

type GlobalOptions = OptionsOf<typeof BFD_OPTIONS>;
type PeerOptions = OptionsOf<typeof PEER_BFD_OPTIONS>;

export const NO_BFD_OF_ITS_OWN: PeerOptions = {
  bfd: null,
  'bfd-interval': null,
  'bfd-multiplier': null,
  'bfd-multihop': null,
  'bfd-auth': null,
  'bfd-auth-key': null,
  'bfd-auth-key-file': null,
  'bfd-auth-key-id': null,
};

const AUTH_TYPES = ['simple', 'md5', 'meticulous-md5', 'sha1', 'meticulous-sha1'] as const;

/** null: no BFD with this peer. */
export function readBfd(global: GlobalOptions, own: PeerOptions, report: Report): BfdSettings | null {
  if (!(own.bfd ?? global.bfd)) return null;
  return {
    intervalMs: own['bfd-interval'] ?? global['bfd-interval'],
    multiplier: own['bfd-multiplier'] ?? global['bfd-multiplier'],
    multihop: own['bfd-multihop'] ?? global['bfd-multihop'],
    auth: readAuth(global, own, report),
  };
}

function readAuth(global: GlobalOptions, own: PeerOptions, report: Report): BfdAuthSettings | null {
  const said = own['bfd-auth'] ?? global['bfd-auth'];
  const type = AUTH_TYPES.find((each) => each === said);
  if (type === undefined) return null;
  const key = readKey(global, own, report);
  if (key === null) {
    report.error('bfd-auth-key', `is required by bfd-auth = ${type}, or bfd-auth-key-file`);
    return null;
  }
  const complaint = key.from === 'text' ? bfdKeyComplaint(key.text, type) : null;
  if (complaint !== null) {
    report.error('bfd-auth-key', complaint);
    return null;
  }
  return { type, key, keyId: own['bfd-auth-key-id'] ?? global['bfd-auth-key-id'] };
}

/** A section that says one of the two says nothing about the other by its silence. */
function readKey(global: GlobalOptions, own: PeerOptions, report: Report): KeySource | null {
  const hasOwn = own['bfd-auth-key'] !== null || own['bfd-auth-key-file'] !== null;
  const { 'bfd-auth-key': text, 'bfd-auth-key-file': path } = hasOwn ? own : global;
  if (path === null) return text === null ? null : { from: 'text', text };
  if (text !== null) report.warning('bfd-auth-key', 'is not used: bfd-auth-key-file is given too');
  return { from: 'file', path };
}
