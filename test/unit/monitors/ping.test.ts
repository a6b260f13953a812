import { expect } from 'chai';
import ping from '../../../monitors/ping.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { Icmp, PingOptions } from '../../../src/world/world.ts';
import { type Bench, runMonitor, withDefaults } from '../../support/monitor-bench.ts';
import { fakeSelf } from '../../support/fake-self.ts';

type Fate = number | string | 'silence';

describe('Ping', () => {
  const benches: Bench[] = [];
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
  });

  /** The fate of each request in turn: milliseconds to its reply, the code of an error, or silence. */
  function run(fates: readonly Fate[], given: Readonly<Record<string, unknown>> = {}, lateMs = 0) {
    const asked: PingOptions[] = [];
    const icmp: Icmp = {
      ping: (options, cut) =>
        new Promise((resolve, reject) => {
          const fate = fates[asked.length] ?? 'silence';
          asked.push(options);
          cut.onAbort(() => reject(new SystemError('ECANCELED', 'ping')));
          if (typeof fate === 'number') setTimeout(() => resolve({ roundTripMs: fate }), fate);
          else if (fate !== 'silence') reject(new SystemError(fate, 'ping', 'said the test'));
        }),
    };
    const self = () => fakeSelf(lateMs);
    const bench = runMonitor(ping, { pause: 0.02, timeout: 0.6, ...given }, {}, { icmp, self });
    benches.push(bench);
    return { bench, asked };
  }

  const said = async ({ bench }: { readonly bench: Bench }) => {
    const health = await bench.result();
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  };

  it('is up with the first reply, and asks no further', async () => {
    const round = run([1]);
    expect(await said(round)).to.equal('up: 1 of 1 answered, the fastest in 1.0 ms');
    expect(round.asked).to.have.length(1);
    expect(round.asked[0]).to.deep.include({ address: '127.0.0.1', bytes: 56 });
    expect(round.bench.measured).to.deep.equal(['round_trip_seconds {}']);
  });

  it('lets requests get lost as long as enough are answered', async () => {
    expect(await said(run(['silence', 'silence', 1]))).to.equal('up: 1 of 3 answered, the fastest in 1.0 ms');
    expect(await said(run(['silence', 1, 1], { need: 2 }))).to.equal('up: 2 of 3 answered, the fastest in 1.0 ms');
  });

  it('is down when too few are answered', async () => {
    expect(await said(run([]))).to.equal('down: 0 of 3 pings answered, 1 needed');
    expect(await said(run([1, 'silence', 'silence'], { need: 2 }))).to.equal(
      'down: 1 of 3 pings answered, 2 needed, the fastest in 1.0 ms',
    );
  });

  it('is down as soon as too few can be answered, with what ICMP said', async () => {
    const round = run(['EHOSTUNREACH', 'EHOSTUNREACH', 'EHOSTUNREACH'], { timeout: 5 });
    expect(await said(round)).to.equal('down: 0 of 3 pings answered, 1 needed: ping: EHOSTUNREACH: said the test');
    const needy = run(['EHOSTUNREACH'], { timeout: 5, need: 3 });
    expect(await said(needy)).to.contain('down: 0 of 1 pings answered, 3 needed');
  });

  it('counts a late reply as none', async () => {
    expect(await said(run([20, 20, 20], { 'max-latency': 0.01 }))).to.equal(
      'down: 0 of 3 pings answered, 1 needed, 3 later than 10 ms, the fastest in 20.0 ms',
    );
    expect(await said(run([20, 1], { 'max-latency': 0.01 }))).to.equal('up: 1 of 2 answered, the fastest in 1.0 ms');
  });

  it('does not call a server down for replies of which enough may be late by our own fault', async () => {
    const late = async (fates: readonly Fate[], lateMs: number, need = 1) =>
      (await said(run(fates, { 'max-latency': 0.01, timeout: 30, need }, lateMs))).split(':', 1)[0];
    expect(await late([20, 40, 60], 9)).to.equal('down');
    expect(await late([20, 40, 60], 10)).to.equal('unknown');
    expect(await late([40, 40, 40], 29, 2)).to.equal('down');
    expect(await late([40, 40, 40], 30, 2)).to.equal('unknown');
    expect(await late(['EHOSTUNREACH', 'EHOSTUNREACH', 20], 1000, 2)).to.equal('down');
  });

  it('knows nothing when this host may not ping', async () => {
    expect(await said(run(['EACCES', 'EACCES', 'EACCES']))).to.equal('unknown: ping: EACCES: said the test');
  });

  it('sends as many octets with as many hops as it was told', async () => {
    const { bench, asked } = run([1], { bytes: 1472, ttl: 3 });
    await bench.result();
    expect(asked[0]).to.deep.include({ bytes: 1472, ttl: 3 });
  });

  it('refuses numbers that can not come about', () => {
    const refuse = (given: object) =>
      ping.refuse(withDefaults(ping, { ...given }) as never).map(({ option, why }) => `${option}: ${why}`);
    expect(refuse({})).to.deep.equal([]);
    expect(refuse({ need: 4 })).to.deep.equal(['need: 4 replies can not come to 3 requests']);
    expect(refuse({ pause: 2 })).to.deep.equal([
      'pause: the last request would be sent after 4 seconds, at the end of the timeout',
    ]);
  });
});
