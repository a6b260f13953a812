import { expect } from 'chai';
import fc from 'fast-check';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { targetsOf } from '../../../src/pools/dns.ts';
import { openSource } from '../../../src/pools/open.ts';
import { readEntries } from '../../../src/pools/parse.ts';
import type { Answer, Source } from '../../../src/pools/source.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { serviceConfig } from '../../support/service-config.ts';

const record = (target: string, over: { priority?: number; weight?: number; port?: number } = {}) => ({
  priority: 1,
  weight: 5,
  port: 80,
  target,
  ...over,
});
const shown = (answer: Answer): string => {
  if (answer.is === 'failed') return answer.reason;
  if (answer.is !== 'entries') return answer.is;
  const words = answer.entries.map((entry) => {
    if (entry.is === 'out') return 'out';
    return entry.is === 'bad' ? `${entry.host}: ${entry.reason}` : `${entry.host}=${JSON.stringify(entry.weight)}`;
  });
  return words.join(' ');
};

describe('pools in DNS', () => {
  let fake: FakeWorld;
  const open = (source: string, over: Parameters<typeof serviceConfig>[0] = {}): Source => {
    const opened = openSource(fake.world, serviceConfig({ source, ...over }));
    if (typeof opened === 'string') throw new Error(opened);
    return opened;
  };
  const ask = async (source: Source) => shown(await source.ask(false, new Knife()));
  beforeEach(() => {
    fake = new FakeWorld();
  });

  it("are a name's addresses of the family of the service, in any order the same.", async () => {
    fake.dns.set('4 pool.example', ['10.0.0.2', '10.0.0.1']);
    fake.dns.set('6 pool.example', ['2001:db8::1']);
    const source = open('dns://pool.example');
    expect(await ask(source)).to.equal('10.0.0.1=10 10.0.0.2=10');
    fake.dns.set('4 pool.example', ['10.0.0.1', '10.0.0.2']);
    expect(await ask(source)).to.equal('unchanged');
    fake.dns.set('4 pool.example', ['10.0.0.3']);
    expect(await ask(source)).to.equal('10.0.0.3=10');
    expect(await ask(open('dns://pool.example', { family: 6, vip: '2001:db8::ff' }))).to.equal('2001:db8::1=10');
  });

  it('are none of the addresses that stand for no host, as filters give them for names that they hide.', async () => {
    const source = open('dns://pool.example');
    const parsed = async () => {
      const answer = await source.ask(false, new Knife());
      return answer.is === 'entries' ? readEntries({ url: 'dns://pool.example', previous: [] }, answer.entries) : null;
    };
    fake.dns.set('4 pool.example', ['0.0.0.0', '10.0.0.1', '224.0.0.1']);
    expect(await parsed()).to.deep.include({ is: 'list', hosts: [{ host: '10.0.0.1', weight: 10, enabled: true }] });
    fake.dns.set('4 pool.example', ['0.0.0.0']);
    expect(await parsed()).to.deep.include({ is: 'refused', reason: 'not one usable host in it' });
  });

  it('are the targets of SRV records with their weights; those of lower precedence are left out.', async () => {
    fake.srv.set('_http._tcp.example', [
      record('Web2.example.', { weight: 0 }),
      record('web1.example'),
      record('spare.example', { priority: 2 }),
    ]);
    expect(await ask(open('srv://_http._tcp.example'))).to.equal('web1.example=5 web2.example=1');
  });

  it('have one port: a target with another one is named, and not used.', async () => {
    fake.srv.set('_http._tcp.example', [record('web1.example'), record('web2.example', { port: 8080 })]);
    expect(await ask(open('srv://_http._tcp.example'))).to.equal(
      'web2.example: port 8080, where the service has 80 web1.example=5',
    );
    const nat = open('srv://_http._tcp.example', { forward: 'nat', realPort: 8080 });
    expect(await ask(nat)).to.match(/^web1\.example: port 80, where the service has 8080 web2\.example=5$/);
  });

  for (const [what, answer, reason] of [
    ['that there is no such name', new SystemError('ENOTFOUND', 'resolve'), /ENOTFOUND/],
    ['that it can not tell', new SystemError('EAI_AGAIN', 'resolve', 'ESERVFAIL'), /ESERVFAIL/],
    ['nothing', [], /nothing in it/],
  ] as const) {
    it(`fail, and are not empty, where DNS says ${what}.`, async () => {
      fake.dns.set('4 pool.example', answer);
      expect(await ask(open('dns://pool.example'))).to.match(reason);
    });
  }

  it('fail where SRV records say that there is no such service.', async () => {
    fake.srv.set('_http._tcp.example', [record('.')]);
    expect(await ask(open('srv://_http._tcp.example'))).to.equal('no such service, say its records');
  });

  it('fail where DNS says nothing for 10 s, or is not waited for any more.', async () => {
    fake.dns.set('4 pool.example', 'hang');
    const asked = ask(open('dns://pool.example'));
    await fake.clock.advance(10_000);
    expect(await asked).to.equal('no answer in 10 s');
    const knife = new Knife();
    const cut = open('dns://pool.example').ask(false, knife);
    knife.abort();
    expect(shown(await cut)).to.match(/canceled|ECANCELED/);
    expect(fake.clock.pending).to.equal(0);
  });

  it('are asked every few seconds, and less often while that fails.', () => {
    const source = open('dns://pool.example');
    expect(source.delayMs(0, 0.5)).to.equal(4500);
    expect(source.delayMs(9, 0)).to.equal(30_000);
  });

  it('are never made of records that IPVS could not use, whatever they say.', () => {
    const any = fc.record({
      priority: fc.nat(3),
      weight: fc.integer({ min: 0, max: 65_535 }),
      port: fc.constantFrom(80, 81),
      target: fc.oneof(fc.domain(), fc.string(), fc.constantFrom('.', '', 'a', 'b')),
    });
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 8 }), (records) => {
        const usable = records.some(({ target }) => target !== '' && target !== '.');
        if (!usable) {
          expect(() => targetsOf(records, 80)).to.throw('no such service');
          return;
        }
        const best = Math.min(...records.map(({ priority }) => priority));
        const parsed = readEntries({ url: 'srv://x', previous: [] }, targetsOf(records, 80));
        if (parsed.is === 'refused') return;
        for (const { host, weight } of parsed.hosts) {
          expect(weight).to.be.within(1, 65_535);
          expect(
            records.some(
              (each) =>
                each.target.replace(/\.$/, '').toLowerCase() === host && each.port === 80 && each.priority === best,
            ),
          ).to.equal(true);
        }
      }),
    );
  });
});
