import { expect } from 'chai';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemError } from '../../../src/lib/errors.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { dryRunVips } from '../../../src/vip/dry-run.ts';
import { createFaultHook } from '../../../src/world/real/faults.ts';
import { lockInstance } from '../../../src/world/real/lock.ts';
import { createFiles } from '../../../src/world/real/files.ts';
import { createSelf } from '../../../src/world/real/self.ts';
import { createRealWorld, openAuto } from '../../../src/world/real/world.ts';
import type { Kernel, Mono } from '../../../src/world/world.ts';
import { codeOf } from '../../support/world-conformance.ts';

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Until `done`, for at most 3 s. */
async function until(done: () => boolean): Promise<void> {
  for (let waited = 0; !done(); waited += 10) {
    if (waited > 3000) throw new Error('never');
    await wait(10);
  }
}

describe('The instance lock', () => {
  const name = `\0anybal-world-test-${process.pid}`;

  it('is held by one, who is named to the next, and free afterwards', async () => {
    const first = await lockInstance('pid 42, /etc/pybal/pybal.conf', name);
    const refused = await lockInstance('second', name).then(
      () => null,
      (error: unknown) => error,
    );
    expect(refused).to.be.instanceOf(SystemError).with.property('code', 'EADDRINUSE');
    expect(String(refused)).to.contain('another anybal runs in this network namespace (pid 42, /etc/pybal/pybal.conf)');
    await first.release();
    await (await lockInstance('third', name)).release();
  });

  it('shows no control characters of whoever holds it', async () => {
    const first = await lockInstance('\x1b[2J\nfine', name);
    const refused = await lockInstance('second', name).catch((error: unknown) => String(error));
    expect(refused).to.contain('(?[2J?fine)');
    await first.release();
  });
});

describe('Files that were put in place', () => {
  it('are for their owner only, and their new folders for nobody but its group', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-modes-'));
    try {
      await createFiles().replace(join(folder, 'state', 'sections.json'), new Uint8Array(1));
      const modeOf = async (name: string) => (await stat(join(folder, name))).mode & 0o777;
      expect(await modeOf('state/sections.json')).to.equal(0o600);
      expect((await modeOf('state')) & 0o027).to.equal(0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('Injected faults', () => {
  const kernel: Kernel<string, string, string> = {
    list: async () => 'table',
    apply: async (ops) => ops.map(() => null),
  };
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-faults-'));
  });
  after(() => rm(folder, { recursive: true }));

  it('come and go with the file, and are logged loudly', async () => {
    const path = join(folder, 'faults.json');
    const logged: LogRecord[] = [];
    const hook = createFaultHook(path, (record) => logged.push(record));
    const [ipvs, vips] = [hook.ipvs(kernel), hook.vips(kernel)];
    try {
      expect(logged.map(({ level }) => level)).to.deep.equal(['critical']);
      expect(await ipvs.list()).to.equal('table');

      await writeFile(path, '{"ipvs":"EPERM"}');
      await until(() => logged.length === 2);
      expect(await codeOf(ipvs.list())).to.equal('EPERM');
      expect((await ipvs.apply(['a', 'b'])).map((error) => error?.code)).to.deep.equal(['EPERM', 'EPERM']);
      expect(await vips.list()).to.equal('table');

      await writeFile(path, '{"reconcile":"hang"}');
      await until(() => logged.length === 3);
      expect(await ipvs.list()).to.equal('table');
      let settled = false;
      const hanging = vips.list().then((table) => {
        settled = true;
        return table;
      });
      await wait(150);
      expect(settled).to.equal(false);

      await rm(path);
      expect(await hanging).to.equal('table');
      expect(logged.every(({ level }) => level === 'critical')).to.equal(true);
    } finally {
      hook.close();
    }
  });
});

describe('Self', () => {
  it('knows the kernel, its addresses, and how late the event loop was', async () => {
    const own = createSelf();
    try {
      expect(own.self().kernelId).to.match(/^[0-9a-f-]{36}\/\d+$/);
      expect(own.self().addresses).to.include('127.0.0.1');
      const start = performance.now() as Mono;
      while (performance.now() < start + 300);
      expect(own.self().loopLateMs).to.be.within(150, 5000);
      expect(own.self().lateSince(start), 'at once').to.be.within(270, 5000);
      const end = performance.now() as Mono;
      expect(own.self().lateSince(end), 'what is over before does not count').to.be.below(150);
      await wait(20);
      expect(own.self().loopLateMs, 'remembered for a while').to.be.greaterThan(150);
      expect(own.self().lateSince(start), 'afterwards').to.be.within(270, 5000);
      const again = performance.now();
      while (performance.now() < again + 300);
      expect(own.self().stalledSince(start), 'both').to.be.within(540, 5000);
      await wait(20);
      expect(own.self().stalledSince(start), 'both, afterwards').to.be.within(540, 5000);
    } finally {
      own.close();
    }
  });

  it('keeps its last addresses while the kernel can not be asked', async () => {
    let open = true;
    const own = createSelf(() => {
      if (!open) throw new Error('uv_interface_addresses returned EMFILE');
      return networkInterfaces();
    });
    try {
      const known = own.self().addresses;
      expect(known).to.include('127.0.0.1');
      open = false;
      await wait(1050);
      expect(own.self().addresses).to.deep.equal(known);
    } finally {
      own.close();
    }
  });

  it('has the same kernel each time', () => {
    const [a, b] = [createSelf(), createSelf()];
    expect(a.self().kernelId).to.equal(b.self().kernelId);
    a.close();
    b.close();
  });
});

describe('The dry run of VIPs', () => {
  it('starts from what is there, changes only memory, and tells the command', async () => {
    const logged: string[] = [];
    const there = { address: '10.0.0.1', prefixLength: 32, interface: 'lo', protocol: 0 };
    const real = { list: async () => new Map([[there.address, there]]) };
    const vips = dryRunVips(real, ({ text }) => logged.push(text));
    const results = await vips.apply([
      { do: 'add-address', address: '10.0.0.2', family: 4 },
      { do: 'add-address', address: '10.0.0.2', family: 4 },
      { do: 'delete-address', address: '10.0.0.1', family: 4 },
      { do: 'delete-address', address: '2001:db8::1', family: 6 },
    ]);
    expect(results.map((error) => error?.code ?? null)).to.deep.equal([null, 'EEXIST', null, 'EADDRNOTAVAIL']);
    expect([...(await vips.list()).keys()]).to.deep.equal(['10.0.0.2']);
    expect([...(await vips.list(['10.0.0.1'])).keys()]).to.deep.equal([]);
    expect(logged[0]).to.equal('ip addr add 10.0.0.2/32 dev lo');
    expect(logged[3]).to.equal('ip addr del 2001:db8::1/128 dev lo');
  });
});

describe("The operating system's world", () => {
  const settings = { log: () => {}, loadMonitor: async () => null };

  it('forwards in userspace without any privilege', async () => {
    const world = await createRealWorld({ ...settings, backend: 'userspace' });
    expect(world.backend).to.equal('userspace');
    expect((await world.ipvs.list()).size).to.equal(0);
    expect([...(await world.vips.list()).keys()]).to.include('127.0.0.1');
    await world.close();
  });

  it('in a dry run writes nothing, and shows what it would', async () => {
    const logged: string[] = [];
    const log = ({ text }: LogRecord) => logged.push(text);
    const world = await createRealWorld({ ...settings, log, backend: 'dry-run' });
    await world.vips.apply([{ do: 'add-address', address: '192.0.2.99', family: 4 }]);
    expect((await world.vips.list(['192.0.2.99'])).size).to.equal(1);
    expect(world.self().addresses).to.not.include('192.0.2.99');
    expect(logged).to.include('ip addr add 192.0.2.99/32 dev lo');
    await world.close();
  });
});

describe('The backend “auto”', () => {
  const missing = () => Promise.reject(new SystemError('ENOENT', 'netlink family IPVS'));
  const logged: LogRecord[] = [];
  const log = (record: LogRecord) => void logged.push(record);
  const userspace = async () => 'userspace';
  beforeEach(() => void (logged.length = 0));

  it('is netlink where that works, whoever we are', async () => {
    for (const privileged of [true, false]) {
      expect(await openAuto({ netlink: async () => 'netlink', userspace, privileged, log })).to.equal('netlink');
    }
    expect(logged).to.deep.equal([]);
  });

  it('without privileges falls back to userspace and says so', async () => {
    expect(await openAuto({ netlink: missing, userspace, privileged: false, log })).to.equal('userspace');
    expect(logged.map(({ level }) => level)).to.deep.equal(['warn']);
  });

  it('refuses where somebody with privileges has no IPVS, and says what to do', async () => {
    const thrown = await openAuto({ netlink: missing, userspace, privileged: true, log }).catch((error) => error);
    expect(thrown).to.be.instanceOf(SystemError).with.property('code', 'ENOENT');
    expect(thrown.message).to.match(/^netlink family IPVS: ENOENT: .*load ip_vs, or set backend = userspace/);
  });

  it('hides no bug behind another backend', async () => {
    const netlink = () => Promise.reject(new TypeError('a bug'));
    const thrown = await openAuto({ netlink, userspace, privileged: false, log }).catch((error) => error);
    expect(thrown).to.be.instanceOf(TypeError);
  });
});
