// How a source is reached, from the options of its service: what to trust, what to show, who we are. Files are read each time
// that they are needed, so a certificate or token that was renewed on disk is used from the next connection on.

import type { SourceAccess } from '../config/types.ts';
import { encodeBase64 } from '../lib/base64.ts';
import { within } from '../lib/in-time.ts';
import { UnderWay } from '../lib/under-way.ts';
import type { HttpTls, World } from '../world/world.ts';

const MAX_PEM_BYTES = 1 << 20;
const MAX_SECRET_BYTES = 64 * 1024;
const READ_MS = 5000;

/** The files of one source. On a file system that hangs they make it fail: it must not fall silent. */
export class AccessFiles {
  readonly #world: Pick<World, 'clock' | 'files'>;
  readonly #reads = new UnderWay<Uint8Array>();

  constructor(world: Pick<World, 'clock' | 'files'>) {
    this.#world = world;
  }

  async read(path: string, maxBytes: number): Promise<string> {
    const { clock, files } = this.#world;
    const reading = this.#reads.join(`${maxBytes} ${path}`, () => files.read(path, maxBytes));
    return new TextDecoder().decode(await within(clock, READ_MS, `read ${path}`, reading));
  }
}

/** For HttpRequest.tls. Rejects with a SystemError when a file can not be read. */
export async function tlsOf(files: AccessFiles, access: SourceAccess): Promise<HttpTls> {
  const { caFile, certificateFile, keyFile } = access;
  const read = (path: string) => files.read(path, MAX_PEM_BYTES);
  return {
    verify: access.tls !== 'insecure',
    ...(caFile === null ? {} : { ca: await read(caFile) }),
    ...(certificateFile === null || keyFile === null
      ? {}
      : { certificate: { cert: await read(certificateFile), key: await read(keyFile) } }),
    files: [caFile, certificateFile, keyFile].filter((path) => path !== null),
  };
}

/** A password or token, without the end of its line. */
export async function secretOf(files: AccessFiles, path: string): Promise<string> {
  const text = (await files.read(path, MAX_SECRET_BYTES)).replace(/\r?\n$/, '');
  if (text === '' || /[\p{Cc}]/u.test(text)) throw new Error(`${path} does not hold one line of text`);
  return text;
}

/** Headers that say who we are to a web server: a token (RFC 6750), or else user and password (RFC 7617). */
export async function loginOf(files: AccessFiles, access: SourceAccess): Promise<Readonly<Record<string, string>>> {
  const { user, passwordFile, tokenFile } = access;
  if (tokenFile !== null) return { authorization: `Bearer ${await secretOf(files, tokenFile)}` };
  if (user === null || passwordFile === null) return {};
  return { authorization: basic(user, await secretOf(files, passwordFile)) };
}

export function basic(user: string, password: string): string {
  return `Basic ${encodeBase64(new TextEncoder().encode(`${user}:${password}`))}`;
}
