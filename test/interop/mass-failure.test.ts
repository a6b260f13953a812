// All servers of a large site fall silent at once: their packets go into a wire with nobody at its end. The runner's own process, as
// `npm run bench:checks` measures it, in a network namespace.

import { expect } from 'chai';
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Order, Report } from '../../bench/checks/prober.ts';
import { eventually, kill, Namespace, output, requireTools } from '../support/namespace.ts';

const NAME = 'cost-massfail';
const NETWORK = '10.77';
const SERVERS = 10_000;
const PORT = 8086;
/** What tools.ts allows. */
const MOST_CONNECTING = 4_000;

/** A program of the benchmark, inside. */
function program(name: string, ...args: readonly string[]): ChildProcess {
  const file = fileURLToPath(new URL(`../../bench/checks/${name}.js`, import.meta.url));
  return spawn('ip', ['netns', 'exec', NAME, process.execPath, file, ...args], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}

function answer(child: ChildProcess): Promise<Report> {
  return new Promise((resolve, reject) => {
    const died = () => reject(new Error('the program died'));
    child.once('exit', died);
    child.once('message', (report: Report) => {
      child.off('exit', died);
      resolve(report);
    });
  });
}

async function order(child: ChildProcess, order: Order): Promise<Report> {
  const answered = answer(child);
  child.send(order);
  return answered;
}

const inside = (...command: readonly string[]) => output('ip', 'netns', 'exec', NAME, ...command);
const connecting = async () => (await inside('ss', '-Htn', 'state', 'syn-sent')).split('\n').length - 1;

describe('10,000 servers that fall silent at once', function () {
  this.timeout(90_000);
  let namespace: Namespace;
  const children: ChildProcess[] = [];

  before(async () => {
    requireTools({ '/usr/sbin/ip': 'iproute2', '/usr/bin/ss': 'iproute2', '/usr/bin/chrt': 'util-linux' });
    namespace = await Namespace.create(NAME, ['198.19.88.2/24'], ['198.19.88.1/24']);
    await inside('ip', 'route', 'add', 'local', `${NETWORK}.0.0/16`, 'dev', 'lo');
    // Nobody at the other end takes what is sent without asking for an Ethernet address.
    await inside('ip', 'link', 'set', 'wire', 'arp', 'off');
  });
  after(async () => {
    await Promise.all(children.map(kill));
    await namespace.destroy();
  });

  it('are all down soon, under the cap of connections, with the loop in time for BGP and BFD, and without growing', async () => {
    const holder = program('holder', `${PORT}`);
    children.push(holder);
    await new Promise((resolve) => holder.once('message', resolve));
    const prober = program('prober');
    children.push(prober);
    await answer(prober);
    await namespace.haste();
    const options = { interval: 5, timeout: 3 };
    await order(prober, {
      do: 'start',
      job: { monitor: 'TCP', options, servers: SERVERS, port: PORT, network: NETWORK },
    });
    const ask = () => order(prober, { do: 'report' });
    const said = async () => JSON.stringify({ ...(await ask()), lateness: [] });
    await eventually('all up', async () => ((await ask()).up === SERVERS ? true : null), said, 30_000);
    // The burst of the start is over.
    await sleep(5_000);
    const before = await ask();

    await inside('ip', 'route', 'del', 'local', `${NETWORK}.0.0/16`, 'dev', 'lo');
    await inside('ip', 'route', 'add', `${NETWORK}.0.0/16`, 'dev', 'wire');
    const seen = { connecting: 0, loopLateMs: 0, rssMb: 0 };
    let down: number | null = null;
    const start = performance.now();
    while (performance.now() - (down ?? start) < (down === null ? 25_000 : 6_000)) {
      const { loopLateMs, rssMb, down: now } = await ask();
      seen.connecting = Math.max(seen.connecting, await connecting());
      seen.loopLateMs = Math.max(seen.loopLateMs, loopLateMs);
      seen.rssMb = Math.max(seen.rssMb, rssMb);
      if (now === SERVERS) down ??= performance.now();
      await sleep(250);
    }
    expect(down, await said()).to.not.equal(null);
    // It was the cap that held them back, and not that nothing was tried. ss(8) does not see all at the same time.
    expect(seen.connecting).to.be.within(MOST_CONNECTING / 2, MOST_CONNECTING * 1.1);
    // BGP's hold time is 9 s by default, and BFD calls us wedged after 2 s.
    expect(seen.loopLateMs).to.be.below(1_000);
    expect(seen.rssMb - before.rssMb).to.be.below(150);
  });
});
