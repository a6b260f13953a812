// TLS as a client, over a connected socket of node:net. Called by streams.ts.

import type { Socket } from 'node:net';
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type { TlsCertificate, TlsOptions, TlsState, Wall } from '../world.ts';
import type { Authorities } from './authorities.ts';
import { systemError } from './errors.ts';

const MAX_NAMES = 100;

/** Rejects as Streams.secure does; `raw` is destroyed then. `address` is whom the certificate must be for without a name. */
export function securedSocket(
  raw: Socket,
  tls: TlsOptions,
  address: string,
  authorities: Authorities,
  call: string,
  cut: Cut,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    let socket: TLSSocket;
    try {
      if (cut.aborted) throw new SystemError('ECANCELED', call);
      const { servername, verify, verifyName, alpn } = tls;
      socket = connect({
        socket: raw,
        host: address,
        ...(servername === null ? {} : { servername }),
        ...(verifyName === undefined
          ? {}
          : { checkServerIdentity: (_, cert) => checkServerIdentity(verifyName, cert) }),
        ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
        rejectUnauthorized: verify,
        secureContext: authorities(tls),
      });
    } catch (error) {
      raw.on('error', () => {});
      raw.destroy();
      throw systemError(error, call);
    }
    socket.pause();
    const settle = (error: SystemError | null) => {
      release();
      socket.off('error', onError).off('close', onClose).off('secureConnect', onSecure);
      if (error === null) resolve(socket);
      else {
        socket.on('error', () => {});
        socket.destroy();
        raw.destroy();
        reject(error);
      }
    };
    const onError = (error: Error) => settle(systemError(error, call));
    const onClose = () => settle(new SystemError('ECONNRESET', call, 'closed during the TLS handshake'));
    const onSecure = () => settle(null);
    socket.on('error', onError).on('close', onClose).on('secureConnect', onSecure);
    const release = cut.onAbort(() => settle(new SystemError('ECANCELED', call)));
  });
}

/** Of a socket whose handshake is done and that is still open. */
export function tlsStateOf(socket: TLSSocket): TlsState {
  return {
    protocol: socket.getProtocol() ?? '',
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : null,
    certificate: certificateOf(socket),
  };
}

function certificateOf(socket: TLSSocket): TlsCertificate | null {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    validFrom: Date.parse(certificate.validFrom) as Wall,
    validTo: Date.parse(certificate.validTo) as Wall,
    names: namesOf(certificate.subjectAltName ?? ''),
  };
}

/** One attribute to a line, the most general one first; nothing at all for an empty name. */
function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').reverse().join(', ');
}

/** `DNS:a.example, IP Address:192.0.2.1, URI:"http://b, c"`: what could be taken for more than one entry is quoted. */
function namesOf(subjectAltName: string): readonly string[] {
  const entries = subjectAltName.matchAll(/(?:^|, )(DNS|IP Address):([^",\s]+)(?=, |$)/g);
  return [...entries].slice(0, MAX_NAMES).map((entry) => entry[2] ?? '');
}
