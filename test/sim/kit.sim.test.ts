// Every built-in monitor through the conformance kit, and the kit on monitors that break the contract, one way each.

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { optionsOf, rows } from '../../src/foreground/monitor-test.ts';
import { examine, type Finding, type Outside } from '../../src/health/kit/kit.ts';
import { loadMonitorFile } from '../../src/health/loader.ts';
import type { Poll, Sample, Tools, Watch } from '../../src/health/monitor.ts';
import { createHeapMeter } from '../../src/world/real/heap.ts';
import { createRealWorld, type RealWorld } from '../../src/world/real/world.ts';

// This file runs as dist/test/sim/kit.sim.test.js.
const BUILT = new URL('../../monitors/', import.meta.url);
const BUILT_IN = readdirSync(new URL('../../../monitors/', import.meta.url))
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replace(/\.ts$/, '.js'));

let world: RealWorld;
let outside: Outside;
before(async () => {
  world = await createRealWorld({ backend: 'dry-run', log: () => {}, loadMonitor: async () => null });
  outside = {
    ...{ clock: world.clock, world, heapUsed: createHeapMeter(), strays: () => [], trying() {}, alive() {} },
    resources: () => process.getActiveResourcesInfo(),
  };
});
after(() => world.close());

const failing = (findings: readonly Finding[]) => rows(findings.filter(({ good }) => good === false));

describe('Every built-in monitor keeps to the contract', () => {
  for (const name of BUILT_IN) {
    it(name, async () => {
      const { module, sample } = await loadMonitorFile(fileURLToPath(new URL(name, BUILT)));
      if (sample === null) throw new Error(`${name} has no sample of a healthy server`);
      const options = optionsOf(module, sample.options ?? {}, []);
      expect(failing(await examine({ module, options, sample }, outside))).to.deep.equal([]);
    });
  }
});

type Check = (tools: Tools) => ReturnType<Poll['create']>['check'];

const nothing = () => {};
const HANDLERS = { onData: nothing, onEnd: nothing, onDrain: nothing, onClose: nothing };

function poll(check: Check, over: Partial<Poll> = {}): Poll {
  return {
    apiVersion: 1,
    name: 'Bad',
    kind: 'poll',
    options: [],
    timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 }),
    create: (_, tools) => ({ check: check(tools) }),
    ...over,
  };
}

/** Connect, read until there is something, close, up: what the bad ones below begin with. */
const good: Check =
  (tools) =>
  async ({ address, port }, cut) => {
    const stream = await tools.connect({ address, port }, cut);
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = () => reject(new Error('no answer'));
        stream.on({ onData: () => resolve(), onEnd: fail, onDrain: nothing, onClose: fail });
        cut.onAbort(fail);
      });
      return { is: 'up' };
    } finally {
      stream.close('rst');
    }
  };

const SAMPLE: Sample = { stream: () => 'hello\n' };

describe('The conformance kit', () => {
  const findings = (module: Poll | Watch, sample = SAMPLE) => examine({ module, options: {}, sample }, outside);
  const tried = async (module: Poll | Watch, sample?: Sample) =>
    (await findings(module, sample)).filter((finding) => finding.good === false).map((finding) => finding.tried);
  /** The first complaint about it. */
  const complaint = async (module: Poll | Watch) =>
    (await findings(module)).find((finding) => finding.good === false)?.seen ?? 'none';

  it('has nothing against a monitor that keeps to it, and tries it on a real server', async () => {
    const all = await findings(poll(good));
    expect(failing(all)).to.deep.equal([]);
    expect(all.find((finding) => finding.tried === 'a real server on loopback')?.seen).to.match(/^up \(\d+ ms\)$/);
    expect(all.length).to.be.greaterThan(20);
  });

  it('ends the connections that a monitor leaves open to the real server, which would keep the process', async () => {
    const closed: string[] = [];
    const { streams } = world;
    const listen: typeof streams.listen = (at, onStream) =>
      streams.listen(at, (stream) => {
        const close = stream.close.bind(stream);
        stream.close = (how) => {
          closed.push(how);
          close(how);
        };
        onStream(stream);
      });
    const leaks: Check =
      (tools) =>
      async ({ address, port }, cut) => {
        await tools.connect({ address, port }, cut);
        await tools.clock.sleep(20);
        return { is: 'up' };
      };
    const watched = { ...outside, world: { ...world, streams: { ...streams, listen } } };
    await examine({ module: poll(leaks), options: {}, sample: SAMPLE }, watched);
    expect(closed).to.deep.equal(['rst']);
  });

  it('sees that it is never up', async () => {
    expect(
      (await tried(poll(good, { timing: () => ({ intervalSeconds: 1, timeoutSeconds: 0.2 }) }), {})).slice(0, 2),
    ).to.deep.equal(['a healthy server', 'a real server on loopback']);
  });

  it('sees that it asks nobody, though its sample says how a server answers', async () => {
    const module = poll(() => async () => ({ is: 'up' }));
    const others: readonly [Sample, string[]][] = [
      [SAMPLE, ['what it asks']],
      [{ files: { '/x': 'up' } }, ['what it asks']],
      [{}, []],
    ];
    for (const [sample, wrong] of others) expect(await tried(module, sample)).to.deep.equal(wrong);
    const reads = poll((tools) => async (_, cut) => {
      await tools.read('/x', 10, cut);
      return { is: 'up' };
    });
    expect(await tried(reads, { files: { '/x': 'up' } })).to.deep.equal([]);
    expect(await tried(reads, { ...SAMPLE, files: { '/x': 'up' } })).to.deep.equal(['what it asks']);
  });

  it('sees a measurement that is none', async () => {
    const module = poll((tools) => (target, cut) => {
      tools.observe(target, 'seen', 1, { code: 200 as unknown as string });
      return good(tools)(target, cut);
    });
    expect(await complaint(module)).to.contain('A BUG IN THE MONITOR: TOOLS.OBSERVE: LABEL CODE IS 200, NO TEXT');
  });

  it('sees that it is up whatever happens', async () => {
    const found = await tried(
      poll((tools) => async (target, cut) => good(tools)(target, cut).catch(() => ({ is: 'up' }))),
    );
    expect(found).to.include.members(['refused (ECONNREFUSED)', 'a tool throws something odd']);
  });

  it('sees a throw in a handler, in a timer, and in a listener of the cut', async () => {
    const handler = poll((tools) => async ({ address, port }, cut) => {
      const stream = await tools.connect({ address, port }, cut);
      return new Promise((_, reject) => {
        const boom = () => {
          throw new Error('boom');
        };
        stream.on({ ...HANDLERS, onData: boom, onClose: () => reject(new Error('closed')) });
        cut.onAbort(() => {
          stream.close('rst');
          reject(new Error('cut'));
        });
      });
    });
    expect(await complaint(handler)).to.contain('A BUG IN THE MONITOR: BOOM');
    const timer = poll((tools) => async (target, cut) => {
      tools.clock.at(0.2, () => {
        throw new Error('tick');
      });
      return good(tools)(target, cut);
    });
    expect(await complaint(timer)).to.contain('A BUG IN THE MONITOR: TICK');
    const listener = poll((tools) => async (target, cut) => {
      cut.onAbort(() => {
        throw new Error('snip');
      });
      return good(tools)(target, cut);
    });
    expect(await complaint(listener)).to.contain('A BUG IN THE MONITOR: SNIP');
  });

  it('sees one that sends a text instead of octets, with the words of the daemon', async () => {
    const text = poll((tools) => async ({ address, port }, cut) => {
      const stream = await tools.connect({ address, port }, cut);
      try {
        stream.write('PING' as unknown as Uint8Array);
        return { is: 'up' };
      } finally {
        stream.close('rst');
      }
    });
    expect(await complaint(text)).to.contain('STREAM.WRITE TAKES OCTETS, NOT A STRING: USE NEW TEXTENCODER');
    const datagram = poll((tools) => async ({ address, port }, cut) => {
      const handlers = { onDatagram: nothing, onError: nothing };
      const socket = await tools.datagram({ address, port }, handlers, cut);
      try {
        socket.send('PING' as unknown as Uint8Array);
        return { is: 'up' };
      } finally {
        socket.close();
      }
    });
    expect(await complaint(datagram)).to.contain('socket.send takes octets, not a string: use new TextEncoder');
  });

  it('sees one that does not obey the cut, or too late', async () => {
    const deaf = poll((tools) => async (target, cut) => {
      await good(tools)(target, cut).catch(nothing);
      return cut.aborted ? new Promise(nothing) : { is: 'up' };
    });
    expect(await tried(deaf)).to.include.members(['black hole: no answer at all', 'the cut, at any time']);
    const slow = poll((tools) => async (target, cut) => {
      const health = await good(tools)(target, cut).catch(() => null);
      if (health === null) await tools.clock.sleep(60);
      return health ?? { is: 'down', reason: 'no' };
    });
    expect(await tried(slow)).to.include('the cut, at any time');
  });

  it('sees what is left open: connections, timers', async () => {
    const open = poll((tools) => async ({ address, port }, cut) => {
      await tools.connect({ address, port }, cut);
      return { is: 'up' };
    });
    expect(await complaint(open)).to.contain('LEFT OPEN: 1 CONNECTION');
    const ticking = poll((tools) => {
      const again = (): unknown => tools.clock.at(100, again);
      return async (target, cut) => {
        again();
        return good(tools)(target, cut);
      };
    });
    expect(await complaint(ticking)).to.contain('LEFT OPEN: 1 TIMER');
  });

  it('sees what is opened without tools and left behind', async () => {
    const own: NodeJS.Timeout[] = [];
    const ticking = poll((tools) => (target, cut) => {
      own.push(setInterval(nothing, 3_600_000));
      return good(tools)(target, cut);
    });
    const all = await findings(ticking).finally(() => own.forEach(clearInterval));
    expect(all.at(-1)?.seen).to.match(/^left open, and not by its tools: \d+ Timeout \(Node's names\)$/);
  });

  it('sees state that grows with each check, and label sets without end', async () => {
    const hoarder = poll((tools) => {
      const kept: number[][] = [];
      return (target, cut) => {
        // Much beside whatever else this process gives back meanwhile.
        kept.push(new Array<number>(2_000).fill(kept.length));
        return good(tools)(target, cut);
      };
    });
    expect(await complaint(hoarder)).to.match(/^keeps about \d+ bytes of each check$/);
    const buffers = poll((tools) => {
      const kept: Uint8Array[] = [];
      return (target, cut) => {
        kept.push(new Uint8Array(10_000));
        return good(tools)(target, cut);
      };
    });
    expect(await complaint(buffers)).to.match(/^keeps about \d+ bytes of each check$/);
    const chatty = poll((tools) => {
      let count = 0;
      return (target, cut) => {
        tools.observe(target, 'seen', 1, { number: String(count++) });
        return good(tools)(target, cut);
      };
    });
    expect(await complaint(chatty)).to.match(/sets of labels$/);
  });

  it('sees one that looks at more of its target than it says', async () => {
    const check: Check = (tools) => (target, cut) => good(tools)({ ...target, weight: target.weight }, cut);
    const module = poll(check, { asks: 'endpoint' });
    expect(await complaint(module)).to.contain('weight');
    expect(await tried(poll(check))).to.deep.equal([]);
  });

  it('sees that it calls our own fault down', async () => {
    const module = poll((tools) => async (target, cut) => {
      try {
        return await good(tools)(target, cut);
      } catch {
        return { is: 'up' };
      }
    });
    expect(await tried(module)).to.include('our fault: no file descriptor (EMFILE)');
  });

  it('sees a watch that goes on after the cut, and one that throws when it is made', async () => {
    const watch: Watch = {
      apiVersion: 1,
      name: 'Bad',
      kind: 'watch',
      options: [],
      timing: () => ({ connectTimeoutSeconds: 5, reconnectTimeoutSeconds: 3, maxDelaySeconds: 300 }),
      create: (_, tools) => ({
        async watch({ address, port }, report, cut) {
          await tools.connect({ address, port }, cut);
          report({ is: 'up' });
          return new Promise(nothing);
        },
      }),
    };
    expect(await complaint(watch)).to.contain('NOT OVER 50 MS AFTER THE CUT; LEFT OPEN: 1 CONNECTION');
    const broken = poll(good, {
      create: () => {
        throw new Error('no licence');
      },
    });
    expect(await findings(broken)).to.deep.equal([{ tried: 'create', seen: 'threw: no licence', good: false }]);
  });
});
