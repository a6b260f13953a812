// Pool lists in stores that tell of changes: an etcd (with both of its stores) and the API server of a Kubernetes cluster per
// service, in memory (test/support), behind the simulated network, with the faults of pool-store.ts as they look there.

import type { ServedRequest } from '../../src/world/world.ts';
import { type ActionV2, FakeEtcdV2 } from '../support/fake-etcd-v2.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { FakeK8s } from '../support/fake-k8s.ts';
import { etcdFolder, K8S_TOKEN, watchedPort } from './conf.ts';
import type { WebAnswer, WebRequest } from './http.ts';
import type { SourceFault } from './pool-store.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';
import { POOL_SERVER, type PoolEntry, type ServicePlan } from './topology.ts';
import { badAnswer, HUGE, isWebFault, late, respond } from './web-faults.ts';

type Stream = WebAnswer & { readonly is: 'stream' };

/**
 * What nobody may notice. forgets: history is thrown away, and watches that were not quick enough are told so. restarts: every
 * connection breaks, and for a moment there are no new ones. restored: it also comes back from a backup of its present state,
 * with a shorter history than it had.
 */
export const UPHEAVALS = ['forgets', 'restarts', 'restored'] as const;
export type Upheaval = (typeof UPHEAVALS)[number];

const CREATIONS: readonly ActionV2[] = ['set', 'create'];
const CHANGES: readonly ActionV2[] = ['set', 'update', 'compareAndSwap'];
const DELETIONS: readonly ActionV2[] = ['delete', 'compareAndDelete', 'expire'];

/** One service's store. */
export class WatchedStore {
  readonly #service: ServicePlan;
  readonly #site: Site;
  readonly #random: Random;
  readonly #etcd = new FakeEtcd();
  readonly #etcdV2 = new FakeEtcdV2();
  readonly #k8s = new FakeK8s();
  readonly #streams = new Set<(broken: boolean) => void>();
  #entries: readonly PoolEntry[] = [];
  #fault: SourceFault | null = null;
  /** After a restart, when it listens again. */
  #backAt = 0;

  constructor(site: Site, service: ServicePlan) {
    this.#site = site;
    this.#service = service;
    this.#random = site.random.fork(`store of ${service.name}`);
    this.#k8s.token = K8S_TOKEN;
    site.web.site({ address: POOL_SERVER.address, port: watchedPort(service) }, (request) => this.#serve(request));
  }

  write(entries: readonly PoolEntry[], fault: SourceFault | null): void {
    const before = this.#fault;
    this.#entries = entries;
    this.#fault = fault;
    if (this.#service.source === 'k8s') this.#writeK8s();
    else this.#writeEtcd();
    if (fault === 'hang') {
      this.#etcd.deafen();
      this.#etcdV2.deafen();
      this.#k8s.deafen();
    } else if (fault !== before && (isWebFault(fault) || before === 'hang')) this.#breakStreams();
  }

  /** False: what is served is not what is in the store. */
  upset(upheaval: Upheaval): boolean {
    if (this.#fault !== null) return false;
    switch (upheaval) {
      case 'forgets':
        this.#forget();
        return true;
      case 'restored':
        this.#etcd.restore(this.#etcd.keys('/'));
        this.#etcdV2.restore(this.#etcdV2.keys('/'));
        this.#restart();
        return true;
      case 'restarts':
        this.#restart();
        return true;
      default:
        return upheaval satisfies never;
    }
  }

  #restart(): void {
    this.#backAt = this.#site.scheduler.now + this.#random.between(200, 2000);
    this.#breakStreams();
  }

  #forget(): void {
    this.#etcd.put('/elsewhere', `${this.#site.scheduler.now}`);
    this.#etcd.compact();
    this.#etcd.cancelCompacted();
    this.#etcdV2.clearHistory();
    this.#etcdV2.endPolls();
    this.#k8s.bookmark();
    this.#k8s.compact();
    this.#k8s.expireWatches();
  }

  #breakStreams(): void {
    const streams = [...this.#streams];
    this.#streams.clear();
    for (const end of streams) end(true);
  }

  #writeEtcd(): void {
    const folder = etcdFolder(this.#service);
    const wanted = new Map(
      (this.#fault === 'empty' ? [] : this.#entries).map((entry) => [folder + entry.host, this.#value(entry)]),
    );
    const etcd = this.#service.source === 'etcd' ? this.#etcd : this.#etcdV2;
    const have = etcd.keys(folder);
    for (const [key, value] of wanted) if (have.get(key) !== value) this.#put(key, value, have.has(key));
    const gone = [...have.keys()].filter((key) => !wanted.has(key));
    if (etcd === this.#etcd) etcd.remove(gone);
    else if (wanted.size === 0 && this.#random.chance(0.5)) this.#etcdV2.removeFolder(folder.slice(0, -1));
    else this.#etcdV2.remove(gone, this.#random.pick(DELETIONS));
  }

  #put(key: string, value: string, known: boolean): void {
    if (this.#service.source === 'etcd') this.#etcd.put(key, value);
    else this.#etcdV2.put(key, value, this.#random.pick(known ? CHANGES : CREATIONS));
  }

  #value({ enabled, weight }: PoolEntry): string {
    const text = JSON.stringify({ pooled: enabled ? 'yes' : 'no', weight });
    switch (this.#fault) {
      case 'truncated':
        return text.slice(0, 12);
      case 'garbage':
        return '\u0000\u0001}{';
      case 'code':
        return "__import__('os').system('reboot'); globalThis.anybalRanPoolData = true;";
      case 'too large':
        return 'x'.repeat(100_000);
      default:
        return text;
    }
  }

  #writeK8s(): void {
    const wanted = this.#fault === 'empty' ? [] : this.#entries;
    for (const name of this.#k8s.names) if (!wanted.some(({ host }) => host === name)) this.#k8s.remove(name);
    for (const { host, enabled } of wanted) this.#k8s.set(host, enabled ? {} : { unschedulable: true });
  }

  #serve(request: WebRequest): WebAnswer {
    const fault = this.#fault;
    if (fault !== null) this.#site.tally.hit(`pool: ${fault}`, `${this.#service.source} source`);
    if (this.#site.scheduler.now < this.#backAt) return badAnswer('refused');
    if (isWebFault(fault)) return badAnswer(fault);
    if (fault === 'nothing') return respond(200, '');
    const answer = this.#service.source === 'k8s' ? this.#k8sAnswer(request) : this.#etcdAnswer(request);
    return fault === 'late' ? late(answer) : answer;
  }

  #etcdAnswer({ url, body }: WebRequest): WebAnswer {
    if (url.startsWith('/v2/keys/')) {
      const answer = this.#etcdV2.answer(url);
      return 'open' in answer ? this.#stream(answer.open) : respond(answer.status, answer.body, answer.headers);
    }
    if (url === '/v3/watch') return this.#stream((push) => this.#etcd.watch(body, push));
    if (url !== '/v3/kv/range') return badAnswer('not found');
    const { status, body: text } = this.#etcd.range(body);
    return respond(status, text);
  }

  #k8sAnswer({ url, headers }: ServedRequest): WebAnswer {
    const answer = this.#k8s.answer(url, headers['authorization']);
    if ('open' in answer) {
      const seconds = Number(new URL(url, 'http://api').searchParams.get('timeoutSeconds'));
      return this.#stream((push, end) => {
        const close = answer.open(push, end);
        const disarm = this.#site.scheduler.at(seconds * 1000, end);
        return () => {
          disarm();
          close();
        };
      });
    }
    if (this.#fault === 'truncated') return respond(200, answer.body.slice(0, answer.body.length / 2));
    if (this.#fault === 'too large') return respond(200, HUGE);
    return respond(answer.status, this.#fault === 'garbage' || this.#fault === 'code' ? '<html>' : answer.body);
  }

  #stream(open: (push: (text: string) => void, end: () => void) => () => void): Stream {
    return {
      is: 'stream',
      open: (push, end) => {
        let close = (): void => {};
        const finish = (broken: boolean): void => {
          if (!this.#streams.delete(finish)) return;
          close();
          end(broken);
        };
        this.#streams.add(finish);
        close = open(push, () => finish(false));
        return () => {
          this.#streams.delete(finish);
          close();
        };
      },
    };
  }
}
