// The program in a director's namespace that listens on its nlmon interface: every netlink message between any process
// of the namespace and the kernel passes there, whoever sent it. Reports IPVS commands and the kernel's answers as JSON
// lines. A line `sync N` on stdin is answered after everything that passed before it.

import { createInterface } from 'node:readline';
import koffi from 'koffi';
import { decodePacket, type Message } from './ipvs-messages.ts';

export type TapReport =
  | { readonly is: 'ready'; readonly pid: number }
  | { readonly is: 'sync'; readonly seq: number }
  | ({ readonly at: number } & Message);

const AF_NETLINK = 16;
const AF_PACKET = 17;
const SOCK_RAW = 3;
const NETLINK_GENERIC = 16;
const ETH_P_ALL = 0x0003;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const uint8_t *address, uint32_t length)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)');
const sendto = libc.func(
  'long sendto(int fd, const uint8_t *b, size_t n, int flags, const uint8_t *to, uint32_t length)',
);
const recvfrom = libc.func(
  'long recvfrom(int fd, _Out_ uint8_t *b, size_t n, int flags, _Out_ uint8_t *from, _Inout_ uint32_t *length)',
);
const if_nametoindex = libc.func('unsigned int if_nametoindex(const char *name)');

const say = (report: TapReport): void => void process.stdout.write(`${JSON.stringify(report)}\n`);

function check(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
  return result;
}

function genericSocket(): number {
  const fd = check(socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC) as number, 'socket');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  check(bind(fd, address, 12) as number, 'bind');
  return fd;
}

/** Asks the kernel for IPVS's family number; also how `sync` leaves a mark in the stream. */
function sendGetFamily(fd: number, seq: number): void {
  const message = Buffer.alloc(32);
  message.writeUInt32LE(29, 0);
  message.writeUInt16LE(16, 4); // nlctrl
  message.writeUInt16LE(1, 6); // NLM_F_REQUEST
  message.writeUInt32LE(seq, 8);
  message.writeUInt8(3, 16); // CTRL_CMD_GETFAMILY
  message.writeUInt8(1, 17);
  message.writeUInt16LE(9, 20);
  message.writeUInt16LE(2, 22); // CTRL_ATTR_FAMILY_NAME
  message.write('IPVS\0', 24, 'latin1');
  check(sendto(fd, message, 32, 0, null, 0) as number, 'sendto');
}

function familyNumber(fd: number): number {
  sendGetFamily(fd, 1);
  const answer = Buffer.alloc(8192);
  const length = check(recvfrom(fd, answer, answer.length, 0, null, null) as number, 'recvfrom');
  for (let at = 20; at + 4 <= length; at += (answer.readUInt16LE(at) + 3) & ~3) {
    if (answer.readUInt16LE(at + 2) === 1) return answer.readUInt16LE(at + 4); // CTRL_ATTR_FAMILY_ID
  }
  throw new Error('this kernel has no IPVS');
}

const control = genericSocket();
const family = familyNumber(control);

const tap = check(socket(AF_PACKET, SOCK_RAW, (ETH_P_ALL >> 8) | ((ETH_P_ALL & 0xff) << 8)) as number, 'socket');
const size = Buffer.alloc(4);
size.writeUInt32LE(64 << 20, 0);
check(setsockopt(tap, SOL_SOCKET, SO_RCVBUFFORCE, size, 4) as number, 'SO_RCVBUFFORCE');
const address = Buffer.alloc(20);
address.writeUInt16LE(AF_PACKET, 0);
address.writeUInt16BE(ETH_P_ALL, 2);
address.writeUInt32LE(if_nametoindex('nlmon0') as number, 4);
check(bind(tap, address, 20) as number, 'bind to nlmon0');

const packet = Buffer.alloc(1 << 21);
const from = Buffer.alloc(20);
const syncMark = 0x53594e43;

function listen(): void {
  const length = [from.length];
  recvfrom.async(tap, packet, packet.length, 0, from, length, (error: unknown, bytes: number) => {
    if (error !== null && error !== undefined) throw new Error('recvfrom failed', { cause: error });
    const at = performance.timeOrigin + performance.now();
    // sll_protocol is the netlink protocol: nlmon carries routing messages too.
    if (bytes > 0 && from.readUInt16BE(2) === NETLINK_GENERIC) hear(packet.subarray(0, bytes), at);
    listen();
  });
}

function hear(bytes: Buffer, at: number): void {
  // Our own mark: a request for nlctrl with seq = N and the mark where its pid should be.
  if (bytes.length >= 16 && bytes.readUInt16LE(4) === 16 && bytes.readUInt32LE(12) === syncMark) {
    say({ is: 'sync', seq: bytes.readUInt32LE(8) });
    return;
  }
  for (const message of decodePacket(bytes, family)) say({ at, ...message });
}

function sendMark(seq: number): void {
  const message = Buffer.alloc(16);
  message.writeUInt32LE(16, 0);
  message.writeUInt16LE(16, 4);
  message.writeUInt32LE(seq, 8);
  message.writeUInt32LE(syncMark, 12);
  check(sendto(control, message, 16, 0, null, 0) as number, 'sendto');
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const seq = /^sync (\d+)$/.exec(line)?.[1];
    if (seq !== undefined) sendMark(Number(seq));
  })
  .on('close', () => process.exit(0));
listen();
say({ is: 'ready', pid: process.pid });
