// Seeds that found a bug, and what it was. A change of the scenario gives a seed another story; then it is one more seed.

export interface Finding {
  readonly seed: number;
  readonly hours: number;
  readonly found: string;
}

export const FINDINGS: readonly Finding[] = [
  { seed: 1, hours: 0.2, found: 'a service with a verified empty table was announced as soon as a server was up' },
  { seed: 8, hours: 0.5, found: 'the last server lost its weight to a drain before its route had left' },
  { seed: 151, hours: 0.5, found: 'a restart deleted adopted servers whose addresses came after the list' },
  { seed: 40138, hours: 2, found: 'a VIP was announced by a reading older than a write that hung' },
  { seed: 80000, hours: 1, found: 'a start used the address on disk although the host had moved' },
  { seed: 80262, hours: 1.5, found: 'a server was blamed for a path that somebody had taken out of the kernel' },
  {
    seed: 910055,
    hours: 0.2,
    found: 'half of a list that was put right key by key was believed when the network failed',
  },
  { seed: 20, hours: 0.5, found: 'a pool was emptied by a filter that hides its name' },
];
