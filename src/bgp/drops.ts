// Silent failures: what the kernel drops for TCP-MD5, TCP-AO and GTSM reaches no program, but it counts them (TcpExt in
// /proc/net/netstat). A count that rises while a peer does not answer names the probable cause. Pure; peer.ts asks.

/** Counters of TcpExt by their names. */
export type Drops = ReadonlyMap<string, number>;

/** What a peer that does not answer has been configured with. */
export interface Suspect {
  readonly keyed: boolean;
  readonly gtsm: boolean;
}

interface Row {
  readonly counter: string;
  readonly text: string;
  fits(suspect: Suspect): boolean;
}

const rows: readonly Row[] = [
  {
    counter: 'TCPMD5NotFound',
    text: 'the router does not sign with TCP-MD5, and a password is configured here',
    fits: ({ keyed }) => keyed,
  },
  { counter: 'TCPMD5Failure', text: 'the TCP-MD5 passwords differ', fits: ({ keyed }) => keyed },
  {
    counter: 'TCPMD5Unexpected',
    text: 'the router signs with TCP-MD5, and no password is configured here',
    fits: ({ keyed }) => !keyed,
  },
  {
    counter: 'TCPMinTTLDrop',
    text: 'packets come with a smaller TTL than ttl-security allows',
    fits: ({ gtsm }) => gtsm,
  },
  { counter: 'TCPAOBad', text: 'TCP-AO keys differ', fits: () => true },
  { counter: 'TCPAOKeyNotFound', text: 'a TCP-AO key that is not known here', fits: () => true },
  { counter: 'TCPAORequired', text: 'TCP-AO is wanted and not used', fits: () => true },
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
