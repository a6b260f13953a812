// A peer's BFD options to its BfdSettings: what its section does not say comes from [global]. Called by peer.ts. Pure.

import type { BfdAuth } from '../bfd/types.ts';
import type { BFD_OPTIONS, PEER_BFD_OPTIONS } from './options-bfd.ts';
import type { OptionsOf } from './rows.ts';
import type { Report } from './section.ts';
import type { BfdSettings } from './types.ts';

type GlobalOptions = OptionsOf<typeof BFD_OPTIONS>;
type PeerOptions = OptionsOf<typeof PEER_BFD_OPTIONS>;

export const NO_BFD_OF_ITS_OWN: PeerOptions = {
  bfd: null,
  'bfd-interval': null,
  'bfd-multiplier': null,
  'bfd-multihop': null,
  'bfd-auth': null,
  'bfd-auth-key': null,
  'bfd-auth-key-id': null,
};

/** RFC 5880 §4.2 to §4.4: octets of password or key. */
const MAX_KEY = { simple: 16, md5: 16, 'meticulous-md5': 16, sha1: 20, 'meticulous-sha1': 20 } as const;

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

function readAuth(global: GlobalOptions, own: PeerOptions, report: Report): BfdAuth | null {
  const type = own['bfd-auth'] ?? global['bfd-auth'];
  if (type === null || type === 'none' || !isAuthType(type)) return null;
  const key = own['bfd-auth-key'] ?? global['bfd-auth-key'];
  if (key === null) {
    report.error('bfd-auth-key', `is required by bfd-auth = ${type}`);
    return null;
  }
  const most = MAX_KEY[type];
  if (!/^[\x21-\x7e]+$/.test(key) || key.length > most) {
    report.error('bfd-auth-key', `must be 1 to ${most} printable ASCII characters for ${type}`);
    return null;
  }
  return { type, key, keyId: own['bfd-auth-key-id'] ?? global['bfd-auth-key-id'] };
}

function isAuthType(text: string): text is keyof typeof MAX_KEY {
  return Object.hasOwn(MAX_KEY, text);
}
