// The GRPC monitor against gRPC's own server (grpcio, over its C core): the health service's answers, TLS, and servers that are
// not well.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import grpc from '../../monitors/grpc.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { CERTIFICATE, KEY } from '../support/certificate.ts';
import { type Bench, runMonitor, serve } from '../support/monitor-bench.ts';

const AT = '127.20.50.1';

/** Answers by the name of the service that is asked for. Its messages are octets: no generated code is needed for two fields. */
const SERVER = `
import sys, time
from concurrent import futures
import grpc
ANSWERS = {b'': b'\\x08\\x01', b'\\x0a\\x03bad': b'\\x08\\x02', b'\\x0a\\x04none': b'\\x08\\x03'}
def check(request, context):
    if request == b'\\x0a\\x04slow': time.sleep(5)
    if request == b'\\x0a\\x04late': context.abort(grpc.StatusCode.UNAVAILABLE, 'draining, % and \\u00e9')
    if request == b'\\x0a\\x04huge': return b'\\x08\\x01' + b'\\x12\\x80\\x80\\x04' + b'x' * 65536
    if request not in ANSWERS: context.abort(grpc.StatusCode.NOT_FOUND, 'unknown service')
    return ANSWERS[request]
def start(port, credentials, handlers):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers(handlers)
    if credentials is None: bound = server.add_insecure_port('${AT}:%d' % port)
    else: bound = server.add_secure_port('${AT}:%d' % port, credentials)
    server.start()
    return server, bound
health = grpc.method_handlers_generic_handler('grpc.health.v1.Health', {'Check': grpc.unary_unary_rpc_method_handler(check)})
folder = sys.argv[1]
pair = (open(folder + '/key.pem', 'rb').read(), open(folder + '/cert.pem', 'rb').read())
servers = [start(0, None, (health,)), start(0, grpc.ssl_server_credentials((pair,)), (health,)), start(0, None, ())]
print(' '.join(str(bound) for _, bound in servers), flush=True)
sys.stdin.read()
`;

describe('GRPC monitor and grpcio', () => {
  const benches: Bench[] = [];
  let folder = '';
  let server: ChildProcess | null = null;
  let [plain, tls, empty] = [0, 0, 0];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'talk-grpc-'));
    writeFileSync(join(folder, 'cert.pem'), CERTIFICATE);
    writeFileSync(join(folder, 'key.pem'), KEY, { mode: 0o600 });
    writeFileSync(join(folder, 'server.py'), SERVER);
    const child = spawn('/usr/bin/python3', [join(folder, 'server.py'), folder], { stdio: ['pipe', 'pipe', 'pipe'] });
    server = child;
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
    });
    const ports = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (text: Buffer) => resolve(text.toString()));
      child.once('error', reject);
      child.once('exit', () => {
        reject(new Error(`the server does not start (it needs apt-get install python3-grpcio): ${said}`));
      });
    });
    [plain = 0, tls = 0, empty = 0] = ports.trim().split(' ').map(Number);
  });
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
  });
  after(() => {
    server?.kill('SIGKILL');
    if (folder !== '') rmSync(folder, { recursive: true });
  });

  async function check(given: Readonly<Record<string, unknown>> = {}, port: number = plain): Promise<string> {
    const bench = runMonitor(grpc, { interval: 3600, ...given }, { address: AT, port }, { files: createFiles() });
    benches.push(bench);
    const health = await bench.result(1, 15_000);
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  }
  const trusted = () => ({ tls: true, 'tls-servername': 'real.example', 'tls-ca': join(folder, 'cert.pem') });

  it('is up when the server is SERVING, in the clear and over TLS', async () => {
    expect(await check()).to.equal('up: SERVING');
    expect(await check(trusted(), tls)).to.equal('up: SERVING');
  });

  it("names each of the health service's answers", async () => {
    expect(await check({ service: 'bad' })).to.equal('down: bad is NOT_SERVING');
    expect(await check({ service: 'none' })).to.equal('down: none is SERVICE_UNKNOWN');
    expect(await check({ service: 'who' })).to.equal(
      'down: the server knows nothing of who: NOT_FOUND (unknown service)',
    );
    expect(await check({ service: 'late' })).to.equal('down: UNAVAILABLE (draining, % and ??)');
    expect(await check({}, empty)).to.match(/^down: the server has no health service: UNIMPLEMENTED/);
  });

  it('is down for an answer that is late, or far too long', async () => {
    expect(await check({ service: 'slow', timeout: 0.5 })).to.match(
      /^down: (no whole answer in 0\.5 seconds|DEADLINE_EXCEEDED|no HTTP\/2 response: the server reset the stream)/,
    );
    expect(await check({ service: 'huge' })).to.equal('down: the answer is longer than 4096 bytes');
  });

  it('is down for a certificate of nobody known, or for another name, and where TLS meets none', async () => {
    expect(await check({ tls: true }, tls)).to.match(/^down: .*self[- ]signed/);
    expect(await check({ ...trusted(), 'tls-servername': 'other.example' }, tls)).to.match(/^down: .*other\.example/);
    expect(await check({ tls: true, timeout: 2 })).to.match(/^down: /);
    expect(await check({ timeout: 2 }, tls)).to.match(/^down: /);
  });

  it('is down when nobody listens, nothing comes, or something else', async () => {
    const closed = await serve(() => {}, { at: AT });
    await closed.close();
    expect(await check({}, closed.port)).to.match(/^down: Connection was refused/);
    const silent = await serve(() => {}, { at: AT });
    const http = await serve((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), { at: AT });
    try {
      expect(await check({ timeout: 0.5 }, silent.port)).to.equal(
        'down: no whole answer in 0.5 seconds (before any answer)',
      );
      expect(await check({}, http.port)).to.match(/^down: no HTTP\/2 response: it begins with HTTP\/1\.1 400/);
    } finally {
      await Promise.all([silent.close(), http.close()]);
    }
  });

  it('is down for a server that stands still, and up when it goes on', async () => {
    server?.kill('SIGSTOP');
    try {
      expect(await check({ timeout: 0.5 })).to.match(/^down: no whole answer in 0\.5 seconds/);
    } finally {
      server?.kill('SIGCONT');
    }
    expect(await check()).to.equal('up: SERVING');
  });
});
