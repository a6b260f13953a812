// Seeds that found a bug, and what it was. A change of the scenario gives a seed another story; then it is one more seed.

export interface Finding {
  readonly seed: number;
  readonly hours: number;
  readonly found: string;
}

export const FINDINGS: readonly Finding[] = [
  { seed: 2, hours: 0.3, found: 'a service with an empty table was announced as soon as a server was up' },
  { seed: 116, hours: 0.5, found: 'a server whose address came after the list was not adopted' },
  { seed: 191, hours: 1, found: 'nothing was adopted when the kernel was first read after the list' },
  { seed: 272, hours: 1.2, found: 'a weight that was just repaired was set back' },
  { seed: 347, hours: 0.3, found: 'without a resolver a restart took out the servers it had no address of' },
];
