// Checks through the path: `tools.connect` and `tools.datagram` reach the server for the VIP, forwarded as a client's packets
// are. The mark of the socket says to which server (see decision/marks.ts); a monitor does not know. Used by tools.ts.

import type { Path } from '../decision/decision.ts';
import { printEndpoint } from '../lib/address.ts';
import type { Cut } from '../lib/cut.ts';
import { SystemError } from '../lib/errors.ts';
import type { Clock, Endpoint } from '../world/world.ts';

/** How one check gets to its server. The way is asked for at each connection: the kernel may lose it, or not have it yet. */
export interface PathSource {
  /** Where a monitor believes to dial. */
  readonly address: string;
  readonly port: number;
  /** Why there is none, if it is a string. */
  way(): Path | string;
  /** So far: ports are taken in turn. */
  dialled: number;
  /** The way that the check under way began with; null: it has not dialled yet. */
  began: Path | null;
}

/** What to dial instead. */
export interface Dial extends Endpoint {
  readonly localAddress?: string;
  readonly localPort: number;
  readonly mark: number;
}

const LOOK_MS = 50;
const PATIENCE_MS = 5_000;
/** A connection from this port to the VIP is there still. */
const TAKEN: ReadonlySet<string> = new Set(['EADDRINUSE', 'EADDRNOTAVAIL']);

/** The way, as soon as the kernel has it. Rejects with ENOTCONN and the reason when that takes too long, or the check is cut. */
export async function awaitPath(source: PathSource, clock: Clock, cut: Cut): Promise<Path> {
  const giveUpAt = clock.now() + PATIENCE_MS;
  for (;;) {
    const way = source.way();
    if (typeof way !== 'string') {
      source.began ??= way;
      return way;
    }
    if (cut.aborted || clock.now() >= giveUpAt) throw new SystemError('ENOTCONN', 'take the path', way);
    await clock.sleep(LOOK_MS, cut);
  }
}

/** `dial` with the server's own ports in turn, until one is free. */
export async function throughPath<T>(
  source: PathSource,
  way: Path,
  to: Endpoint,
  dial: (at: Dial) => Promise<T>,
): Promise<T> {
  const at = placeOf(source, way, to);
  for (let attempt = 1; ; attempt++) {
    const localPort = way.firstPort + (source.dialled++ % way.ports);
    try {
      return await dial({ ...at, localPort, mark: way.mark });
    } catch (error) {
      if (!(error instanceof SystemError && TAKEN.has(error.code))) throw error;
      if (attempt === way.ports) {
        const taken = `all ${way.ports} ports of this server to ${printEndpoint(at.address, at.port)} are in use`;
        throw new SystemError(error.code, 'take the path', taken);
      }
    }
  }
}

/** The same place on the VIP. IPVS keeps a packet's port, and NAT replaces it by the one that belongs to the server. */
function placeOf(source: PathSource, way: Path, { address, port }: Endpoint): Omit<Dial, 'localPort' | 'mark'> {
  const own = port === source.port;
  if (address !== source.address || (!own && way.fixedPort)) {
    const elsewhere = printEndpoint(address, port);
    throw new SystemError('EINVAL', 'take the path', `it does not lead to ${elsewhere}, only to the server's own port`);
  }
  const vip = { address: way.vip, port: own ? way.vipPort : port };
  return way.localAddress === null ? vip : { ...vip, localAddress: way.localAddress };
}
