import { expect } from 'chai';
import { Gate, type Queue } from '../../../src/health/gate.ts';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { settle } from '../../support/fake-world.ts';

describe('Gate', () => {
  const entering = (queue: Queue, cut = new Knife()) =>
    queue.enter(cut).then(
      () => 'entered',
      (error: unknown) => (error instanceof SystemError ? error.code : error),
    );

  it('lets in no more than its limit, and the rest in the order in which they came', async () => {
    const gate = new Gate(2);
    const queue = gate.queue();
    const inside: number[] = [];
    for (let i = 0; i < 5; i++) void queue.enter(new Knife()).then(() => inside.push(i));
    await settle();
    expect(inside).to.deep.equal([0, 1]);
    for (const expected of [
      [0, 1, 2],
      [0, 1, 2, 3],
      [0, 1, 2, 3, 4],
    ]) {
      queue.leave();
      await settle();
      expect(inside).to.deep.equal(expected);
    }
    for (let i = 0; i < 2; i++) queue.leave();
    expect([gate.inside, gate.waiting]).to.deep.equal([0, 0]);
  });

  it('forgets who is cut while waiting', async () => {
    const gate = new Gate(1);
    const queue = gate.queue();
    expect([queue.enterAtOnce(new Knife()), queue.enterAtOnce(new Knife())]).to.deep.equal([true, false]);
    const knife = new Knife();
    const waiting = entering(queue, knife);
    expect(gate.waiting).to.equal(1);
    knife.abort();
    expect(await waiting).to.equal('ECANCELED');
    queue.leave();
    expect([gate.inside, gate.waiting]).to.deep.equal([0, 0]);
  });

  it('leaves a quarter of the room to others, however many of one wait', async () => {
    const gate = new Gate(100);
    const [stuck, well] = [gate.queue(), gate.queue()];
    for (let i = 0; i < 1000; i++) void entering(stuck);
    expect([gate.inside, gate.waiting]).to.deep.equal([75, 925]);
    expect(well.enterAtOnce(new Knife())).to.equal(true);
    well.leave();
    expect(gate.inside).to.equal(75);
  });

  it('gives each of those that are stuck the same share in the end, and leaves as much as a third of one free', () => {
    const gate = new Gate(160);
    const stuck = Array.from({ length: 5 }, () => gate.queue());
    const inside = stuck.map((queue) => {
      const held = { queue, count: 0 };
      while (queue.enterAtOnce(new Knife())) held.count++;
      return held;
    });
    expect(inside.map(({ count }) => count)).to.deep.equal([120, 30, 8, 2, 0]);
    // Whoever leaves comes again, if there is room.
    for (let turn = 0; turn < 2000; turn++) {
      const held = inside[turn % 5];
      if (held !== undefined && held.count > 0) {
        held.queue.leave();
        held.count--;
      }
      for (const other of inside) if (other.queue.enterAtOnce(new Knife())) other.count++;
      expect(gate.inside).to.be.at.most(160);
    }
    for (const { count } of inside) expect(count).to.be.within(29, 31);
  });

  it('gives what becomes free to all queues in turns', async () => {
    const gate = new Gate(1);
    const holder = gate.queue();
    expect(holder.enterAtOnce(new Knife())).to.equal(true);
    const order: string[] = [];
    const queues = { a: gate.queue(), b: gate.queue() };
    for (const name of ['a', 'a', 'a', 'b', 'b'] as const) {
      void queues[name].enter(new Knife()).then(() => {
        order.push(name);
        queues[name].leave();
      });
    }
    holder.leave();
    await settle();
    expect(order).to.deep.equal(['a', 'b', 'a', 'b', 'a']);
    expect([gate.inside, gate.waiting]).to.deep.equal([0, 0]);
  });
});
