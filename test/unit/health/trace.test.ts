import { expect } from 'chai';
import { tracedWorld } from '../../../src/health/trace.ts';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { Stream, Wall, World } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const DAY_MS = 86_400_000;

describe('A world that tells what is done with it', () => {
  it('tells of each step before it begins, so that no part of it is missing in the times', async () => {
    const said: string[] = [];
    const does =
      <T>(what: string, answer: T) =>
      () => {
        said.push(what);
        return Promise.resolve(answer);
      };
    const stream = { local: { address: '10.0.0.254', port: 4242 } } as Stream;
    const result = { exitCode: 0, signal: null, timedOut: false, output: '', durationMs: 9, leftovers: 'none' };
    const { world } = new FakeWorld();
    const outside = {
      ...world,
      names: { ...world.names, resolve: does('resolves', ['10.0.0.1']) },
      http: { ...world.http, get: does('gets', { status: 200, headers: {}, body: new Uint8Array(3) }) },
      files: { ...world.files, read: does('reads', new Uint8Array(3)) },
      streams: { ...world.streams, connect: does('connects', stream), secure: does('secures', stream) },
      icmp: { ping: does('pings', { roundTripMs: 1.5 }) },
      processes: { run: does('runs', result) },
    } as unknown as World;
    const traced = tracedWorld(outside, (text) => said.push(text));
    const cut = new Knife();
    const steps: readonly [string, (is: World) => Promise<unknown>][] = [
      ['resolves', ({ names }) => names.resolve('cp1', 4, cut)],
      ['gets', ({ http }) => http.get({ url: 'http://cp1/', maxBytes: 9, timeoutMs: 9 } as never, cut)],
      ['reads', ({ files }) => files.read('/pem', 9)],
      ['connects', ({ streams }) => streams.connect({ address: '10.0.0.1', port: 80 }, cut)],
      ['secures', ({ streams }) => streams.secure(stream, { servername: 'cp1', verify: true }, cut)],
      ['pings', ({ icmp }) => icmp.ping({ address: '10.0.0.1' } as never, cut)],
      ['runs', ({ processes }) => processes.run({ path: '/bin/true', args: [] } as never, cut)],
    ];
    for (const [does, step] of steps) {
      said.length = 0;
      await step(traced);
      expect(said, does).to.have.length(3);
      expect(said[0]).to.match(/ …$/);
      expect(said[1]).to.equal(does);
    }
  });

  it('says that a step was cut short, and what was thrown where it was not', async () => {
    const said: string[] = [];
    const { world } = new FakeWorld();
    const refuse = (code: string) => ({
      ...world.streams,
      connect: () => Promise.reject(new SystemError(code, 'connect 10.0.0.1:80')),
    });
    for (const code of ['ECANCELED', 'ECONNREFUSED']) {
      const traced = tracedWorld({ ...world, streams: refuse(code) }, (text) => said.push(text));
      const thrown = await traced.streams
        .connect({ address: '10.0.0.1', port: 80 }, new Knife())
        .catch((error: unknown) => error);
      expect(thrown).to.have.property('code', code);
    }
    expect(said[1]).to.equal('TCP to 10.0.0.1:80: cut short');
    expect(said[3]).to.match(/^TCP to 10\.0\.0\.1:80: .*ECONNREFUSED/);
  });

  it('counts the days of a certificate as the warning about it does', async () => {
    const said: string[] = [];
    const { world } = new FakeWorld();
    const certificate = { subject: 'CN=real.example', validTo: (world.clock.wall() + 19.97 * DAY_MS) as Wall };
    const stream = { tls: { protocol: 'TLSv1.3', alpn: null, certificate } } as Stream;
    const streams = { ...world.streams, secure: () => Promise.resolve(stream) };
    const traced = tracedWorld({ ...world, streams }, (text) => said.push(text));
    await traced.streams.secure(stream, { servername: null, verify: true }, new Knife());
    expect(said.at(-1)).to.equal('TLS: TLSv1.3, certificate of CN=real.example ends in 20.0 days');
  });
});
