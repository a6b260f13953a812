// What the kernel has against what is wanted, in words: for the log, and to tell whether two readings show the same. Pure.

import type { IpvsOp } from '../ipvs/table.ts';
import type { Plan } from './plan.ts';

/** One sentence for each thing that is not as it should be. */
export function sentences({ addVips, program, unprogram, deleteVips }: Plan): string[] {
  return [
    ...addVips.map(({ address }) => `address ${address} is gone from lo`),
    ...[...program, ...unprogram].map(sentence),
    ...deleteVips.map(({ address }) => `address ${address} is on lo again`),
  ];
}

function sentence(op: IpvsOp): string {
  switch (op.do) {
    case 'add-service':
      return `service ${op.service.key} is gone`;
    case 'set-service':
      return `service ${op.service.key} was changed`;
    case 'delete-service':
      return `service ${op.service.key} is there again`;
    case 'add-destination':
      return `destination ${op.destination.key} of ${op.service.key} is gone`;
    case 'set-destination':
      return `destination ${op.destination.key} of ${op.service.key} was changed`;
    case 'delete-destination':
      return `destination ${op.destination.key} of ${op.service.key} was added`;
    default:
      return op satisfies never;
  }
}
