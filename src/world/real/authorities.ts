// Whom a TLS connection trusts and what it shows, as OpenSSL's context. Making one means parsing PEM, which takes milliseconds,
// so they are kept: the system's until its bundle is another file, others while they are in use.

import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import { errorText, SystemError } from '../../lib/errors.ts';
import type { TlsOptions } from '../world.ts';
import { systemError } from './errors.ts';

/** Where Debian, Red Hat, SUSE and Alpine keep the bundle. */
const BUNDLES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem'];
/** So often it is looked whether the bundle was replaced: a director runs for longer than an authority is trusted. */
const LOOK_MS = 60_000;
/** With a bundle of authorities one is about a megabyte. */
const MAX_KEPT = 64;

type Wanted = Pick<TlsOptions, 'ca' | 'certificate' | 'files'>;

/** Without `ca` the system's. Throws a SystemError: EINVAL for PEM that is none. */
export type Authorities = (wanted?: Wanted) => SecureContext;

/**
 * Made on the first call, and again when the bundle has changed; where there is none at all, Node's built-in list of authorities. A
 * bundle that is there and cannot be read (EMFILE, EACCES) throws a SystemError, and the next call tries again.
 */
export function systemAuthorities(bundles: readonly string[] = BUNDLES, now = () => performance.now()): Authorities {
  let system: SecureContext | null = null;
  /** The one used last comes first. */
  let kept: { readonly wanted: Wanted; readonly context: SecureContext }[] = [];
  let seen: string | null = null;
  let lookAt = Number.NEGATIVE_INFINITY;

  /** Forget what was made of another bundle. One that is gone, or cannot be looked at, is no reason to trust others. */
  const look = (): void => {
    if (now() < lookAt) return;
    lookAt = now() + LOOK_MS;
    const version = versionOf(bundles);
    if (version === null || version === seen) return;
    seen = version;
    system = null;
    kept = kept.filter(({ wanted }) => wanted.ca !== undefined);
  };
  const make = ({ ca, certificate, files = [] }: Wanted): SecureContext => {
    const trusted = ca === undefined ? firstOf(bundles) : { ca };
    try {
      // createSecureContext skips what it cannot read, and takes an empty text for none given: everybody would be trusted.
      if (ca !== undefined) new X509Certificate(ca);
      return createSecureContext({ ...trusted, ...certificate });
    } catch (error) {
      const from = files.length === 0 ? '' : ` in ${files.join(', ')}`;
      const why = (certificate && wrongKey(certificate.key)) ?? errorText(error);
      throw new SystemError('EINVAL', `certificates for TLS${from}`, why);
    }
  };
  return (wanted = {}) => {
    look();
    if (wanted.ca === undefined && wanted.certificate === undefined) {
      system ??= createSecureContext(firstOf(bundles));
      return system;
    }
    const at = kept.findIndex((one) => same(one.wanted, wanted));
    const [found] = at < 0 ? [] : kept.splice(at, 1);
    const context = found?.context ?? make(wanted);
    const { ca, certificate } = wanted;
    kept.unshift(found ?? { wanted: { ...(ca && { ca }), ...(certificate && { certificate }) }, context });
    kept.length = Math.min(kept.length, MAX_KEPT);
    return context;
  };
}

/** What is wrong with a private key, in better words than OpenSSL's, which are of its decoders. */
function wrongKey(pem: string): string | null {
  const begin = /-----BEGIN (?:(ENCRYPTED)|\w+)? ?PRIVATE KEY-----(\s+Proc-Type: 4,ENCRYPTED)?/.exec(pem);
  if (begin === null) return 'there is no private key';
  return begin[1] !== undefined || begin[2] !== undefined ? 'the private key has a passphrase' : null;
}

function same(a: Wanted, b: Wanted): boolean {
  return a.ca === b.ca && a.certificate?.cert === b.certificate?.cert && a.certificate?.key === b.certificate?.key;
}

/** Of the first bundle that can be looked at. */
function versionOf(bundles: readonly string[]): string | null {
  for (const path of bundles) {
    try {
      const { dev, ino, size, mtimeMs } = statSync(path);
      return [path, dev, ino, size, mtimeMs].join(' ');
    } catch {
      // The next one.
    }
  }
  return null;
}

function firstOf(bundles: readonly string[]): { ca?: Buffer } {
  for (const path of bundles) {
    try {
      return { ca: readFileSync(path) };
    } catch (thrown) {
      const error = systemError(thrown, `read ${path}`);
      if (error.code !== 'ENOENT') throw error;
    }
  }
  return {};
}
