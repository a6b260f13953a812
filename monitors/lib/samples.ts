// Healthy servers that take more than a line: what monitors say of themselves to `anybal monitor test`, in their export `sample`.

const HTTP = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n';

/** A web server whose pages are all `ok`. */
export const httpSays = (received: string): string => (received.includes('\r\n\r\n') ? HTTP : '');

/** A DNS response (RFC 1035 §4.1) to the question of a query: one address. */
export function dnsReply(query: Uint8Array): Uint8Array {
  let end = 12;
  while ((query[end] ?? 0) !== 0) end += 1 + (query[end] ?? 0);
  const question = query.subarray(12, end + 5);
  const type = query[end + 2] ?? 1;
  const data = type === 28 ? [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] : [192, 0, 2, 1];
  const header = [query[0] ?? 0, query[1] ?? 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
  return Uint8Array.from([...header, ...question, 0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length, ...data]);
}

/** HTTP/2 frames (RFC 9113 §4.1). */
function frame(type: number, flags: number, stream: number, payload: readonly number[]): readonly number[] {
  return [0, payload.length >> 8, payload.length & 255, type, flags, 0, 0, 0, stream, ...payload];
}

const octets = (text: string): readonly number[] => [text.length, ...Buffer.from(text, 'latin1')];

/** Types of the frames that a client has sent behind its preface, whole ones only. */
function framesOf(received: string): readonly number[] {
  const bytes = Buffer.from(received, 'latin1').subarray(24);
  const types: number[] = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (at + 9 + bytes.readUIntBE(at, 3) <= bytes.length) types.push(bytes[at + 3] ?? -1);
  }
  return types;
}

/** A gRPC server that serves: SETTINGS, and when the request's DATA is here, :status 200, SERVING and grpc-status 0. */
export function grpcSays(received: string): Uint8Array {
  const types = framesOf(received);
  const response = [
    ...frame(1, 4, 1, [0x88, 0x5f, ...octets('application/grpc')]),
    ...frame(0, 0, 1, [0, 0, 0, 0, 2, 8, 1]),
    ...frame(1, 5, 1, [0, ...octets('grpc-status'), ...octets('0')]),
  ];
  return Uint8Array.from([
    ...frame(4, 0, 0, []),
    ...(types.includes(4) ? frame(4, 1, 0, []) : []),
    ...(types.includes(0) ? response : []),
  ]);
}
