import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import { type MonitorToRun, HealthRunner } from '../../../src/health/runner.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { scriptedPoll, scriptedWatch } from '../../support/scripted-monitor.ts';
import { AS_ALWAYS, serviceConfig } from '../../support/service-config.ts';

interface Wanted {
  readonly fall?: number;
  readonly port?: number;
  readonly slowSeconds?: number;
}

/** Services that check host cp1 at 10.0.0.9 with the same monitor. */
function lab(monitor: MonitorToRun) {
  const fake = new FakeWorld();
  const facts: Fact[] = [];
  const runner = new HealthRunner(
    fake.world,
    (fact) => facts.push(fact),
    () => 'enabled/up/pooled',
  );
  const configure = (services: Readonly<Record<string, Wanted & Partial<MonitorToRun>>>) => {
    runner.configure(
      Object.entries(services).map(([name, { fall = 1, port = 80, slowSeconds, ...own }]) => {
        const wanted = { ...monitor, ...own };
        const pace = { ...AS_ALWAYS, slowIntervalSeconds: slowSeconds ?? null, slowAfterSeconds: 100 };
        const monitors = [{ name: wanted.module.name, options: wanted.options, pace, via: 'server' as const }];
        return {
          config: { ...serviceConfig({ name, fall, port, realPort: port, monitors }), monitorsNeeded: 1 },
          monitors: [wanted],
          hosts: [{ host: 'cp1', weight: 10, enabled: true }],
        };
      }),
    );
    for (const name of Object.keys(services)) runner.candidate(name, 'cp1', '10.0.0.9');
  };
  const told = (service: string) =>
    facts.flatMap((fact) => (fact.is === 'health' && fact.service === service ? [fact.health?.is ?? 'none'] : []));
  return { fake, runner, configure, told };
}

function sharedPoll() {
  const { module, ...rest } = scriptedPoll('A', { interval: 10, timeout: 5 });
  return { module: { ...module, asks: 'endpoint' as const }, ...rest };
}

describe('A monitor that asks the endpoint alone', () => {
  it('asks once for all services, each of which counts for itself', async () => {
    const { module, asked, script } = sharedPoll();
    const { fake, configure, told } = lab({ module, options: {} });
    configure({ text: {}, tls: { fall: 3 } });
    await fake.clock.advance(5000);
    expect([told('text'), told('tls')]).to.deep.equal([['up'], ['up']]);
    script.auto = () => ({ is: 'down', reason: 'no' });
    const before = asked.length;
    await fake.clock.advance(10_000);
    expect([told('text'), told('tls')]).to.deep.equal([['up', 'down'], ['up']]);
    await fake.clock.advance(20_000);
    expect([told('text'), told('tls')]).to.deep.equal([
      ['up', 'down'],
      ['up', 'down'],
    ]);
    expect([asked.length - before, script.created]).to.deep.equal([3, 1]);
  });

  it('tells a service that joins the last result at once, asking nobody, while it is fresh', async () => {
    const { module, asked } = sharedPoll();
    const { fake, configure, told } = lab({ module, options: {} });
    configure({ text: {} });
    await fake.clock.advance(5000);
    const before = asked.length;
    configure({ text: {}, tls: {} });
    await fake.clock.advance(1);
    expect(told('tls')).to.deep.equal(['up']);
    expect(asked).to.have.length(before);
  });

  it('does not let a service that joins wait for the slow pace of another', async () => {
    const { module, asked, script } = sharedPoll();
    const { fake, configure, told } = lab({ module, options: {} });
    script.auto = () => ({ is: 'down', reason: 'no' });
    configure({ text: { slowSeconds: 600 } });
    await fake.clock.advance(300_000);
    const before = asked.length;
    configure({ text: { slowSeconds: 600 }, tls: {} });
    await fake.clock.advance(1);
    expect(told('tls')).to.deep.equal(['down']);
    expect(asked).to.have.length(before + 1);
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(12_000);
    expect([told('text').at(-1), told('tls').at(-1)]).to.deep.equal(['up', 'up']);
  });

  it('goes on when one service leaves or asks something else, and ends with the last one', async () => {
    const { module, asked, script } = sharedPoll();
    const { fake, runner, configure, told } = lab({ module, options: {} });
    configure({ text: {}, tls: {} });
    await fake.clock.advance(5000);
    configure({ tls: {} });
    configure({ tls: {}, text: { options: { other: 1 } } });
    await fake.clock.advance(5000);
    expect(script.created).to.equal(2);
    expect(runner.status().map(({ service, results }) => `${service} ${results.up > 0}`)).to.have.members([
      'tls true',
      'text true',
    ]);
    configure({});
    const before = asked.length;
    await fake.clock.advance(60_000);
    expect(asked).to.have.length(before);
    configure({ text: {} });
    await fake.clock.advance(1000);
    expect([script.created, told('text').at(-1)]).to.deep.equal([3, 'up']);
  });

  it('keeps asking, and the verdict, through a reload that changes something else', async () => {
    const { module, asked } = sharedPoll();
    const { fake, configure, told } = lab({ module, options: {} });
    configure({ text: {}, tls: {} });
    await fake.clock.advance(5000);
    const before = asked.length;
    for (let i = 0; i < 5; i++) configure({ text: { fall: i + 1 }, tls: {} });
    expect(told('text')).to.deep.equal(['up']);
    await fake.clock.advance(4000);
    expect(asked.length - before).to.be.at.most(1);
  });

  it('asks apart what differs: the port, the options, or a monitor that looks at more than the endpoint', async () => {
    const { module, asked } = sharedPoll();
    const { fake, configure } = lab({ module, options: {} });
    configure({ text: {}, tls: { port: 443 }, other: { options: { a: 1 } } });
    await fake.clock.advance(1000);
    expect(asked.length).to.be.at.least(3);
    const alone = scriptedPoll('B');
    configure({ text: alone, tls: alone, one: { module: alone.module }, two: { module: alone.module } });
    await fake.clock.advance(1000);
    expect(new Set(alone.asked.map(({ target }) => target.service))).to.deep.equal(
      new Set(['text', 'tls', 'one', 'two']),
    );
  });

  it('notes for every service what the monitor observes', async () => {
    const { module, asked } = sharedPoll();
    const { fake, runner, configure } = lab({ module, options: {} });
    configure({ text: {}, tls: {} });
    await fake.clock.advance(1000);
    const [first] = asked;
    if (first === undefined) throw new Error('nobody asked');
    first.tools.count(first.target, 'things_total');
    const labels = runner.status().flatMap(({ observations }) => observations.map((one) => one.labels['service']));
    expect(labels).to.deep.equal(['text', 'tls']);
  });

  it('holds one connection for all, and tells whoever joins how it is', async () => {
    const { module, watched } = scriptedWatch('W');
    const { fake, configure, told } = lab({ module: { ...module, asks: 'endpoint' }, options: {} });
    configure({ text: {} });
    await fake.clock.advance(1000);
    watched[0]?.report({ is: 'up' });
    await fake.clock.advance(3_600_000);
    configure({ text: {}, tls: {} });
    await fake.clock.advance(1);
    expect([watched.length, told('tls')]).to.deep.equal([1, ['up']]);
    watched[0]?.end({ is: 'down', reason: 'lost' });
    await fake.clock.advance(1);
    expect([told('text').at(-1), told('tls').at(-1)]).to.deep.equal(['down', 'down']);
  });
});
