import { expect } from 'chai';
import { setImmediate as turn } from 'node:timers/promises';
import { openTcpCalls, type TcpCalls } from '../../../src/ffi/tcp-calls.ts';
import { EPOLL, Poller, type Watched } from '../../../src/world/real/poller.ts';

/** Far above the descriptors of this process: nothing is there. */
const FD = 60_000;

/** An epoll instance that is real, and never hears anything; what it is said to have heard is up to us. */
function scripted() {
  const real = openTcpCalls();
  const said: string[] = [];
  const generations = new Map<number, number>();
  let events: readonly (readonly [fd: number, generation: number, events: number])[] = [];
  let fresh = 0;
  const calls: TcpCalls = {
    ...real,
    watch(epoll, fd, wanted, key) {
      if (fd < FD) return real.watch(epoll, fd, wanted, key);
      generations.set(fd, key[1]);
      return 0;
    },
    unwatch: (_, fd) => (said.push(`unwatch ${fd}`), 0),
    take() {
      const count = fresh;
      fresh = 0;
      return count;
    },
    taken: {
      events: (at) => events[at]?.[2] ?? 0,
      key: (at, word) => events[at]?.[word] ?? 0,
    },
  };
  return {
    poller: new Poller(calls),
    said,
    generation: (fd: number) => generations.get(fd) ?? 0,
    /** In the next turn of the loop. */
    hear(...next: typeof events): void {
      events = next;
      fresh = next.length;
    },
  };
}

describe('A poller', () => {
  it('keeps events of a descriptor from the next owner of its number', async () => {
    const { poller, generation, hear } = scripted();
    const heard: string[] = [];
    const next: Watched = { onEvents: (events) => void heard.push(`next ${events}`) };
    const first: Watched = {
      onEvents(events) {
        heard.push(`first ${events}`);
        poller.forget(FD);
        poller.watch(FD, next);
      },
    };
    poller.watch(FD, first);
    const old = generation(FD);
    hear([FD, old, EPOLL.in], [FD, old, EPOLL.out]);
    await turn();
    expect(heard).to.deep.equal(['first 1']);
    hear([FD, generation(FD), EPOLL.in]);
    await turn();
    expect(heard).to.deep.equal(['first 1', 'next 1']);
    poller.forget(FD);
  });

  it('takes out what goes on elsewhere, and says nothing of it any more', async () => {
    const { poller, said, generation, hear } = scripted();
    const heard: number[] = [];
    poller.dial(FD, { onEvents: (events) => void heard.push(events) });
    poller.watch(FD + 1, { onEvents: (events) => void heard.push(events) });
    poller.forget(FD, true);
    expect(said).to.deep.equal([`unwatch ${FD}`, `unwatch ${FD}`]);
    hear([FD, generation(FD), EPOLL.in], [FD + 1, generation(FD + 1), EPOLL.out]);
    await turn();
    expect(heard).to.deep.equal([EPOLL.out]);
    poller.forget(FD + 1);
    poller.forget(FD + 1);
  });

  it('leaves what one of them still has to say to the next turn, when it has been heard often in this one', async () => {
    const { poller, generation, hear } = scripted();
    const heard: number[] = [];
    poller.watch(FD, { onEvents: (events) => void heard.push(events) });
    poller.watch(FD + 1, { onEvents: () => void heard.push(-1) });
    const talk = Array.from({ length: 10 }, (_, i) => [FD, generation(FD), i + 1] as const);
    hear(...talk, [FD + 1, generation(FD + 1), EPOLL.in]);
    await turn();
    expect(heard).to.deep.equal([1, 2, 3, 4, -1]);
    await turn();
    expect(heard.slice(5)).to.deep.equal([5 | 6 | 7 | 8 | 9 | 10]);
    // Of whoever is forgotten nothing is left.
    hear(...talk);
    await turn();
    expect(heard.slice(6)).to.deep.equal([1, 2, 3, 4]);
    poller.forget(FD);
    poller.watch(FD, { onEvents: (events) => void heard.push(events) });
    await turn();
    await turn();
    expect(heard.slice(10)).to.deep.equal([]);
    poller.forget(FD);
    poller.forget(FD + 1);
  });

  it('gives whoever asked for another turn one, once', async () => {
    const { poller } = scripted();
    const heard: number[] = [];
    poller.watch(FD, { onEvents: (events) => void heard.push(events) });
    poller.again(FD);
    poller.again(FD);
    expect(heard).to.deep.equal([]);
    await turn();
    await turn();
    expect(heard).to.deep.equal([0]);
    poller.forget(FD);
  });

  it('counts another turn among those that one of them has in a turn', async () => {
    const { poller, generation, hear } = scripted();
    const heard: number[] = [];
    const insatiable: Watched = {
      onEvents(events) {
        heard.push(events);
        poller.again(FD);
      },
    };
    poller.watch(FD, insatiable);
    for (let round = 0; round < 3; round++) {
      heard.length = 0;
      hear(...Array.from({ length: 10 }, () => [FD, generation(FD), EPOLL.in] as const));
      await turn();
      expect(heard.length).to.equal(4);
    }
    poller.forget(FD);
  });
});
