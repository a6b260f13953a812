// Pool lists in stores that tell of changes: an etcd and the API server of a Kubernetes cluster per service, in memory
// (test/support), behind the simulated network, with the faults of pool-store.ts as they look there.

import type { ServedRequest } from '../../src/world/world.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { FakeK8s } from '../support/fake-k8s.ts';
import { etcdFolder, K8S_TOKEN, watchedPort } from './conf.ts';
import type { WebAnswer, WebRequest } from './http.ts';
import type { SourceFault } from './pool-store.ts';
import type { Site } from './site.ts';
import { POOL_SERVER, type PoolEntry, type ServicePlan } from './topology.ts';

type Stream = WebAnswer & { readonly is: 'stream' };

/** One service's store. */
export class WatchedStore {
  readonly #service: ServicePlan;
  readonly #site: Site;
  readonly #etcd = new FakeEtcd();
  readonly #k8s = new FakeK8s();
  readonly #streams = new Set<(broken: boolean) => void>();
  #entries: readonly PoolEntry[] = [];
  #fault: SourceFault | null = null;

  constructor(site: Site, service: ServicePlan) {
    this.#site = site;
    this.#service = service;
    this.#k8s.token = K8S_TOKEN;
    site.web.site({ address: POOL_SERVER.address, port: watchedPort(service) }, (request) => this.#serve(request));
  }

  write(entries: readonly PoolEntry[], fault: SourceFault | null): void {
    const before = this.#fault;
    this.#entries = entries;
    this.#fault = fault;
    if (this.#service.source === 'etcd') this.#writeEtcd();
    else this.#writeK8s();
    if (fault === 'hang') {
      this.#etcd.deafen();
      this.#k8s.deafen();
    } else if (fault !== before && (isOfServer(fault) || before === 'hang')) this.#breakStreams();
  }

  /** History is thrown away, and watches that were not quick enough are told so. Nobody may notice. */
  compact(): void {
    this.#etcd.put('/elsewhere', `${this.#site.scheduler.now}`);
    this.#etcd.compact();
    this.#etcd.cancelCompacted();
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
    const have = this.#etcd.keys(folder);
    for (const [key, value] of wanted) if (have.get(key) !== value) this.#etcd.put(key, value);
    this.#etcd.remove([...have.keys()].filter((key) => !wanted.has(key)));
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
    switch (fault) {
      case 'error 500':
        return respond(500, 'internal error');
      case 'not found':
        return respond(404, '404 page not found');
      case 'redirect':
        return respond(302, '');
      case 'hang':
        return { is: 'hang' };
      case 'cut off':
        return { is: 'cut off' };
      default:
        return this.#service.source === 'etcd' ? this.#etcdAnswer(request) : this.#k8sAnswer(request);
    }
  }

  #etcdAnswer({ url, body }: WebRequest): WebAnswer {
    if (url === '/v3/watch') return this.#stream((push) => this.#etcd.watch(body, push));
    if (url !== '/v3/kv/range') return respond(404, '404 page not found');
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

/** Not of what is stored. */
function isOfServer(fault: SourceFault | null): boolean {
  return fault === 'error 500' || fault === 'not found' || fault === 'cut off' || fault === 'redirect';
}

function respond(status: number, text: string): WebAnswer {
  return { is: 'response', response: { status, headers: {}, body: new TextEncoder().encode(text) }, delayMs: 1 };
}
