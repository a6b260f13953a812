import { expect } from 'chai';
import { SystemError } from '../../../src/lib/errors.ts';
import { MessageWriter, NLMSG } from '../../../src/netlink/codec.ts';
import { encodeOp } from '../../../src/ipvs/messages.ts';
import { openNetlinkIpvs, prepareIpvs } from '../../../src/ipvs/netlink.ts';
import { BATCH_CHANGES } from '../../../src/netlink/socket.ts';
import type { IpvsOp } from '../../../src/ipvs/table.ts';
import type { Command, CommandResult } from '../../../src/world/world.ts';
import { destinationOf, serviceOf } from '../../support/kernel-conformance.ts';
import { memoryFiles, utf8 } from '../../support/memory-files.ts';
import { type Request, ScriptedLibc } from '../../support/scripted-libc.ts';

const CONTROLLER = 16;
const GET_SERVICE = 4;
const GET_DESTINATION = 8;

/** A kernel in which IPVS has the number `family()`, and that answers dumps with `list`. */
function kernel(family: () => number, list: (command: number) => readonly IpvsOp[]) {
  const asked: Request[] = [];
  const libc = new ScriptedLibc((requests) => {
    asked.push(...requests);
    const writer = new MessageWriter(1 << 16);
    const last = requests.at(-1);
    if (last === undefined) return [];
    const status = (type: number, errno: number) => {
      writer.begin(type, 0, last.seq);
      const body = new Uint8Array(20);
      new DataView(body.buffer).setInt32(0, -errno, true);
      writer.raw(body);
    };
    if (last.type === CONTROLLER) {
      writer.beginGeneric(CONTROLLER, 1, 2, 0, last.seq);
      writer.view.setUint16(writer.attribute(1, 2), family(), true);
      status(NLMSG.error, 0);
    } else if (last.type !== family()) status(NLMSG.error, 3);
    else if (last.command === GET_SERVICE || last.command === GET_DESTINATION) {
      for (const op of list(last.command)) encodeOp(writer, op, null, family(), 0, last.seq);
      status(NLMSG.done, 0);
    } else status(NLMSG.error, 0);
    writer.close();
    return [writer.bytes.slice(0, writer.length)];
  });
  let turns = 0;
  const breathe = async () => void turns++;
  return { ipvs: openNetlinkIpvs(breathe, libc), asked, turns: () => turns };
}

const web = serviceOf();
const addWeb: IpvsOp = { do: 'add-service', service: web };
const addReal: IpvsOp = { do: 'add-destination', service: web, destination: destinationOf() };

describe('ipvs/netlink', () => {
  it('uses the number that IPVS has now, not the one that it had', async () => {
    let family = 32;
    const { ipvs, asked } = kernel(
      () => family,
      () => [],
    );
    expect(await ipvs.apply([addWeb])).to.deep.equal([null]);
    family = 33;
    expect(await ipvs.apply([addWeb])).to.deep.equal([null]);
    expect((await ipvs.list()).size).to.equal(0);
    expect(asked.filter(({ type }) => type !== CONTROLLER).map(({ type }) => type)).to.deep.equal([32, 32, 33, 33, 33]);
  });

  it('gives the event loop a turn between batches', async () => {
    const { ipvs, turns } = kernel(
      () => 32,
      () => [],
    );
    await ipvs.apply(Array<IpvsOp>(3 * BATCH_CHANGES).fill(addReal));
    expect(turns()).to.equal(2);
  });

  it('does not take the empty list of a service that vanished for its destinations', async () => {
    // The service goes away and comes back with another scheduler while its destinations are read.
    let dumps = 0;
    const { ipvs } = kernel(
      () => 32,
      (command) => {
        if (command === GET_SERVICE)
          return [++dumps === 1 ? addWeb : { do: 'add-service', service: serviceOf({ scheduler: 'sh' }) }];
        return dumps === 1 ? [] : [addReal];
      },
    );
    const entry = (await ipvs.list()).get(web.key);
    expect(entry?.service.scheduler).to.equal('sh');
    expect([...(entry?.destinations.keys() ?? [])]).to.deep.equal([destinationOf().key]);
  });

  it('gives up on a table that changes all the time', async () => {
    let dumps = 0;
    const { ipvs } = kernel(
      () => 32,
      (command) => {
        if (command === GET_DESTINATION) return [];
        return [{ do: 'add-service', service: serviceOf({ scheduler: dumps++ % 2 === 0 ? 'sh' : 'rr' }) }];
      },
    );
    const error = await ipvs.list().catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(SystemError).and.to.include({ code: 'EAGAIN' });
  });
});

describe('IPVS before the first change', () => {
  const ended = { exitCode: 0, signal: null, output: '', durationMs: 1, leftovers: 'none' } as const;

  /** What is logged when modprobe does `run`, and these settings are there. */
  async function prepared(run: () => Promise<CommandResult>, settings: Readonly<Record<string, string>>) {
    const asked: Command[] = [];
    const lines: string[] = [];
    const disk = new Map(Object.entries(settings).map(([name, value]) => [SETTINGS + name, utf8(value)]));
    await prepareIpvs({
      processes: { run: (command) => (asked.push(command), run()) },
      files: memoryFiles(disk),
      log: ({ level, text }) => void lines.push(`${level} ${text}`),
    });
    return { asked, lines };
  }
  const SETTINGS = '/proc/sys/net/ipv4/vs/';

  it('has its schedulers loaded, and says which settings are in force', async () => {
    const { asked, lines } = await prepared(async () => ({ ...ended, timedOut: false }), {
      expire_nodest_conn: '0\n',
      sync_threshold: '3\t50\n',
      conn_tab_bits: '12\n',
    });
    expect(asked).to.have.length(1);
    expect(asked[0]?.path).to.equal('/sbin/modprobe');
    expect(asked[0]?.args).to.include.members(['ip_vs_wrr', 'ip_vs_mh']);
    expect(lines).to.deep.equal(['info IPVS settings in force: expire_nodest_conn=0, sync_threshold=3 50']);
  });

  it('is usable without modprobe and without settings: that is a warning', async () => {
    const missing = await prepared(() => Promise.reject(new SystemError('ENOENT', 'run /sbin/modprobe')), {});
    expect(missing.lines).to.deep.equal([
      'warn IPVS schedulers are loaded when they are first used: run /sbin/modprobe: ENOENT',
      'warn IPVS settings under /proc/sys/net/ipv4/vs cannot be read',
    ]);
    const stuck = await prepared(async () => ({ ...ended, timedOut: true }), { conntrack: '0' });
    expect(stuck.lines).to.deep.equal([
      'warn IPVS schedulers are loaded when they are first used: modprobe: ETIMEDOUT',
      'info IPVS settings in force: conntrack=0',
    ]);
  });
});
