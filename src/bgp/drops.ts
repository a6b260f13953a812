// Silent failures: what the kernel drops for TCP-MD5, TCP-AO and GTSM reaches no program, but it counts them (TcpExt in
// /proc/net/netstat). A count that rises while a peer does not answer names the probable cause. Pure; peer.ts asks.

/** Counters of TcpExt by their names. */
export type Drops = ReadonlyMap<string, number>;

export type Protection = 'TCP-MD5' | 'TCP-AO';

/** What a peer that does not answer has been configured with. */
export interface Suspect {
  readonly protection: Protection | null;
  readonly gtsm: boolean;
}

interface Row {
  readonly counter: string;
  readonly text: string;
  fits(suspect: Suspect): boolean;
}

const md5 = ({ protection }: Suspect) => protection === 'TCP-MD5';
const ao = ({ protection }: Suspect) => protection === 'TCP-AO';

const rows: readonly Row[] = [
  {
    counter: 'TCPMD5NotFound',
    text: 'the router does not sign with TCP-MD5, and a password is configured here',
    fits: md5,
  },
  { counter: 'TCPMD5Failure', text: 'the TCP-MD5 passwords differ', fits: md5 },
  {
    counter: 'TCPMD5Unexpected',
    text: 'the router signs with TCP-MD5, and no password is configured here',
    fits: (suspect) => !md5(suspect),
  },
  { counter: 'TCPAOBad', text: 'a TCP-AO key differs from the one that the router has under its ids', fits: ao },
  {
    counter: 'TCPAOKeyNotFound',
    text: 'the router signs with a TCP-AO key whose id is not in the file of keys here',
    fits: ao,
  },
  {
    counter: 'TCPAOKeyNotFound',
    text: 'the router signs with TCP-AO, and no keys for it are configured here',
    fits: (suspect) => !ao(suspect),
  },
  {
    counter: 'TCPAORequired',
    text: 'the router does not sign with TCP-AO, and keys for it are configured here',
    fits: ao,
  },
  {
    counter: 'TCPMinTTLDrop',
    text: 'packets come with a smaller TTL than ttl-security allows',
    fits: ({ gtsm }) => gtsm,
  },
];

/** The first counter that rose and would explain it, with how often it did. */
export function suspicion(before: Drops, now: Drops, suspect: Suspect): string | null {
  for (const { counter, text, fits } of rows) {
    const count = (now.get(counter) ?? 0) - (before.get(counter) ?? 0);
    if (count > 0 && fits(suspect)) return `${text}; the kernel dropped ${count} packet(s), ${counter}`;
  }
  return null;
}

/** The TcpExt lines of /proc/net/netstat: one of names, one of numbers. */
export function readDrops(text: string): Drops {
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' ').slice(1));
  const known = new Set(rows.map(({ counter }) => counter));
  return new Map(names.flatMap((name, i) => (known.has(name) ? [[name, Number(values[i] ?? 0)] as const] : [])));
}
