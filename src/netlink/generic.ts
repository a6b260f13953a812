// nlctrl: the number that a generic-netlink family has in this kernel. Asking for IPVS also makes the kernel load ip_vs.
// Called by ipvs/netlink.ts. include/uapi/linux/genetlink.h

import { SystemError } from '../lib/errors.ts';
import { genericOf } from './codec.ts';
import type { NetlinkSocket } from './socket.ts';

const CONTROLLER = 16;
const GET_FAMILY = 3;
const ATTRIBUTE = { id: 1, name: 2 } as const;

/** Throws SystemError: ENOENT when the kernel has no such family and no module for it. */
export function familyNumber(socket: NetlinkSocket, name: string): number {
  const call = `resolve netlink family ${name}`;
  let id = 0;
  socket.ask(
    call,
    (writer, flags, seq) => {
      writer.beginGeneric(CONTROLLER, GET_FAMILY, 1, flags, seq);
      writer.text(ATTRIBUTE.name, name);
    },
    (message) => {
      for (const { attributes } = genericOf(message); attributes.next(); ) {
        if (attributes.type === ATTRIBUTE.id) id = attributes.u16();
      }
    },
  );
  if (id === 0) throw new SystemError('EBADMSG', call, 'the answer has no number');
  return id;
}
