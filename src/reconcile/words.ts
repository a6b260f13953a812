// What the kernel has against what is wanted, in words: for the log, and to tell whether two readings show the same. Pure.

import type { IpvsOp } from '../ipvs/table.ts';
import type { AddressOp } from '../vip/addresses.ts';
import type { Plan } from './plan.ts';

/** One sentence for each thing that is not as it should be. */
export function sentences({ addVips, program, unprogram, deleteVips }: Plan): string[] {
  return [...addVips.map(presence), ...[...program, ...unprogram].map(sentence), ...deleteVips.map(presence)];
}

function presence(op: AddressOp): string {
  switch (op.do) {
    case 'add-address':
      return `address ${op.address} is gone from lo`;
    case 'delete-address':
      return `address ${op.address} is on lo again`;
    case 'add-route':
      return `the local route of ${op.address} is gone`;
    case 'delete-route':
      return `the local route of ${op.address} is there again`;
    case 'add-rule':
      return `the rule for ${op.address} from ${op.uplink} is gone`;
    case 'delete-rule':
      return `the rule for ${op.address} from ${op.uplink} is there again`;
    default:
      return op satisfies never;
  }
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
