import { expect } from 'chai';
import { Gate } from '../../../src/health/gate.ts';
import { Knife } from '../../../src/lib/cut.ts';
import { settle } from '../../support/fake-world.ts';

describe('Gate', () => {
  it('lets in no more than its limit, and the rest in the order in which they came', async () => {
    const gate = new Gate(2);
    const inside: number[] = [];
    const ways: (() => void)[] = [];
    for (let i = 0; i < 5; i++) {
      void gate.enter(new Knife()).then(() => {
        inside.push(i);
        ways.push(() => gate.leave());
      });
    }
    await settle();
    expect(inside).to.deep.equal([0, 1]);
    ways[1]?.();
    await settle();
    expect(inside).to.deep.equal([0, 1, 2]);
    for (let i = 0; i < 5; i++) {
      if (i !== 1) ways[i]?.();
      await settle();
    }
    expect(inside).to.deep.equal([0, 1, 2, 3, 4]);
    expect([gate.inside, gate.waiting]).to.deep.equal([0, 0]);
  });

  it('forgets who is cut while waiting', async () => {
    const gate = new Gate(1);
    expect([gate.enterAtOnce(new Knife()), gate.enterAtOnce(new Knife())]).to.deep.equal([true, false]);
    const knife = new Knife();
    const waiting = gate.enter(knife).then(
      () => 'entered',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
    );
    knife.abort();
    expect(await waiting).to.equal('ECANCELED');
    gate.leave();
    expect([gate.inside, gate.waiting]).to.deep.equal([0, 0]);
  });
});
