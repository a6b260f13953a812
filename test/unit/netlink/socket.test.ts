import { expect } from 'chai';
import type { SystemError } from '../../../src/lib/errors.ts';
import { MessageWriter, NLM_F, NLMSG } from '../../../src/netlink/codec.ts';
import { BATCH_CHANGES, NETLINK_ROUTE, NetlinkSocket } from '../../../src/netlink/socket.ts';
import { type Reply, type Request, ScriptedLibc } from '../../support/scripted-libc.ts';

function datagram(...messages: readonly { type: number; seq: number; flags?: number; errno?: number }[]): Uint8Array {
  const writer = new MessageWriter(1 << 16);
  for (const { type, seq, flags, errno } of messages) {
    writer.begin(type, flags ?? 0, seq);
    if (errno === undefined) continue;
    const body = new Uint8Array(20);
    new DataView(body.buffer).setInt32(0, -errno, true);
    writer.raw(body);
  }
  writer.close();
  return writer.bytes.slice(0, writer.length);
}
const status = (seq: number, errno: number) => datagram({ type: NLMSG.error, seq, errno, flags: NLM_F.capped });
const ITEM = 40;

/** A socket over the script. Items are numbers; its batches change nothing. */
function scripted(serve: (requests: readonly Request[], attempt: number) => Iterable<Reply>) {
  const libc = new ScriptedLibc(serve);
  const socket = new NetlinkSocket(libc, NETLINK_ROUTE);
  const apply = (count: number) => {
    const items = Array.from({ length: count }, (_, i) => i);
    const results: (null | SystemError)[] = [];
    const encode = (writer: MessageWriter, _: number, flags: number, seq: number) => writer.begin(ITEM, flags, seq);
    for (let at = 0; at < count; ) at = socket.batch(items, at, encode, (item) => `change ${item}`, results);
    return results;
  };
  const dump = () => {
    const seen: number[] = [];
    socket.dump(
      'list',
      (writer, flags, seq) => writer.begin(ITEM, flags, seq),
      () => void (seen.length = 0),
      (message) => void seen.push(message.flags),
    );
    return seen;
  };
  const ask = () => socket.ask('ask', (writer, flags, seq) => writer.begin(ITEM, flags, seq));
  return { libc, socket, apply, dump, ask };
}

const last = (requests: readonly Request[]): number => requests.at(-1)?.seq ?? 0;
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return textOf(error);
  }
  return 'nothing';
}

describe('netlink/socket', () => {
  it('sends a batch at once, asks only for the last acknowledgement, and tells each failed change', () => {
    const { libc, apply } = scripted((requests) => [
      ...requests.flatMap(({ seq }, i) => (i === 1 ? [status(seq, 17)] : i === 3 ? [status(seq, 3)] : [])),
      status(last(requests), 0),
    ]);
    expect(apply(6).map((result) => result && result.message)).to.deep.equal([
      null,
      'change 1: EEXIST',
      null,
      'change 3: ESRCH',
      null,
      null,
    ]);
    expect(libc.requests.map((batch) => batch.map(({ flags }) => flags & NLM_F.ack))).to.deep.equal([
      [0, 0, 0, 0, 0, NLM_F.ack],
    ]);
  });

  it('knows when the last change itself failed', () => {
    const { apply } = scripted((requests) => [status(last(requests), 1)]);
    expect(apply(2).map((result) => result?.code)).to.deep.equal([undefined, 'EPERM']);
  });

  it('takes many changes in batches of bounded size', () => {
    const { libc, apply } = scripted((requests) => [status(last(requests), 0)]);
    expect(apply(2 * BATCH_CHANGES + 1).every((result) => result === null)).to.equal(true);
    expect(libc.requests.map((batch) => batch.length)).to.deep.equal([BATCH_CHANGES, BATCH_CHANGES, 1]);
    expect(libc.sockets).to.equal(1);
  });

  it('calls every change unknown that an overrun may hide, and starts again on a new socket', () => {
    const { libc, apply } = scripted((requests, attempt) =>
      attempt === 1 ? [status(requests[0]?.seq ?? 0, 17), 'ENOBUFS'] : [status(last(requests), 0)],
    );
    expect(apply(3).map((result) => result?.code)).to.deep.equal(['EEXIST', 'ENOBUFS', 'ENOBUFS']);
    expect(apply(1)).to.deep.equal([null]);
    expect([libc.sockets, libc.open.size]).to.deep.equal([2, 1]);
  });

  it('is not hung by a kernel that does not answer', () => {
    const { libc, apply, dump, ask } = scripted(() => []);
    expect(thrown(ask)).to.contain('ETIMEDOUT');
    expect(thrown(dump)).to.contain('ETIMEDOUT');
    expect(apply(2).map((result) => result?.code)).to.deep.equal(['ETIMEDOUT', 'ETIMEDOUT']);
    expect([libc.sockets, libc.open.size]).to.deep.equal([3, 0]);
  });

  it('is not held for ever by a kernel that never stops', () => {
    const chatter = datagram({ type: ITEM, seq: 0 });
    const { ask } = scripted(() => Array<Uint8Array>(1 << 17).fill(chatter));
    expect(thrown(ask)).to.contain('no end after 65536 datagrams');
  });

  it('ignores answers to other questions', () => {
    const { ask } = scripted((requests) => [status(last(requests) + 7, 1), status(last(requests), 0)]);
    expect(thrown(ask)).to.equal('nothing');
  });

  it('calls garbage garbage', () => {
    const { libc, ask } = scripted(() => [Uint8Array.of(1, 2, 3)]);
    expect(thrown(ask)).to.contain('EBADMSG').and.to.contain('malformed');
    expect(libc.open.size).to.equal(0);
  });

  it('repeats a dump during which the table changed, and forgets the first reading', () => {
    const { dump } = scripted((requests, attempt) => {
      const seq = last(requests);
      const flags = attempt === 1 ? NLM_F.dumpInterrupted : NLM_F.multi;
      return [
        datagram({ type: ITEM, seq, flags }),
        datagram({ type: ITEM, seq, flags }),
        datagram({ type: NLMSG.done, seq, errno: 0 }),
      ];
    });
    expect(dump()).to.deep.equal([NLM_F.multi, NLM_F.multi]);
  });

  it('repeats a dump that overran, on a new socket', () => {
    const { libc, dump } = scripted((requests, attempt) =>
      attempt === 1 ? ['ENOBUFS'] : [datagram({ type: NLMSG.done, seq: last(requests), errno: 0 })],
    );
    expect(dump()).to.deep.equal([]);
    expect(libc.sockets).to.equal(2);
  });

  it('gives a dump up that never comes out whole', () => {
    const { libc, dump } = scripted((requests) => [
      datagram({ type: NLMSG.done, seq: last(requests), flags: NLM_F.dumpInterrupted, errno: 0 }),
    ]);
    expect(thrown(dump)).to.contain('EAGAIN').and.to.contain('changed during each of 5 dumps');
    expect(libc.requests.length).to.equal(5);
  });

  it('throws the error that a dump is refused or ends with', () => {
    const refused = scripted((requests) => [status(last(requests), 1)]);
    expect(thrown(refused.dump)).to.equal('list: EPERM');
    const ended = scripted((requests) => [datagram({ type: NLMSG.done, seq: last(requests), errno: 3 })]);
    expect(thrown(ended.dump)).to.equal('list: ESRCH');
    expect(ended.libc.open.size).to.equal(1); // An orderly answer: the socket is as good as before.
  });
});
