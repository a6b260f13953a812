// The client's side as tests see it. The connections themselves are made by client-agent.ts in the client's namespace.

import { appendFileSync } from 'node:fs';
import { follow, until } from './process.ts';
import type { ServerName } from './network.ts';
import { downloadDigest, type DownloadPath } from './server.ts';
import type { Attempt, Download, Order, Report } from './client-agent.ts';

export interface Flood {
  readonly attempts: readonly Attempt[];
  failed(): readonly Attempt[];
  /** Answers since position `from`, by server. */
  byServer(from?: number): ReadonlyMap<string, number>;
  /** Stops, waits for the attempts under way, and answers all of them. */
  stop(): Promise<readonly Attempt[]>;
}

export interface FloodOptions {
  /** Default 40. */
  readonly everyMs?: number;
  /** Default 900: less than the second after which a lost SYN is sent again, which would hide an outage. */
  readonly connectTimeoutMs?: number;
  /** Whole exchange. Default 1900. */
  readonly timeoutMs?: number;
  readonly port?: number;
}

export interface RunningDownload {
  /** Where the bytes come from, once the first ones are there. */
  readonly server: Promise<string>;
  readonly bytes: () => number;
  readonly done: Promise<Download>;
}

export interface Client {
  flood(vip: string, options?: FloodOptions): Flood;
  /** One attempt after another until `count` are through; every one is reported. */
  ask(vip: string, count: number, options?: FloodOptions): Promise<readonly Attempt[]>;
  download(vip: string, path: DownloadPath, port?: number): RunningDownload;
  /** Stops every stream that a failed case left running. */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

/** Raw log of every attempt: one JSON object per line, in `logFile`. */
export async function startClient(agent: string, logFile: string): Promise<Client> {
  const floods = new Map<number, { attempts: Attempt[]; ended: boolean }>();
  const downloads = new Map<number, { bytes: number; server: string | null; done: Download | null }>();
  let log = '';
  const flush = (): void => {
    if (log !== '') appendFileSync(logFile, log);
    log = '';
  };
  const flusher = setInterval(flush, 1000);
  const process = follow('client', globalThis.process.execPath, [agent], {
    onLine: ({ text }) => {
      log += `${text}\n`;
      if (!text.startsWith('{')) return;
      const report = JSON.parse(text) as Report;
      switch (report.is) {
        case 'ready':
          return;
        case 'attempt':
          floods.get(report.id)?.attempts.push(report);
          return;
        case 'ended': {
          const flood = floods.get(report.id);
          if (flood !== undefined) flood.ended = true;
          return;
        }
        case 'progress': {
          const download = downloads.get(report.id);
          if (download !== undefined) Object.assign(download, { bytes: report.bytes, server: report.server });
          return;
        }
        case 'download': {
          const download = downloads.get(report.id);
          if (download !== undefined) Object.assign(download, { bytes: report.bytes, done: report });
          return;
        }
        default:
          report satisfies never;
      }
    },
  });
  await process.waitFor('ready', 30_000, (text) => text.includes('"ready"'));
  const order = (what: Order): void => process.send(`${JSON.stringify(what)}\n`);
  let lastId = 0;

  const begin = (vip: string, options: FloodOptions, count: number | null): { id: number; attempts: Attempt[] } => {
    const id = ++lastId;
    const attempts: Attempt[] = [];
    floods.set(id, { attempts, ended: false });
    const { everyMs = 40, connectTimeoutMs = 900, timeoutMs = 1900, port = 80 } = options;
    order({ do: 'flood', id, vip, port, everyMs, connectTimeoutMs, timeoutMs, count });
    return { id, attempts };
  };
  const end = (id: number, withinMs: number): Promise<unknown> =>
    until('the last attempts', withinMs, () => floods.get(id)?.ended, 20);

  return {
    flood(vip, options = {}) {
      const { id, attempts } = begin(vip, options, null);
      return {
        attempts,
        failed: () => attempts.filter((attempt) => attempt.error !== null),
        byServer: (from = 0) => countByServer(attempts.slice(from)),
        async stop() {
          order({ do: 'stop', id });
          await end(id, 5000);
          flush();
          return attempts;
        },
      };
    },
    async ask(vip, count, options = {}) {
      const { id, attempts } = begin(vip, options, count);
      await end(id, 10_000 + count * 3000);
      return attempts;
    },
    download(vip, path, port = 80) {
      const id = ++lastId;
      const state: { bytes: number; server: string | null; done: Download | null } = {
        bytes: 0,
        server: null,
        done: null,
      };
      downloads.set(id, state);
      order({ do: 'download', id, vip, port, path, digest: downloadDigest(path) });
      const server = until('first bytes of a download', 10_000, () => state.server ?? state.done?.error);
      const done = until('the end of a download', 300_000, () => state.done, 100);
      // A test that fails before it awaits them has its own error.
      server.catch(() => undefined);
      done.catch(() => undefined);
      return { server, bytes: () => state.bytes, done };
    },
    async quiet() {
      const running = [...floods].filter(([, flood]) => !flood.ended).map(([id]) => id);
      for (const id of running) order({ do: 'stop', id });
      await Promise.all(running.map((id) => end(id, 5000)));
    },
    async close() {
      clearInterval(flusher);
      await process.stop();
      flush();
    },
  };
}

export function countByServer(attempts: readonly Attempt[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { server } of attempts) if (server !== null) counts.set(server, (counts.get(server) ?? 0) + 1);
  return counts;
}

export type { Attempt, Download, ServerName };
