// The simulated world by itself: time, TCP, kernel, disk and death behave as the real ones do.

import { expect } from 'chai';
import { Knife } from '../../src/lib/cut.ts';
import { SystemError } from '../../src/lib/errors.ts';
import { FLAG, type IpvsDestination, type IpvsService } from '../../src/ipvs/table.ts';
import type { Stream, World } from '../../src/world/world.ts';
import { Machine } from './machine.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';
import { type Site, makeSite } from './site.ts';

const nobody = { wrote: () => {}, read: () => {} };

function machine(site: Site, name: string, address: string): Machine {
  return new Machine(site, {
    name,
    addresses: [address],
    programs: new Map([['/bin/check', () => ({ durationMs: 50, exitCode: 0, output: 'fine' })]]),
    monitors: new Map(),
    watcher: nobody,
  });
}

function service(key: string): IpvsService {
  return {
    key,
    protocol: 'tcp',
    address: '10.0.0.1',
    port: 80,
    fwmark: 0,
    scheduler: 'wrr',
    flags: FLAG.hashed,
    persistenceSeconds: 0,
    persistencePrefix: 32,
  };
}

const destination: IpvsDestination = {
  key: '10.0.1.1:80',
  address: '10.0.1.1',
  port: 80,
  forward: 'dr',
  weight: 10,
  upperThreshold: 0,
  lowerThreshold: 0,
};

/** Everything that happens to a stream, as text. */
function record(stream: Stream, into: string[]): void {
  stream.on({
    onData: (bytes) => into.push(`data ${new TextDecoder().decode(bytes)}`),
    onEnd: () => into.push('end'),
    onDrain: () => into.push('drain'),
    onClose: (error) => into.push(`close ${error?.code ?? 'null'}`),
  });
}

function codeOf(promise: Promise<unknown>, into: string[]): void {
  promise.then(
    () => into.push('done'),
    (error) => into.push(error instanceof SystemError ? error.code : String(error)),
  );
}

describe('Simulated time', () => {
  it('runs events by time and then in the order they were made, and does all promise work between two', async () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    scheduler.at(2, () => seen.push('c'));
    scheduler.at(1, () => {
      seen.push('a');
      void Promise.resolve().then(async () => {
        for (let i = 0; i < 5; i++) await null;
        seen.push('a, later');
      });
    });
    scheduler.at(1, () => seen.push('b'));
    scheduler.at(1.5, () => seen.push('never'))();
    await scheduler.run(10);
    expect(seen).to.deep.equal(['a', 'a, later', 'b', 'c']);
    expect(scheduler.now).to.equal(10);
  });

  it('stops a loop that does not let time pass', async () => {
    const scheduler = new Scheduler();
    const spin = (): void => void scheduler.at(0, spin);
    spin();
    let thrown: unknown = null;
    await scheduler.run(1).catch((error: unknown) => (thrown = error));
    expect(String(thrown)).to.contain('time stands still');
  });

  it('gives each name its own random numbers, the same for the same seed', () => {
    const draw = (random: Random): number[] => [random.unit(), random.unit()];
    expect(draw(new Random(1, 'a'))).to.deep.equal(draw(new Random(1, 'a')));
    expect(draw(new Random(1, 'a'))).not.to.deep.equal(draw(new Random(1, 'b')));
    expect(draw(new Random(1).fork('x'))).not.to.deep.equal(draw(new Random(2).fork('x')));
  });
});

describe('A simulated machine', () => {
  let site: Site;
  let one: Machine;
  let two: Machine;
  const started: Record<string, World> = {};
  const seen: string[] = [];

  beforeEach(async () => {
    site = makeSite(1);
    one = machine(site, 'one', '10.0.0.11');
    two = machine(site, 'two', '10.0.0.12');
    for (const m of [one, two]) m.start((world) => (started[m.name] = world));
    await site.scheduler.run(10);
    seen.length = 0;
  });

  const world = (name: string): World => {
    const found = started[name];
    if (found === undefined) throw new Error(`${name} is not running`);
    return found;
  };

  async function pair(): Promise<[Stream, Stream]> {
    const streams: Stream[] = [];
    void world('two').streams.listen({ address: '0.0.0.0', port: 80 }, (stream) => streams.push(stream));
    await site.scheduler.run(site.scheduler.now + 1);
    void world('one')
      .streams.connect({ address: '10.0.0.12', port: 80 }, new Knife())
      .then((s) => streams.unshift(s));
    await site.scheduler.run(site.scheduler.now + 5);
    const [near, far] = streams;
    if (near === undefined || far === undefined) throw new Error('not connected');
    return [near, far];
  }

  it('is refused where nobody listens, and waits where packets are dropped', async () => {
    codeOf(world('one').streams.connect({ address: '10.0.0.12', port: 80 }, new Knife()), seen);
    await site.scheduler.run(20);
    expect(seen).to.deep.equal(['ECONNREFUSED']);
    site.network.silence(two.host, true);
    codeOf(world('one').streams.connect({ address: '10.0.0.12', port: 80 }, new Knife()), seen);
    await site.scheduler.run(126_000);
    expect(seen).to.have.length(1);
    await site.scheduler.run(130_000);
    expect(seen).to.deep.equal(['ECONNREFUSED', 'ETIMEDOUT']);
  });

  it('answers ECANCELED when cut, before and during a connect', async () => {
    const cut = new Knife();
    cut.abort();
    codeOf(world('one').streams.connect({ address: '10.0.0.12', port: 80 }, cut), seen);
    const later = new Knife();
    site.network.silence(two.host, true);
    codeOf(world('one').streams.connect({ address: '10.0.0.12', port: 80 }, later), seen);
    site.scheduler.at(100, () => later.abort());
    await site.scheduler.run(200);
    expect(seen).to.deep.equal(['ECANCELED', 'ECANCELED']);
  });

  it('sends bytes in order and closes in order', async () => {
    const [near, far] = await pair();
    const atFar: string[] = [];
    record(near, seen);
    record(far, atFar);
    for (const word of ['one ', 'two ', 'three']) near.write(new TextEncoder().encode(word));
    near.end();
    await site.scheduler.run(site.scheduler.now + 20);
    expect(atFar.map((line) => line.replace('data ', '')).join('')).to.equal('one two threeend');
    far.write(new TextEncoder().encode('bye'));
    far.end();
    await site.scheduler.run(site.scheduler.now + 20);
    expect(seen.join(' ')).to.match(/^(data \w+ ?)+ end close null$/);
    expect(atFar.at(-1)).to.equal('close null');
    expect(one.host.ends.size + two.host.ends.size).to.equal(0);
  });

  it('feels a reader that does not read, and a reset', async () => {
    const [near, far] = await pair();
    record(near, seen);
    const atFar: string[] = [];
    record(far, atFar);
    far.pause();
    const block = new Uint8Array(16_384);
    while (near.write(block)) {
      // Until the send buffer is full.
    }
    await site.scheduler.run(site.scheduler.now + 1000);
    expect(seen).to.deep.equal([]);
    far.resume();
    await site.scheduler.run(site.scheduler.now + 100);
    expect(seen).to.deep.equal(['drain']);
    far.close('rst');
    await site.scheduler.run(site.scheduler.now + 100);
    expect(seen).to.deep.equal(['drain', 'close ECONNRESET']);
  });

  it('closes the connections of a process that is killed, and not those of a machine without power', async () => {
    const [near] = await pair();
    record(near, seen);
    two.kill();
    await site.scheduler.run(site.scheduler.now + 100);
    expect(seen).to.deep.equal(['end']);
    two.start((again) => (started['two'] = again));
    await site.scheduler.run(site.scheduler.now + 10);
    const [other] = await pair();
    const atOther: string[] = [];
    record(other, atOther);
    two.powerOff();
    await site.scheduler.run(site.scheduler.now + 1000);
    expect(atOther).to.deep.equal([]);
    two.powerOn();
    other.write(new Uint8Array(1));
    await site.scheduler.run(site.scheduler.now + 1000);
    expect(atOther).to.deep.equal(['close ECONNRESET']);
  });

  it('begins TLS once on a stream, whose first handlers hear nothing of it', async () => {
    const [near, far] = await pair();
    record(near, seen);
    expect(near.tls).to.equal(undefined);
    const secured: Stream[] = [];
    const tls = { servername: null, verify: false };
    const { streams } = world('one');
    void streams.secure(near, tls, new Knife()).then((stream) => secured.push(stream));
    await site.scheduler.run(site.scheduler.now + 5);
    const later: string[] = [];
    for (const stream of secured) record(stream, later);
    far.write(new TextEncoder().encode('hi'));
    codeOf(streams.secure(near, tls, new Knife()), later);
    await site.scheduler.run(site.scheduler.now + 5);
    expect(secured[0]?.tls?.protocol).to.equal('TLSv1.3');
    expect([seen, later]).to.deep.equal([[], ['ECONNRESET', 'data hi']]);
  });

  it('notices by keep-alive only that the other side is gone without a word', async () => {
    const streams: Stream[] = [];
    void world('two').streams.listen({ address: '0.0.0.0', port: 80 }, () => {});
    await site.scheduler.run(site.scheduler.now + 1);
    const keepAlive = { idleSeconds: 10, intervalSeconds: 5, retries: 3 };
    void world('one')
      .streams.connect({ address: '10.0.0.12', port: 80, keepAlive }, new Knife())
      .then((stream) => streams.push(stream));
    await site.scheduler.run(site.scheduler.now + 5);
    streams.forEach((stream) => record(stream, seen));
    two.powerOff();
    await site.scheduler.run(site.scheduler.now + 24_000);
    expect(seen).to.deep.equal([]);
    await site.scheduler.run(site.scheduler.now + 2_000);
    expect(seen).to.deep.equal(['close ETIMEDOUT']);
  });

  it('hears nothing any more once it is killed: promises stay pending, writes are not done', async () => {
    const { ipvs, files, clock } = world('one');
    codeOf(ipvs.apply([{ do: 'add-service', service: service('tcp 10.0.0.1:80') }]), seen);
    codeOf(files.replace('/var/lib/x', new Uint8Array(1)), seen);
    codeOf(clock.sleep(5), seen);
    one.kill();
    await site.scheduler.run(1000);
    expect(seen).to.deep.equal([]);
    expect(one.kernel.table.size).to.equal(0);
    expect(one.disk.get('/var/lib/x')).to.equal(null);
  });

  it('can die after some of the writes of one call', async () => {
    const ops = ['1', '2', '3'].map((n) => ({ do: 'add-service' as const, service: service(`tcp 10.0.0.${n}:80`) }));
    void world('one').ipvs.apply(ops);
    await site.scheduler.run(site.scheduler.now + 1000, () => one.kernel.table.size === 2);
    one.kill();
    await site.scheduler.run(site.scheduler.now + 1000);
    expect([...one.kernel.table.keys()]).to.deep.equal(['tcp 10.0.0.1:80', 'tcp 10.0.0.2:80']);
  });

  it('has a stopped process hear everything afterwards, late and in order', async () => {
    const { clock, self } = world('one');
    for (const ms of [10, 20, 30]) clock.at(ms, () => seen.push(`${ms}`));
    one.life?.stop();
    await site.scheduler.run(5000);
    expect(seen).to.deep.equal([]);
    one.life?.go();
    await site.scheduler.run(5001);
    expect(seen).to.deep.equal(['10', '20', '30']);
    expect(self().loopLateMs).to.be.within(4900, 5000);
  });

  it('has a kernel that answers as the real one does', async () => {
    const { ipvs } = world('one');
    const web = service('tcp 10.0.0.1:80');
    const unknown = { ...service('tcp 10.0.0.1:81'), scheduler: 'nope' };
    const v6 = { ...destination, key: '[2001:db8::1]:80', address: '2001:db8::1' };
    const answers: (string | null)[] = [];
    const apply = async (): Promise<void> => {
      const done = await ipvs.apply([
        { do: 'delete-service', service: web },
        { do: 'add-destination', service: web, destination },
        { do: 'add-service', service: web },
        { do: 'add-service', service: web },
        { do: 'add-service', service: unknown },
        { do: 'set-destination', service: web, destination },
        { do: 'add-destination', service: web, destination },
        { do: 'add-destination', service: web, destination },
        { do: 'add-destination', service: web, destination: v6 },
        { do: 'set-destination', service: web, destination: { ...destination, weight: -1 } },
        { do: 'delete-destination', service: web, destination },
        { do: 'delete-destination', service: web, destination },
      ]);
      answers.push(...done.map((error) => error?.code ?? null));
    };
    void apply();
    await site.scheduler.run(100);
    expect(answers).to.deep.equal([
      'ESRCH',
      'ESRCH',
      null,
      'EEXIST',
      'ENOENT',
      'ENOENT',
      null,
      'EEXIST',
      'EINVAL',
      'ERANGE',
      null,
      'ENOENT',
    ]);
  });
});
