// The reconciler against a kernel in memory, in virtual time: what it writes and in which order, what it tells the decision,
// and what it does when the kernel refuses, lies, hangs, or is changed by somebody else.

import { expect } from 'chai';
import type { Desired } from '../../../src/decision/decision.ts';
import type { Fact } from '../../../src/decision/facts.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { IpvsEntry } from '../../../src/ipvs/table.ts';
import { printOwnership } from '../../../src/reconcile/ownership.ts';
import { Reconciler } from '../../../src/reconcile/reconciler.ts';
import { destination, onLo } from '../../support/decision-scene.ts';
import { FakeKernel } from '../../support/fake-kernel.ts';
import { settle } from '../../support/fake-world.ts';

type KernelFact = Fact & { is: 'kernel' };

const PERIOD_MS = 5_000;
const LIMIT_MS = 10_000;
const SETTINGS = { stateDirectory: '/state', periodMs: PERIOD_MS, limitMs: LIMIT_MS };

function entry(vip: string, servers: readonly number[], weight = 10, scheduler = 'wrr'): IpvsEntry {
  const list = servers.map((number) => destination(`10.9.0.${number}`, 80, weight));
  const service = {
    key: `tcp ${vip}:80`,
    protocol: 'tcp' as const,
    address: vip,
    port: 80,
    fwmark: 0,
    scheduler,
    flags: 0,
    persistenceSeconds: 0,
    persistencePrefix: 32,
  };
  return { service, destinations: new Map(list.map((one) => [one.key, one])) };
}

function desired(entries: readonly IpvsEntry[], is: Partial<Desired> = {}): Desired {
  return {
    ipvs: new Map(entries.map((one) => [one.service.key, one])),
    keep: new Set(),
    vips: new Set(entries.map(({ service }) => service.address)),
    routedVips: new Map(),
    keepVips: new Set(),
    keepAll: false,
    routes: new Map(),
    ...is,
  };
}

const ONE = entry('10.0.0.1', [1, 2]);
const TWO = entry('10.0.0.2', [1]);

class Bench {
  readonly kernel = new FakeKernel();
  readonly facts: KernelFact[] = [];
  readonly reconciler: Reconciler;

  constructor() {
    this.reconciler = new Reconciler(this.kernel.world, {
      emit: (fact) => {
        if (fact.is === 'kernel') this.facts.push(fact);
        if (fact.is === 'writing')
          this.kernel.calls.push(`about to write ${[...fact.vips, ...fact.services].join(', ')}`);
      },
      whereToEdit: (key) => (key === 'tcp 10.0.0.1:80' ? 'file:///pools/text' : null),
    });
  }

  /** Started, told what is wanted, and come to rest. */
  async running(wanted: Desired): Promise<this> {
    await this.start();
    this.reconciler.want(wanted);
    await this.pass(0);
    this.forget();
    return this;
  }

  async start(): Promise<void> {
    this.reconciler.start(SETTINGS);
    await this.pass(0);
  }

  forget(): void {
    this.kernel.calls.length = 0;
    this.facts.length = 0;
    this.kernel.fake.logged.length = 0;
  }

  async pass(ms: number): Promise<void> {
    await this.kernel.fake.clock.advance(ms);
    for (let i = 0; i < 5; i++) await settle();
  }

  put(one: IpvsEntry): void {
    this.kernel.table.set(one.service.key, one);
    this.kernel.addresses.set(one.service.address, onLo(one.service.address));
  }

  own(services: readonly string[], vips: readonly string[], kernelId = 'boot 1'): void {
    this.kernel.fake.write(
      '/state/ownership.json',
      printOwnership(kernelId, { services: new Set(services), vips: new Set(vips) }),
    );
  }

  get owned(): unknown {
    return JSON.parse(this.kernel.fake.text('/state/ownership.json'));
  }

  get last(): KernelFact {
    const fact = this.facts.at(-1);
    if (fact === undefined) throw new Error('nothing was told');
    return fact;
  }

  lines(level: string): readonly string[] {
    return this.kernel.fake.logged.filter((record) => record.level === level).map(({ text }) => text);
  }
}

describe('reconcile/reconciler', () => {
  it('reads first, tells what it read, and writes nothing before anything is wanted', async () => {
    const bench = new Bench();
    bench.put(ONE);
    await bench.start();
    await bench.pass(3 * PERIOD_MS);
    expect(bench.facts[0]).to.deep.include({ whole: true, error: null, denied: false });
    expect([...(bench.facts[0]?.ipvs.keys() ?? [])]).to.deep.equal(['tcp 10.0.0.1:80']);
    expect(bench.kernel.writes).to.deep.equal([]);
    expect(bench.facts).to.have.length(4);
  });

  it('says of which services a reading is what was wanted when it began, though something else is wanted by now', async () => {
    const bench = await new Bench().running(desired([ONE, TWO]));
    const less = entry('10.0.0.1', [1]);
    bench.kernel.fate = ({ do: what }) => (what === 'delete-destination' ? 'hang' : 'done');
    const begun = bench.kernel.world.clock.now();
    bench.reconciler.want(desired([less, TWO]));
    await bench.pass(700);
    bench.reconciler.want(desired([ONE]));
    bench.kernel.release();
    await bench.pass(0);
    const told = bench.facts.find(({ met }) => met?.at === begun && met.services.has('tcp 10.0.0.1:80'));
    expect([...(told?.met?.services ?? [])]).to.deep.equal(['tcp 10.0.0.1:80', 'tcp 10.0.0.2:80']);
    expect([...(told?.ipvs.get('tcp 10.0.0.1:80')?.destinations.keys() ?? [])]).to.deep.equal(['10.9.0.1:80']);
    expect([...(bench.last.met?.services ?? [])]).to.deep.equal(['tcp 10.0.0.1:80']);
    expect(bench.last.met?.at).to.equal(begun + 700);
  });

  it('says what it is about to write, claims on disk, then makes the address, the service, its destinations, and reads them back', async () => {
    const bench = new Bench();
    await bench.start();
    bench.forget();
    bench.reconciler.want(desired([ONE]));
    await bench.pass(0);
    expect(bench.kernel.calls).to.deep.equal([
      'about to write 10.0.0.1, tcp 10.0.0.1:80',
      'claim',
      'add-address 10.0.0.1',
      'add-service tcp 10.0.0.1:80',
      'add-destination 10.9.0.1:80 10',
      'add-destination 10.9.0.2:80 10',
      'list tcp 10.0.0.1:80',
      'list addresses',
    ]);
    expect(bench.owned).to.deep.equal({ kernelId: 'boot 1', services: ['tcp 10.0.0.1:80'], vips: ['10.0.0.1'] });
    expect(bench.last).to.deep.include({ whole: false, error: null, denied: false });
    expect(bench.last.ipvs.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
    expect(bench.last.vips.has('10.0.0.1')).to.equal(true);
  });

  it('writes nothing to the kernel when the claim cannot be written', async () => {
    const bench = new Bench();
    const { world } = bench.kernel;
    const files = { ...world.files, replace: () => Promise.reject(new SystemError('ENOSPC', 'write')) };
    const reconciler = new Reconciler(
      { ...world, files },
      { emit: (fact) => void bench.facts.push(fact as KernelFact), whereToEdit: () => null },
    );
    reconciler.start(SETTINGS);
    reconciler.want(desired([ONE]));
    await bench.pass(60_000);
    expect(bench.kernel.table.size).to.equal(0);
    expect(bench.kernel.addresses.size).to.equal(0);
    expect(bench.last.error).to.contain('ENOSPC');
  });

  it('takes down the service first and the address last, both only if they are ours', async () => {
    const bench = await new Bench().running(desired([ONE, TWO]));
    bench.put(entry('10.0.0.77', [7]));
    bench.reconciler.want(desired([ONE]));
    await bench.pass(PERIOD_MS);
    expect(bench.kernel.writes).to.deep.equal(['delete-service tcp 10.0.0.2:80', 'delete-address 10.0.0.2', 'claim']);
    expect(bench.owned).to.deep.equal({ kernelId: 'boot 1', services: ['tcp 10.0.0.1:80'], vips: ['10.0.0.1'] });
    expect([...bench.kernel.table.keys()]).to.deep.equal(['tcp 10.0.0.1:80', 'tcp 10.0.0.77:80']);
    expect(bench.reconciler.status().foreign).to.deep.equal(['tcp 10.0.0.77:80']);
  });

  it('adopts what configuration names and the kernel has, without a write to the kernel; a found VIP stays not ours', async () => {
    const bench = new Bench();
    bench.put(ONE);
    await bench.start();
    bench.reconciler.want(desired([ONE]));
    await bench.pass(0);
    expect(bench.kernel.writes).to.deep.equal(['claim']);
    expect(bench.owned).to.deep.equal({ kernelId: 'boot 1', services: ['tcp 10.0.0.1:80'], vips: [] });
    expect(bench.lines('info')).to.deep.equal(['Adopted tcp 10.0.0.1:80 from the kernel']);
    bench.reconciler.want(desired([]));
    await bench.pass(0);
    expect(bench.kernel.table.size).to.equal(0);
    expect([...bench.kernel.addresses.keys()]).to.deep.equal(['10.0.0.1']);
  });

  it('takes away what an earlier life of the same boot left, and nothing of another boot', async () => {
    for (const [kernelId, left] of [
      ['boot 1', []],
      ['boot 0', ['tcp 10.0.0.2:80']],
    ] as const) {
      const bench = new Bench();
      bench.put(TWO);
      bench.own(['tcp 10.0.0.2:80'], ['10.0.0.2'], kernelId);
      await bench.running(desired([]));
      expect([...bench.kernel.table.keys()], kernelId).to.deep.equal(left);
    }
  });

  it('with garbage on disk says so, owns nothing, and goes on', async () => {
    const bench = new Bench();
    bench.put(TWO);
    bench.kernel.fake.write('/state/ownership.json', '{"kernelId":');
    await bench.start();
    bench.reconciler.want(desired([ONE]));
    await bench.pass(0);
    expect(bench.lines('warn').join()).to.contain('/state/ownership.json is not an ownership record');
    expect([...bench.kernel.table.keys()].sort()).to.deep.equal(['tcp 10.0.0.1:80', 'tcp 10.0.0.2:80']);
  });

  it('writes its record again when it was lost', async () => {
    const bench = await new Bench().running(desired([ONE]));
    bench.kernel.fake.disk.clear();
    await bench.pass(2 * PERIOD_MS);
    expect(bench.owned).to.deep.include({ services: ['tcp 10.0.0.1:80'] });
    expect(bench.kernel.writes).to.deep.equal(['claim']);
  });

  it('goes on reading the kernel while nobody answers whether its record is still there, and asks once', async () => {
    const bench = new Bench();
    const { world } = bench.kernel;
    let asked = 0;
    const stat = () => {
      asked++;
      return new Promise<never>(() => {});
    };
    const reconciler = new Reconciler(
      { ...world, files: { ...world.files, stat } },
      { emit: (fact) => void (fact.is === 'kernel' && bench.facts.push(fact)), whereToEdit: () => null },
    );
    reconciler.start(SETTINGS);
    reconciler.want(desired([ONE]));
    await bench.pass(0);
    bench.facts.length = 0;
    await bench.pass(5 * PERIOD_MS);
    expect(bench.facts).to.have.length(5);
    expect(asked).to.equal(1);
  });

  it('gives up a claim to what is neither wanted nor there: whoever makes it again owns it', async () => {
    const bench = await new Bench().running(desired([ONE, TWO]));
    bench.kernel.table.delete('tcp 10.0.0.2:80');
    bench.kernel.addresses.delete('10.0.0.2');
    bench.reconciler.want(desired([ONE]));
    await bench.pass(2 * PERIOD_MS);
    bench.put(TWO);
    await bench.pass(4 * PERIOD_MS);
    expect(bench.kernel.table.has('tcp 10.0.0.2:80')).to.equal(true);
    expect(bench.kernel.addresses.has('10.0.0.2')).to.equal(true);
  });

  it('writes nothing and claims nothing while nothing changed, and tells at every period that it looked', async () => {
    const bench = await new Bench().running(desired([ONE]));
    bench.reconciler.want(desired([ONE], { routes: new Map() }));
    await bench.pass(10 * PERIOD_MS);
    expect(bench.kernel.writes).to.deep.equal([]);
    expect(bench.facts).to.have.length(10);
    for (const fact of bench.facts) expect(fact).to.deep.include({ ipvs: new Map(), error: null });
  });

  it('writes only the difference', async () => {
    const bench = await new Bench().running(desired([ONE, TWO]));
    bench.reconciler.want(desired([entry('10.0.0.1', [1, 3]), TWO]));
    await bench.pass(0);
    expect(bench.kernel.calls).to.deep.equal([
      'about to write tcp 10.0.0.1:80',
      'add-destination 10.9.0.3:80 10',
      'delete-destination 10.9.0.2:80 10',
      'list tcp 10.0.0.1:80',
      'list addresses',
    ]);
    expect([...bench.last.ipvs.keys()]).to.deep.equal(['tcp 10.0.0.1:80']);
  });

  it('does not believe a kernel that says done and did nothing: it reads, says so, and tries again', async () => {
    const bench = new Bench();
    await bench.start();
    bench.kernel.fate = (op) => ('destination' in op ? 'lost' : 'done');
    bench.reconciler.want(desired([ONE]));
    await bench.pass(0);
    expect(bench.last.error).to.contain('read back differs from what was written');
    expect(bench.last.denied).to.equal(false);
    bench.kernel.fate = () => 'done';
    await bench.pass(1000);
    expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
    expect(bench.last.error).to.equal(null);
    expect(bench.lines('info').at(-1)).to.equal('Kernel tables are as wanted again');
  });

  for (const code of ['EEXIST', 'ESRCH', 'ENOBUFS']) {
    it(`after ${code} does what was not refused, looks at everything afresh, and has it right in a second`, async () => {
      const bench = new Bench();
      await bench.start();
      let refusals = 1;
      bench.kernel.fate = (op) =>
        'service' in op && op.service.key === 'tcp 10.0.0.1:80' && refusals-- > 0
          ? new SystemError(code, 'add')
          : 'done';
      bench.reconciler.want(desired([ONE, TWO]));
      await bench.pass(0);
      expect(bench.kernel.table.get('tcp 10.0.0.2:80')).to.deep.equal(TWO);
      await bench.pass(1000);
      expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
      expect(bench.reconciler.status().lastError).to.equal(null);
    });
  }

  it('is right in the end when somebody else was faster with the same service', async () => {
    const bench = new Bench();
    await bench.start();
    bench.put(entry('10.0.0.1', [1, 9], 3));
    bench.reconciler.want(desired([ONE]));
    await bench.pass(1000);
    expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
  });

  describe('when writes are refused for good (EPERM)', () => {
    it('says denied, and goes on saying so for as long as there is something to write', async () => {
      const bench = await new Bench().running(desired([ONE]));
      bench.kernel.fate = () => new SystemError('EPERM', 'write');
      bench.kernel.table.delete('tcp 10.0.0.1:80');
      await bench.pass(PERIOD_MS);
      const first = bench.facts.findIndex(({ denied }) => denied);
      expect(first).to.be.greaterThan(-1);
      await bench.pass(60_000);
      expect(bench.facts.slice(first).every(({ denied, error }) => denied && error !== null)).to.equal(true);
      expect(bench.facts.length).to.be.greaterThan(first + 10);
    });

    it('takes it back when a write succeeds, and when there is nothing left to write', async () => {
      for (const end of ['allowed', 'repaired'] as const) {
        const bench = await new Bench().running(desired([ONE]));
        bench.kernel.fate = () => new SystemError('EPERM', 'write');
        bench.kernel.table.delete('tcp 10.0.0.1:80');
        await bench.pass(PERIOD_MS + 1000);
        expect(bench.last.denied).to.equal(true);
        if (end === 'allowed') bench.kernel.fate = () => 'done';
        else bench.put(ONE);
        await bench.pass(2 * PERIOD_MS);
        expect(bench.last, end).to.deep.include({ denied: false, error: null });
        expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
      }
    });

    it('finds a refusal also behind other errors', async () => {
      const bench = new Bench();
      await bench.start();
      bench.kernel.fate = (op) => new SystemError('service' in op ? 'EPERM' : 'EEXIST', 'write');
      bench.reconciler.want(desired([ONE]));
      await bench.pass(0);
      expect(bench.last.denied).to.equal(true);
    });

    it('says denied when even reading is refused', async () => {
      const bench = await new Bench().running(desired([ONE]));
      bench.kernel.reading = () => new SystemError('EPERM', 'list');
      await bench.pass(PERIOD_MS);
      expect(bench.last).to.deep.include({ denied: true });
      bench.kernel.reading = () => 'done';
      await bench.pass(PERIOD_MS);
      expect(bench.last).to.deep.include({ denied: false, error: null });
    });
  });

  it('gives up a call that hangs, tells it, and recovers', async () => {
    const bench = await new Bench().running(desired([ONE]));
    bench.kernel.reading = () => 'hang';
    await bench.pass(PERIOD_MS + LIMIT_MS);
    expect(bench.last.error).to.contain('ETIMEDOUT');
    expect(bench.last.denied).to.equal(false);
    bench.kernel.reading = () => 'done';
    await bench.pass(LIMIT_MS + PERIOD_MS);
    expect(bench.last.error).to.equal(null);
  });

  it('gives up a write that hangs, and finishes the work later', async () => {
    const bench = new Bench();
    await bench.start();
    bench.kernel.fate = () => 'hang';
    bench.reconciler.want(desired([ONE]));
    await bench.pass(LIMIT_MS);
    expect(bench.last.error).to.contain('ETIMEDOUT');
    bench.kernel.fate = () => 'done';
    await bench.pass(LIMIT_MS);
    expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
  });

  it('believes no reading while a write that it gave up may still happen', async () => {
    const bench = await new Bench().running(desired([ONE]));
    bench.kernel.fate = () => 'hang';
    bench.reconciler.want(desired([]));
    await bench.pass(LIMIT_MS);
    expect(bench.last.error).to.contain('ETIMEDOUT');
    bench.kernel.fate = () => 'done';
    bench.reconciler.want(desired([ONE]));
    await bench.pass(3 * LIMIT_MS);
    expect(bench.kernel.table.get('tcp 10.0.0.1:80'), 'what was read').to.deep.equal(ONE);
    expect(bench.last.error).to.equal('an earlier write was given up and may still happen');
    bench.kernel.release();
    await bench.pass(PERIOD_MS);
    expect(bench.kernel.table.get('tcp 10.0.0.1:80'), 'repaired after the late write').to.deep.equal(ONE);
    expect(bench.last.error).to.equal(null);
  });

  it('does not let one service that always fails keep others waiting, nor the readings', async () => {
    const bench = await new Bench().running(desired([ONE]));
    bench.kernel.fate = (op) =>
      'service' in op && op.service.key === 'tcp 10.0.0.2:80' ? new SystemError('EINVAL', 'add') : 'done';
    bench.reconciler.want(desired([ONE, TWO]));
    await bench.pass(60_000);
    bench.forget();
    bench.reconciler.want(desired([entry('10.0.0.1', [3]), TWO]));
    await bench.pass(0);
    expect([...(bench.kernel.table.get('tcp 10.0.0.1:80')?.destinations.keys() ?? [])]).to.deep.equal(['10.9.0.3:80']);
    bench.forget();
    await bench.pass(60_000);
    const whole = bench.facts.filter(({ error }) => error === null).map(({ at }) => at);
    expect(whole.length).to.be.within(60_000 / PERIOD_MS - 1, 2 * (60_000 / PERIOD_MS) + 2);
    for (const [i, at] of whole.entries()) expect(at - (whole[i - 1] ?? at)).to.be.below(LIMIT_MS);
    // Said once, not at every try.
    expect(bench.lines('error')).to.deep.equal([]);
  });

  describe('when somebody else changes what is ours', () => {
    it('repairs it within a period, and says what was found and where to edit', async () => {
      const bench = await new Bench().running(desired([ONE]));
      bench.put(entry('10.0.0.1', [1, 9], 10));
      await bench.pass(PERIOD_MS);
      expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
      expect(bench.lines('warn')).to.have.members([
        'Drift: destination 10.9.0.2:80 of tcp 10.0.0.1:80 is gone; repairing',
        'Drift: destination 10.9.0.9:80 of tcp 10.0.0.1:80 was added; repairing',
      ]);
      expect(bench.lines('info')).to.include('To make a change of tcp 10.0.0.1:80 stay, edit file:///pools/text');
      expect(bench.reconciler.status()).to.include({ repairs: 1 });
    });

    it('reads twice before it calls it drift, and writes what the second reading lacks', async () => {
      const bench = await new Bench().running(desired([ONE]));
      bench.kernel.table.delete('tcp 10.0.0.1:80');
      await bench.pass(PERIOD_MS);
      expect(bench.kernel.calls.slice(0, 6)).to.deep.equal([
        'list',
        'list addresses',
        'list',
        'list addresses',
        'about to write tcp 10.0.0.1:80',
        'add-service tcp 10.0.0.1:80',
      ]);
    });

    it('says and writes nothing when the second reading finds nothing', async () => {
      const bench = await new Bench().running(desired([ONE]));
      const here = bench.kernel.table.get('tcp 10.0.0.1:80') ?? ONE;
      let readings = 0;
      bench.kernel.onList = () => {
        if (++readings === 1) bench.kernel.table.delete('tcp 10.0.0.1:80');
        else bench.kernel.table.set('tcp 10.0.0.1:80', here);
      };
      await bench.pass(3 * PERIOD_MS);
      expect(bench.kernel.writes).to.deep.equal([]);
      expect(bench.lines('warn')).to.deep.equal([]);
      expect(bench.reconciler.status().repairs).to.equal(0);
    });

    it('leaves the repair when another wish comes between its two readings', async () => {
      const bench = await new Bench().running(desired([ONE]));
      const other = entry('10.0.0.1', [1, 2], 20);
      let readings = 0;
      bench.kernel.onList = () => {
        if (++readings === 1) bench.put(entry('10.0.0.1', [1]));
        if (readings === 2) bench.reconciler.want(desired([other]));
      };
      await bench.pass(PERIOD_MS);
      expect(bench.kernel.writes).to.deep.equal(['add-destination 10.9.0.2:80 20', 'set-destination 10.9.0.1:80 20']);
    });

    it('does not spin when no two readings agree', async () => {
      const bench = await new Bench().running(desired([ONE]));
      let readings = 0;
      bench.kernel.onList = () => {
        bench.kernel.table.set('tcp 10.0.0.1:80', entry('10.0.0.1', ++readings % 2 === 0 ? [1] : [2]));
      };
      await bench.pass(PERIOD_MS + 1000);
      expect(readings).to.be.within(4, 60);
    });

    it('repairs a lost address', async () => {
      const bench = await new Bench().running(desired([ONE]));
      bench.kernel.addresses.clear();
      await bench.pass(PERIOD_MS);
      expect(bench.kernel.addresses.has('10.0.0.1')).to.equal(true);
      expect(bench.lines('warn')).to.deep.equal(['Drift: address 10.0.0.1 is gone from lo; repairing']);
    });

    it('never touches what is foreign, not even when it appears later', async () => {
      const bench = await new Bench().running(desired([ONE]));
      const foreign = entry('10.0.0.77', [7]);
      bench.put(foreign);
      await bench.pass(4 * PERIOD_MS);
      expect(bench.kernel.table.get('tcp 10.0.0.77:80')).to.equal(foreign);
      expect(bench.kernel.addresses.has('10.0.0.77')).to.equal(true);
      expect(bench.kernel.writes).to.deep.equal([]);
    });

    it('backs off from a fight with an alarm, leaves everything else working, and comes back', async () => {
      const bench = await new Bench().running(desired([ONE, TWO]));
      let fighting = true;
      bench.kernel.onList = () => {
        if (fighting) bench.put(entry('10.0.0.1', [9]));
      };
      await bench.pass(7 * PERIOD_MS);
      expect(bench.lines('critical')).to.deep.equal([
        'Another writer keeps changing tcp 10.0.0.1:80: backing off before the next repair',
      ]);
      expect(bench.reconciler.status().fighting).to.equal(true);
      bench.reconciler.want(desired([ONE, entry('10.0.0.2', [5])]));
      await bench.pass(0);
      expect([...(bench.kernel.table.get('tcp 10.0.0.2:80')?.destinations.keys() ?? [])]).to.deep.equal([
        '10.9.0.5:80',
      ]);
      fighting = false;
      await bench.pass(70_000);
      expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
      expect(bench.reconciler.status().fighting).to.equal(false);
    });
  });

  it('stops without a last write: what stands in the kernel stays', async () => {
    const bench = await new Bench().running(desired([ONE]));
    await bench.reconciler.stop();
    expect(bench.kernel.writes).to.deep.equal([]);
    expect(bench.kernel.table.get('tcp 10.0.0.1:80')).to.deep.equal(ONE);
    expect(bench.kernel.addresses.has('10.0.0.1')).to.equal(true);
    await bench.pass(60_000);
    expect(bench.kernel.calls).to.deep.equal([]);
    expect(bench.kernel.fake.clock.pending).to.equal(0);
  });

  it('stops while a call hangs, and starts no write afterwards', async () => {
    const bench = await new Bench().running(desired([ONE]));
    bench.kernel.reading = () => 'hang';
    await bench.pass(PERIOD_MS);
    bench.reconciler.want(desired([TWO]));
    let stopped = false;
    void bench.reconciler.stop().then(() => {
      stopped = true;
    });
    await bench.pass(LIMIT_MS);
    expect(stopped).to.equal(true);
    expect(bench.kernel.writes).to.deep.equal([]);
  });
});
