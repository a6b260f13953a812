// Decodes IPVS commands from raw netlink bytes, for the witness. Written from the kernel's headers (linux/netlink.h,
// linux/genetlink.h, linux/ip_vs.h) and on purpose without a line of the daemon's own codec: it would share its mistakes.

import { printAddress, printEndpoint } from '../../../src/lib/address.ts';

/** A message on its way to the kernel, or the kernel's answer to one. */
export type Message =
  | {
      readonly is: 'command';
      readonly pid: number;
      readonly seq: number;
      readonly write: boolean;
      readonly text: string;
    }
  | { readonly is: 'answer'; readonly pid: number; readonly seq: number; readonly errno: number };

const REQUEST = 1;
const ERROR = 2;

const commands: Readonly<Record<number, string>> = {
  1: 'NEW_SERVICE',
  2: 'SET_SERVICE',
  3: 'DEL_SERVICE',
  4: 'GET_SERVICE',
  5: 'NEW_DEST',
  6: 'SET_DEST',
  7: 'DEL_DEST',
  8: 'GET_DEST',
  9: 'NEW_DAEMON',
  10: 'DEL_DAEMON',
  11: 'GET_DAEMON',
  12: 'SET_CONFIG',
  13: 'GET_CONFIG',
  15: 'GET_INFO',
  16: 'ZERO',
  17: 'FLUSH',
};
const reads = new Set([4, 8, 11, 13, 15]);

/** Every message of one packet: a sender may put many into one. `family` is IPVS's number on this boot. */
export function decodePacket(bytes: Buffer, family: number): readonly Message[] {
  const messages: Message[] = [];
  let at = 0;
  while (at + 16 <= bytes.length) {
    const length = bytes.readUInt32LE(at);
    if (length < 16 || at + length > bytes.length) break;
    const type = bytes.readUInt16LE(at + 4);
    const flags = bytes.readUInt16LE(at + 6);
    const seq = bytes.readUInt32LE(at + 8);
    const pid = bytes.readUInt32LE(at + 12);
    const body = bytes.subarray(at + 16, at + length);
    if (type === family && (flags & REQUEST) !== 0 && body.length >= 4) {
      const command = body.readUInt8(0);
      const name = commands[command] ?? `command ${command}`;
      const text = reads.has(command) ? name : `${name} ${printArguments(body.subarray(4))}`.trimEnd();
      messages.push({ is: 'command', pid, seq, write: !reads.has(command), text });
    } else if (type === ERROR && body.length >= 20 && body.readUInt16LE(8) === family) {
      messages.push({
        is: 'answer',
        pid: body.readUInt32LE(16),
        seq: body.readUInt32LE(12),
        errno: -body.readInt32LE(0),
      });
    }
    at += (length + 3) & ~3;
  }
  return messages;
}

type Attributes = ReadonlyMap<number, Buffer>;

function attributes(bytes: Buffer): Attributes {
  const found = new Map<number, Buffer>();
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** `tcp 10.9.0.1:80 wrr` or `tcp 10.9.0.1:80 10.2.0.21:80 dr weight 10`. */
function printArguments(bytes: Buffer): string {
  const top = attributes(bytes);
  const service = top.get(1);
  if (service === undefined) return '';
  const serviceAttributes = attributes(service);
  const family = serviceAttributes.get(1)?.readUInt16LE(0) ?? 2;
  const words = [printService(serviceAttributes, family)];
  const destination = top.get(2);
  if (destination !== undefined) words.push(printDestination(attributes(destination), family));
  return words.join(' ');
}

function printService(service: Attributes, family: number): string {
  const mark = service.get(5)?.readUInt32LE(0);
  // ipvsadm sends an empty name along with destinations.
  const scheduler = service.get(6)?.toString('latin1').replace(/\0.*$/, '') ?? '';
  const identity =
    mark === undefined || mark === 0
      ? `${protocols[service.get(2)?.readUInt16LE(0) ?? 0] ?? '?'} ${endpoint(service.get(3), service.get(4), family)}`
      : `fwmark ${mark}`;
  return scheduler === '' ? identity : `${identity} ${scheduler}`;
}

function printDestination(destination: Attributes, serviceFamily: number): string {
  const family = destination.get(11)?.readUInt16LE(0) ?? serviceFamily;
  const words = [endpoint(destination.get(1), destination.get(2), family)];
  const method = destination.get(3);
  if (method !== undefined) words.push(methods[method.readUInt32LE(0) & 7] ?? '?');
  const weight = destination.get(4);
  if (weight !== undefined) words.push(`weight ${weight.readInt32LE(0)}`);
  return words.join(' ');
}

const protocols: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
const methods = ['nat', 'local', 'tunnel', 'dr', 'bypass'];

function endpoint(address: Buffer | undefined, port: Buffer | undefined, family: number): string {
  if (address === undefined || address.length < 16) return '?';
  return printEndpoint(printAddress(address.subarray(0, family === 2 ? 4 : 16)), port?.readUInt16BE(0) ?? 0);
}
