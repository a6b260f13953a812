import { expect } from 'chai';
import { type Place, Serving } from '../../../src/control/serving.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const answer: Place['answer'] = () => ({ status: 200, headers: {}, body: '' });
const port = (address: string): Place => ({ at: { address, port: 9090 }, answer });

function bench() {
  const { clock, http } = new FakeWorld();
  const logged: string[] = [];
  const open = new Set<string>();
  const absent = new Set<string>();
  const tried: string[] = [];
  const serve: typeof http.serve = async (at) => {
    const place = 'path' in at ? at.path : at.address;
    tried.push(place);
    if (absent.has(place)) throw new SystemError('EADDRNOTAVAIL', `listen ${place}`);
    open.add(place);
    return { close: async () => void open.delete(place) };
  };
  const serving = new Serving({
    clock,
    http: { ...http, serve },
    log: ({ level, text }) => logged.push(`${level} ${text}`),
  });
  const lines = () => logged.splice(0);
  return { clock, serving, open, absent, tried, lines };
}

describe('control/serving', () => {
  it('tries a place again until it can be had, says each thing once, and leaves the others open', async () => {
    const { clock, serving, open, absent, tried, lines } = bench();
    absent.add('10.0.0.1');
    await serving.configure([port('127.0.0.1'), port('10.0.0.1'), { at: { path: '/run/a.sock' }, answer }]);
    expect([...open]).to.deep.equal(['127.0.0.1', '/run/a.sock']);
    expect(serving.missing).to.deep.equal(['Cannot serve on 10.0.0.1 port 9090: listen 10.0.0.1: EADDRNOTAVAIL']);
    await clock.advance(60_000);
    expect(lines()).to.deep.equal(['error Cannot serve on 10.0.0.1 port 9090: listen 10.0.0.1: EADDRNOTAVAIL']);
    absent.clear();
    await clock.advance(5_000);
    expect([...open]).to.deep.equal(['127.0.0.1', '/run/a.sock', '10.0.0.1']);
    expect(serving.missing).to.deep.equal([]);
    expect(lines()).to.deep.equal(['info Serving on 10.0.0.1 port 9090 now']);
    expect(tried.filter((place) => place !== '10.0.0.1')).to.have.length(2);
    await clock.advance(60_000);
    expect(tried).to.have.length(16);
  });

  it('closes what is no longer wanted, and forgets what could not be had', async () => {
    const { clock, serving, open, absent, tried } = bench();
    absent.add('10.0.0.1');
    await serving.configure([port('127.0.0.1'), port('10.0.0.1')]);
    await serving.configure([port('127.0.0.2')]);
    expect([...open]).to.deep.equal(['127.0.0.2']);
    expect(serving.missing).to.deep.equal([]);
    await serving.close();
    expect([...open]).to.deep.equal([]);
    await clock.advance(60_000);
    expect(tried).to.deep.equal(['127.0.0.1', '10.0.0.1', '127.0.0.2']);
  });
});
