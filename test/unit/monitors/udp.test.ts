import { createSocket, type RemoteInfo } from 'node:dgram';
import { expect } from 'chai';
import udp from '../../../monitors/udp.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { Udp } from '../../../src/world/world.ts';
import { type Bench, runMonitor } from '../../support/monitor-bench.ts';
import { eventually } from '../../support/namespace.ts';

describe('UDP', () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** A server that answers each datagram with what `reply` says. */
  async function serving(reply: (bytes: Buffer, number: number) => readonly (string | Uint8Array)[]) {
    const socket = createSocket('udp4');
    const heard: string[] = [];
    socket.on('message', (bytes: Buffer, from: RemoteInfo) => {
      heard.push(bytes.toString('latin1'));
      for (const each of reply(bytes, heard.length)) socket.send(each, from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const close = () => new Promise<void>((resolve) => socket.close(resolve));
    closing.push(close);
    return { port: socket.address().port, heard, close };
  }

  function run(port: number, given: Readonly<Record<string, unknown>> = {}): Bench {
    const bench = runMonitor(udp, { timeout: 0.6, ...given }, { port });
    closing.push(() => bench.stop());
    return bench;
  }

  async function nobodysPort(): Promise<number> {
    const { port, close } = await serving(() => []);
    closing.pop();
    await close();
    return port;
  }

  const said = async (bench: Bench, count = 1) => {
    const health = await bench.result(count);
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  };

  it('takes silence for up when nothing is expected, having sent an empty datagram, as PyBal does', async () => {
    const { port, heard } = await serving(() => []);
    expect(await said(run(port))).to.equal('up: silent');
    expect(heard).to.deep.equal(['']);
  });

  it('takes any reply for up when nothing is expected, and waits no longer', async () => {
    const { port, heard } = await serving(() => ['what?']);
    expect(await said(run(port, { timeout: 5 }))).to.equal('up: 1 reply');
    expect(heard).to.deep.equal(['']);
  });

  it('is down when ICMP says that nobody listens', async () => {
    const port = await nobodysPort();
    const bench = run(port);
    expect(await said(bench)).to.equal(
      `down: udp 127.0.0.1:${port}: ECONNREFUSED: ICMP port unreachable, says 127.0.0.1`,
    );
    expect(bench.lines).to.deep.equal([`WARN 127.0.0.1:${port}: ICMP destination unreachable received`]);
  });

  it('remembers ICMP for icmp-timeout, since the next one may not be sent', async () => {
    let opened = 0;
    const fake: Udp = {
      open: async ({ address, port }, handlers) => {
        const first = ++opened === 1;
        const error = new SystemError('ECONNREFUSED', 'udp');
        return { local: { address, port }, send: () => first && handlers.onError(error), close: () => {} };
      },
    };
    const given = { interval: 0.05, timeout: 0.02, 'icmp-timeout': 0.8 };
    const bench = runMonitor(udp, given, { port: 53 }, { udp: fake });
    closing.push(() => bench.stop());
    expect(await said(bench, 1)).to.equal('down: udp: ECONNREFUSED');
    expect(await said(bench, 2)).to.equal('down: ICMP said 0 s ago that it is unreachable');
    const { detail } = await eventually('up', () => bench.results.find((health) => health.is === 'up') ?? null);
    expect(detail).to.equal('silent');
  });

  it('is up when the reply is the expected one', async () => {
    const { port, heard } = await serving(() => [Uint8Array.from([0x24, 1, 0xff, 0])]);
    expect(await said(run(port, { send: ['\xe3\x00'], expect: ['\x24\x01\xff'], match: 'starts' }))).to.equal(
      'up: 1 reply',
    );
    expect(heard).to.deep.equal(['\xe3\x00']);
  });

  it('wants each expected text in one of the replies', async () => {
    const { port } = await serving((bytes) => [`re: ${bytes.toString()}`]);
    expect(await said(run(port, { send: ['a', 'b'], expect: ['re: a', 're: b'] }))).to.equal('up: 2 replies');
    expect(await said(run(port, { send: ['a', 'b'], expect: ['re: a', 're: c'], tries: 1 }))).to.equal(
      'down: none of 2 replies contains "re: c", the last is "re: b"',
    );
    expect(await said(run(port, { send: ['a'], expect: ['a'], match: 'starts', tries: 1 }))).to.equal(
      'down: none of 1 replies begins with "a", the last is "re: a"',
    );
  });

  it('sends again when a datagram gets lost', async () => {
    const { port, heard } = await serving((_, number) => (number < 3 ? [] : ['pong']));
    expect(await said(run(port, { send: ['ping'], expect: ['pong'], timeout: 3 }))).to.equal('up: 1 reply');
    expect(heard).to.have.length(3);
  });

  it('is down when what is expected does not come', async () => {
    const { port } = await serving(() => []);
    expect(await said(run(port, { expect: ['pong'] }))).to.equal('down: no reply in 0.6 seconds, sent 3 times');
  });

  it('has enough of a server that does not stop', async () => {
    const { port } = await serving(() => Array(200).fill('noise\n'));
    const reason = await said(run(port, { expect: ['pong'], timeout: 5, tries: 1 }));
    expect(reason).to.match(/^down: none of 100 replies contains "pong", the last is "noise\\n"$/);
  });

  it('knows nothing when it is this host that can not send', async () => {
    const open: Udp['open'] = async ({ address, port }) => ({
      local: { address, port },
      send: () => {
        throw new SystemError('EPERM', 'udp 127.0.0.1:53');
      },
      close: () => {},
    });
    const bench = runMonitor(udp, { timeout: 0.2 }, { port: 53 }, { udp: { open } });
    closing.push(() => bench.stop());
    expect(await said(bench)).to.equal('unknown: udp 127.0.0.1:53: EPERM');
  });
});
