// One address is in use by one server at a time, whatever becomes of names in DNS. What a resolver and the pools make of it
// is told to the runner here in their place: no two hosts have one candidate at a time.

import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import { lab } from '../../support/health-lab.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';
import { serviceConfig } from '../../support/service-config.ts';

const ONE = '10.0.0.1';
const TWO = '10.0.0.2';
const THREE = '10.0.0.3';

/** Two servers that are up, each at its address, and where all are by the facts. */
async function two(hosts: readonly string[] = ['cp1', 'cp2']) {
  const it = lab();
  const { module, script } = scriptedPoll('A');
  const dead = new Set<string>();
  script.auto = ({ address }) => (dead.has(address) ? { is: 'down', reason: 'refused' } : { is: 'up' });
  it.configure([module], { hosts });
  const tell = (host: string, address: string | null) => it.runner.candidate('text_80', host, address);
  tell('cp1', ONE);
  tell('cp2', TWO);
  await it.fake.clock.advance(1000);
  const where = () => {
    const at = new Map<string, string | null>();
    for (const fact of it.facts) if (fact.is === 'address') at.set(fact.host, fact.address);
    return Object.fromEntries(at);
  };
  const health = () => {
    const known = new Map<string, string | null>();
    for (const fact of it.facts) if (fact.is === 'health') known.set(fact.host, fact.health?.is ?? null);
    return Object.fromEntries(known);
  };
  return { ...it, module, dead, tell, where, health };
}

describe('An address', () => {
  it('that a host has kept goes to another one when that one is up there, in the same moment', async () => {
    const { fake, facts, tell, where, health } = await two(['cp1', 'cp2', 'cp3']);
    tell('cp2', null);
    await fake.clock.advance(60_000);
    expect(where(), 'nobody else wants it').to.deep.equal({ cp1: ONE, cp2: TWO });
    const said = facts.length;
    tell('cp3', TWO);
    expect(where(), 'before it was checked').to.deep.equal({ cp1: ONE, cp2: TWO });
    await fake.clock.advance(1000);
    expect(where()).to.deep.equal({ cp1: ONE, cp2: null, cp3: TWO });
    expect(health()).to.deep.equal({ cp1: 'up', cp2: null, cp3: 'up' });
    const times = facts.slice(said).filter((fact): fact is Fact & { is: 'address' } => fact.is === 'address');
    expect(times.map(({ host }) => host)).to.deep.equal(['cp2', 'cp3']);
    expect(fake.lines).to.include(`[text_80] WARN: Server cp2 has no address any more: ${TWO} is the address of cp3`);
  });

  it('that is not served goes to who is to have it at once', async () => {
    const { fake, dead, tell, where } = await two(['cp1', 'cp2', 'cp3']);
    dead.add(TWO);
    await fake.clock.advance(15_000);
    tell('cp2', null);
    tell('cp3', TWO);
    expect(where()).to.deep.equal({ cp1: ONE, cp2: null, cp3: TWO });
  });

  it('is taken by who waits for it when its server fails, moves away or leaves the list', async () => {
    for (const how of ['fails', 'moves', 'leaves']) {
      const it = lab();
      const { module, script } = scriptedPoll('A');
      const dead = new Set<string>();
      // For cp3 it is never up.
      script.auto = ({ host, address }) =>
        dead.has(address) || host === 'cp3' ? { is: 'down', reason: 'refused' } : { is: 'up' };
      it.configure([module], { hosts: ['cp1', 'cp2', 'cp3'] });
      const tell = (host: string, address: string | null) => it.runner.candidate('text_80', host, address);
      tell('cp1', ONE);
      tell('cp2', TWO);
      await it.fake.clock.advance(1000);
      tell('cp2', null);
      tell('cp3', TWO);
      await it.fake.clock.advance(1000);
      const at = (host: string) => it.runner.status().find((one) => one.host === host && !one.candidate)?.address;
      expect([at('cp2'), at('cp3')], how).to.deep.equal([TWO, undefined]);
      if (how === 'fails') dead.add(TWO);
      if (how === 'moves') tell('cp2', THREE);
      if (how === 'leaves') it.configure([module], { hosts: ['cp1', 'cp3'] });
      if (how !== 'leaves') await it.fake.clock.advance(15_000);
      expect(at('cp3'), how).to.equal(TWO);
      expect(at('cp2'), how).to.equal(how === 'moves' ? THREE : undefined);
    }
  });

  it('is never that of two, when names change places', async () => {
    for (const gone of [[], [ONE], [TWO], [ONE, TWO]]) {
      const { fake, dead, tell, where } = await two();
      for (const address of gone) dead.add(address);
      await fake.clock.advance(15_000);
      // As the pools tell it: cp1 may not have the address of cp2 before that one moves.
      tell('cp1', null);
      tell('cp2', ONE);
      tell('cp1', TWO);
      for (let i = 0; i < 300; i++) {
        await fake.clock.advance(100);
        expect(new Set(Object.values(where())).size, `${gone.join()} dead`).to.equal(2);
      }
      expect(where(), `${gone.join()} dead`).to.deep.equal({ cp1: TWO, cp2: ONE });
    }
  });

  it('goes round among three', async () => {
    const { fake, tell, where } = await two(['cp1', 'cp2', 'cp3']);
    tell('cp3', THREE);
    await fake.clock.advance(1000);
    tell('cp1', null);
    tell('cp2', null);
    tell('cp1', TWO);
    tell('cp3', ONE);
    tell('cp2', THREE);
    await fake.clock.advance(30_000);
    expect(where()).to.deep.equal({ cp1: TWO, cp2: THREE, cp3: ONE });
  });

  it('that is being tried out is given up when DNS says nothing more of it, or gives it to another host', async () => {
    const { fake, dead, runner, tell, where } = await two();
    dead.add(THREE);
    tell('cp1', THREE);
    await fake.clock.advance(1000);
    expect(runner.status().filter(({ candidate }) => candidate)).to.have.length(1);
    tell('cp1', null);
    dead.delete(THREE);
    await fake.clock.advance(15_000);
    expect(where()).to.deep.equal({ cp1: ONE, cp2: TWO });
    dead.add(THREE);
    tell('cp1', THREE);
    tell('cp2', THREE);
    dead.delete(THREE);
    await fake.clock.advance(15_000);
    expect(where()).to.deep.equal({ cp1: ONE, cp2: THREE });
  });

  it('that becomes the VIP is no server of it any more, and not tried out either', async () => {
    const { fake, runner, module, dead, tell, where, health } = await two();
    dead.add(THREE);
    tell('cp1', THREE);
    await fake.clock.advance(1000);
    const hosts = ['cp1', 'cp2'].map((host) => ({ host, weight: 10, enabled: true }));
    const config = serviceConfig({ name: 'text_80', monitorsNeeded: 1 });
    const configure = (vip: string) =>
      runner.configure([{ config: { ...config, vip }, monitors: [{ module, options: {} }], hosts }]);
    configure(TWO);
    expect(where()).to.deep.equal({ cp1: ONE, cp2: null });
    expect(health().cp2).to.equal(null);
    expect(fake.lines).to.include(`[text_80] WARN: Server cp2 has no address any more: ${TWO} is the VIP`);
    configure(THREE);
    dead.delete(THREE);
    await fake.clock.advance(15_000);
    expect(where()).to.deep.equal({ cp1: ONE, cp2: null });
  });
});
