// The certificate authorities that the system trusts, as one TLS context: parsing them takes milliseconds, so once is enough.

import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

/** Where Debian, Red Hat, SUSE and Alpine keep the bundle. */
const BUNDLES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem'];

/** Made on the first call; without a readable bundle, Node's built-in list of authorities. */
export function systemAuthorities(): () => SecureContext {
  let context: SecureContext | null = null;
  return () => {
    context ??= createSecureContext(bundle());
    return context;
  };
}

function bundle(): { ca?: Buffer } {
  for (const path of BUNDLES) {
    try {
      return { ca: readFileSync(path) };
    } catch {
      // The next one may be there.
    }
  }
  return {};
}
