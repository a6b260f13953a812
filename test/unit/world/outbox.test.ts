import { expect } from 'chai';
import type { BfdChange } from '../../../src/bfd/types.ts';
import { type Letter, Outbox } from '../../../src/world/real/outbox.ts';

describe("The outbox of BFD's thread", () => {
  const change = (name: string, was: BfdChange['state'], state: BfdChange['state']): Letter => ({
    is: 'changed',
    change: { name, was, state, diagnostic: '', remoteDiagnostic: '', remoteAdminDown: false },
  });
  const line: Letter = { is: 'log', record: { level: 'info', system: 'bfd', text: 'hello' } };

  it('posts what is told, in order', () => {
    const posted: Letter[] = [];
    const outbox = new Outbox(3, (letter) => posted.push(letter));
    const told = [line, change('cr1', 'Init', 'Up'), line];
    for (const letter of told) outbox.tell(letter);
    expect(posted).to.deep.equal(told);
    expect(outbox.read()).to.equal(0);
    expect(posted).to.have.length(3);
  });

  it('leaves lines out while nobody reads, and tells how many', () => {
    const posted: Letter[] = [];
    const outbox = new Outbox(2, (letter) => posted.push(letter));
    for (let i = 0; i < 5; i++) outbox.tell(line);
    expect(posted).to.have.length(2);
    expect(outbox.read()).to.equal(3);
    expect(outbox.read()).to.equal(0);
  });

  it('keeps what each session has come to, for when somebody reads again', () => {
    const posted: Letter[] = [];
    const outbox = new Outbox(1, (letter) => posted.push(letter));
    outbox.tell(line);
    outbox.tell(change('cr1', 'Up', 'Down'));
    outbox.tell(change('cr1', 'Down', 'Init'));
    outbox.tell(change('cr2', 'Init', 'Up'));
    expect(posted).to.deep.equal([line]);
    outbox.read();
    // Only one at a time: the other one waits for the next reading.
    expect(posted.slice(1)).to.deep.equal([change('cr1', 'Up', 'Init')]);
    outbox.read();
    expect(posted.slice(2)).to.deep.equal([change('cr2', 'Init', 'Up')]);
  });
});
