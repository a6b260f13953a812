// TLS as an option of a monitor: the rows, and what they mean to `connect` and `secure`. Used by tcp.ts, smtp.ts and grpc.ts;
// http.ts and proxyfetch.ts, which have their server's name from a URL, use `serverNameOf`.

import type { Cut, OptionRow, OptionsOf, TlsOptions, Tools } from 'anybal/monitor';
import { idle } from './doubt.ts';

const MOST_CA_BYTES = 1 << 20;

export const TLS_ROWS = [
  {
    name: 'tls-servername',
    kind: 'string',
    default: null,
    example: 'mx.example.org',
    doc: 'The name that the server is told (SNI) and that its certificate must be for; without it, its address.',
  },
  {
    name: 'tls-verify',
    kind: 'bool',
    default: true,
    doc: 'Whether a certificate that is out of its time, for another name, or of an unknown authority means down.',
  },
  {
    name: 'tls-ca',
    kind: 'path',
    default: null,
    example: '/etc/ssl/example-ca.pem',
    doc: 'Authorities to trust (PEM), instead of the ones that the system trusts. Read in each check.',
  },
] as const satisfies readonly OptionRow[];

/** RFC 6066 §3: a literal address is no server name. */
export function serverNameOf({ hostname }: URL): string | null {
  return isAddress(hostname) ? null : hostname;
}

export function isAddress(name: string): boolean {
  return name.includes(':') || /^[\d.]+$/.test(name);
}

/** What is wrong with the name that a server is to be told (SNI), or null. */
export function serverNameComplaint(name: string | null): string | null {
  if (name === null) return null;
  if (isAddress(name)) return `${name} is an address, which is no server name (RFC 6066)`;
  return /^[\x21-\x7e]{1,255}$/.test(name) ? null : `“${name}” is not a name`;
}

/** For `refuse` and `doubt` of who has TLS_ROWS. */
export function refuseTls(
  o: OptionsOf<typeof TLS_ROWS>,
): readonly { readonly option: 'tls-servername'; readonly why: string }[] {
  const why = serverNameComplaint(o['tls-servername']);
  return why === null ? [] : [{ option: 'tls-servername', why }];
}

export function doubtTls(o: OptionsOf<typeof TLS_ROWS>, tls: boolean) {
  return [
    ...idle(!tls, ['tls-servername', 'tls-verify', 'tls-ca'], 'no TLS is spoken'),
    ...idle(tls && !o['tls-verify'], ['tls-ca'], 'nothing is verified'),
  ];
}

/** Rejects when the file cannot be read, which is our own fault. */
export async function tlsOptions(
  o: OptionsOf<typeof TLS_ROWS>,
  tools: Tools,
  cut: Cut,
  alpn?: readonly string[],
): Promise<TlsOptions> {
  const path = o['tls-ca'];
  const ca = path === null ? null : new TextDecoder().decode(await tools.read(path, MOST_CA_BYTES, cut));
  return {
    servername: o['tls-servername'],
    verify: o['tls-verify'],
    ...(ca === null || path === null ? {} : { ca, files: [path] }),
    ...(alpn === undefined ? {} : { alpn }),
  };
}
