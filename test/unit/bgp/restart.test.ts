// Ends and new beginnings between a director and a scripted router: graceful restart (RFC 4724, RFC 8538) and graceful
// shutdown (RFC 8326), on a simulated network in virtual time.

import { expect } from 'chai';
import type { PeerConfig } from '../../../src/config/types.ts';
import { Knife } from '../../../src/lib/cut.ts';
import { Reader } from '../../../src/lib/bytes.ts';
import type { Offers } from '../../../src/bgp/open.ts';
import { decodeOpen } from '../../../src/bgp/open.ts';
import { decodeUpdate, endOfRibFamily } from '../../../src/bgp/update.ts';
import type { Stream } from '../../../src/world/world.ts';
import { BgpNet, peerConfig, route, Script } from '../../support/bgp-net.ts';

const DIRECTOR = '192.0.2.9';
const ROUTER = '192.0.2.1';
const KEEPS: Partial<Offers> = { gracefulRestart: { seconds: 120, restarted: false, forwarding: true } };

/** A director with this configuration of its router, and the router's end of the session that came up. */
async function sessionWith(changes: Partial<PeerConfig>, offers: Partial<Offers> = {}, holdTimeSeconds = 0) {
  const net = new BgpNet();
  const director = net.node('director', [DIRECTOR]);
  const router = net.network.host('router', [ROUTER]);
  const scripts: Script[] = [];
  net.network.listen(router, director.life, { address: ROUTER, port: 179 }, (stream: Stream) => {
    scripts.push(new Script(stream));
  });
  await director.configure({ peers: [peerConfig({ name: 'cr1', address: ROUTER, ...changes })] });
  await net.run(0.1);
  const script = () => {
    const last = scripts.at(-1);
    if (last === undefined) throw new Error('nobody has called');
    return last;
  };
  const establish = (on: Script) => {
    on.open({ families: [4], holdTimeSeconds, offers });
    on.say({ is: 'keepalive' });
  };
  establish(script());
  await net.run(0.1);
  expect(director.states).to.deep.equal(['cr1 up']);
  return { net, director, router, script, establish };
}

const context = { as4: true, internal: false, families: [4] as const };
const updatesOf = (script: Script) =>
  script.got.filter(({ type }) => type === 2).map(({ body }) => decodeUpdate(new Reader(body), context));
/** The first octets of the NOTIFICATION, with what a hard reset stands for. */
const goodbye = (script: Script) => [...(script.got.find(({ type }) => type === 3)?.body ?? [])].slice(0, 4);
const restartOf = (script: Script) =>
  decodeOpen(new Reader(script.got[0]?.body ?? new Uint8Array())).capabilities.find(
    (each) => each.is === 'graceful-restart',
  );
const ends = (script: Script) => updatesOf(script).filter((update) => endOfRibFamily(update) !== null).length;

describe('bgp: graceful restart', () => {
  it('asks for nothing to be kept, and says goodbye plainly, unless configured', async () => {
    const { net, director, script } = await sessionWith({}, KEEPS);
    expect(restartOf(script())).to.deep.include({ seconds: 0, families: [] });
    await net.settled(director.speaker.stop());
    expect(script().notifications).to.deep.equal(['6/2']);
  });

  it('ends a real stop by a hard reset where the router would keep the routes', async () => {
    const { net, director, script } = await sessionWith({ gracefulRestart: 'restart' }, KEEPS);
    await net.settled(director.speaker.stop());
    expect(script().notifications).to.deep.equal(['6/9']);
    expect(goodbye(script())).to.deep.equal([6, 9, 6, 2]);
  });

  it('ends for good with a deconfigured peer, and with a lost path', async () => {
    const removed = await sessionWith({ gracefulRestart: 'restart' }, KEEPS);
    await removed.director.configure({ peers: [] });
    await removed.net.run(0.1);
    expect(goodbye(removed.script())).to.deep.equal([6, 9, 6, 3]);
    const lost = await sessionWith({ gracefulRestart: 'restart' }, KEEPS);
    lost.director.speaker.pathDown('cr1');
    await lost.net.run(0.1);
    expect(goodbye(lost.script())).to.deep.equal([6, 9, 6, 10]);
  });

  it('ends nothing with a path that is no longer watched, but where nobody else would notice its loss', async () => {
    const { net, director, script } = await sessionWith({});
    director.speaker.pathDown('cr1', false);
    await net.run(0.1);
    expect(goodbye(script())).to.deep.equal([6, 10]);
    const watched = await sessionWith({}, {}, 90);
    watched.director.speaker.pathDown('cr1', false);
    await watched.net.run(0.1);
    expect(watched.director.states).to.deep.equal(['cr1 up']);
    expect(watched.director.speaker.status()[0]?.lastError).to.equal(null);
  });

  it('lets the router keep the routes while only the settings of the session change', async () => {
    const { net, director, script, establish } = await sessionWith({ gracefulRestart: 'restart' }, KEEPS);
    const first = script();
    const changed = peerConfig({ name: 'cr1', address: ROUTER, gracefulRestart: 'restart', holdTimeSeconds: 30 });
    await director.configure({ peers: [changed] });
    await net.run(0.1);
    expect(goodbye(first)).to.deep.equal([6, 6]);
    establish(script());
    await net.run(0.1);
    // Or the router would drop at the second OPEN what it has kept after the first session.
    expect(restartOf(script())).to.deep.include({ restarted: false });
    expect(restartOf(script())?.families.map(({ forwarding }) => forwarding)).to.deep.equal([true, true]);
    expect(restartOf(first)).to.deep.include({ restarted: true });
    expect(director.states).to.deep.equal(['cr1 up', 'cr1 down', 'cr1 up']);
  });

  it('says End-of-RIB only when all routes are there, so that the router drops none too early', async () => {
    const { net, director, script } = await sessionWith({ gracefulRestart: 'restart' }, KEEPS);
    director.speaker.set('cr1', []);
    await net.run(5);
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(5);
    expect([updatesOf(script()).length, ends(script())]).to.deep.equal([1, 0]);
    director.speaker.complete();
    await net.run(1);
    expect(ends(script())).to.equal(1);
  });

  it('takes a second call of a router that restarts for the end of the first, without a word', async () => {
    const { net, director, router, script, establish } = await sessionWith({}, KEEPS);
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(1);
    const dial = net.network.connect(router, director.life, { address: DIRECTOR, port: 179 }, new Knife());
    const again = new Script(await net.settled(dial));
    establish(again);
    await net.run(1);
    expect(script().notifications).to.deep.equal([]);
    expect(director.states).to.deep.equal(['cr1 up', 'cr1 down', 'cr1 up']);
    expect(updatesOf(again).map(({ announced }) => announced.count)).to.deep.equal([1, 0]);
  });
});

describe('bgp: graceful shutdown', () => {
  const communities = (script: Script) => updatesOf(script).map(({ attributes }) => attributes.communities ?? null);

  it('says that the routes leave, waits, and then withdraws', async () => {
    const { net, director, script } = await sessionWith({ gracefulShutdownSeconds: 10 });
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(1);
    let left = false;
    const leaving = director.speaker.leave().then(() => (left = true));
    await net.run(9);
    expect(left).to.equal(false);
    expect(communities(script()).at(-1)).to.deep.equal([0xffff0000]);
    await net.run(2);
    expect(left).to.equal(true);
    await leaving;
    await net.settled(director.speaker.stop());
    expect(updatesOf(script()).at(-1)?.withdrawn.count).to.equal(1);
  });

  it('takes no time where it is not configured', async () => {
    const { net, director, script } = await sessionWith({});
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(1);
    const before = net.scheduler.now;
    await net.settled(director.speaker.leave());
    expect(net.scheduler.now - before).to.be.below(100);
    expect(communities(script())).to.not.deep.include([0xffff0000]);
  });
});

describe('bgp: the prefixes that a router accepts', () => {
  it('survive as a session, and are alarmed whenever their number changes', async () => {
    const { net, director } = await sessionWith({ maximumPrefixes: 2 });
    const routes = [1, 2, 3, 4].map((last) => route(`203.0.113.${last}`));
    const about = () => director.log.filter(({ text }) => /maximum-prefixes/.test(text)).map(({ level }) => level);
    director.speaker.set('cr1', routes);
    director.speaker.set('cr1', [...routes]);
    await net.run(1);
    expect(director.speaker.status()[0]).to.include({ established: true, prefixesSent: 2, prefixesKeptBack: 2 });
    const sent = () => [...(director.speaker.status()[0]?.sent() ?? [])];
    expect(sent()).to.deep.equal(['203.0.113.1', '203.0.113.2']);
    expect(about()).to.deep.equal(['error']);
    director.speaker.set('cr1', routes.slice(0, 2));
    await net.run(1);
    expect(sent()).to.deep.equal(['203.0.113.1', '203.0.113.2']);
    expect(director.speaker.status()[0]).to.include({ prefixesSent: 2, prefixesKeptBack: 0 });
    expect(about()).to.deep.equal(['error', 'info']);
    expect(director.states).to.deep.equal(['cr1 up']);
  });
});
