// What Node throws, as the SystemError that every world port promises. Called by the files beside this one.

import { SystemError } from '../../lib/errors.ts';

/** Codes of Node's own that have an errno name. */
const ERRNO: Readonly<Record<string, string>> = {
  ERR_SOCKET_BAD_PORT: 'EINVAL',
  ERR_INVALID_ARG_VALUE: 'EINVAL',
  ERR_INVALID_ARG_TYPE: 'EINVAL',
  ERR_INVALID_ADDRESS: 'EINVAL',
  ERR_INVALID_IP_ADDRESS: 'EINVAL',
  ERR_SERVER_ALREADY_LISTEN: 'EADDRINUSE',
  ERR_STREAM_PREMATURE_CLOSE: 'ECONNRESET',
  ERR_STREAM_DESTROYED: 'EPIPE',
};

/** What OpenSSL says of octets that are no record of TLS. */
const NOT_TLS: ReadonlySet<string> = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG']);

/** OpenSSL's own words, where the message has them between addresses and names of its sources. */
function reasonOf(error: Error): string | null {
  return 'library' in error && 'reason' in error && typeof error.reason === 'string' ? error.reason : null;
}

/** A SystemError for anything thrown. What has no errno name (TLS verification, a broken HTTP head) is EPROTO with its words. */
export function systemError(thrown: unknown, call: string): SystemError {
  if (thrown instanceof SystemError) return thrown;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/^E[A-Z0-9]+$/.test(code)) return new SystemError(code, call);
  const errno = ERRNO[code];
  if (errno !== undefined) return new SystemError(errno, call, error.message);
  const words = `${reasonOf(error) ?? error.message}${NOT_TLS.has(code) ? ', it speaks no TLS' : ''}`;
  return new SystemError('EPROTO', call, code === '' ? words : `${words} (${code})`);
}
