// The certificate authorities that the system trusts, as one TLS context: parsing them takes milliseconds, so once is enough.

import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import { systemError } from './errors.ts';

/** Where Debian, Red Hat, SUSE and Alpine keep the bundle. */
const BUNDLES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem'];

/**
 * Made on the first call; where there is no bundle at all, Node's built-in list of authorities. A bundle that is there and
 * cannot be read (EMFILE, EACCES) throws a SystemError, and the next call tries again.
 */
export function systemAuthorities(bundles: readonly string[] = BUNDLES): () => SecureContext {
  let context: SecureContext | null = null;
  return () => {
    context ??= createSecureContext(firstOf(bundles));
    return context;
  };
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
