// The read-only HTTP API on the Unix socket. Pure: a request, a View and the decision in, a response out. Its client is
// cli/status.ts.
//
//   GET /v1/status     the View
//   GET /v1/decision   the decision with its causes and desired tables, as it stands
//   GET /v1/alarms     the alarms of the View
//   GET /v1/metrics    as on the instrumentation port
//   GET /v1/history/H  what the monitors said of host H lately, in each service that has it

import type { Decision } from '../decision/decision.ts';
import type { ServedRequest, ServedResponse } from '../world/world.ts';
import { METRICS_CONTENT_TYPE, printMetrics } from './metrics.ts';
import type { CheckHistory, View } from './types.ts';

export interface ApiSources {
  readonly view: View;
  readonly decision: Decision | null;
  history(host: string): readonly CheckHistory<number>[];
}

export function apiResponse(request: ServedRequest, { view, decision, history }: ApiSources): ServedResponse {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return reply(405, { error: 'only GET is served here' }, { allow: 'GET, HEAD' });
  }
  const [path = ''] = request.url.split('?', 1);
  switch (path) {
    case '/v1/status':
      return reply(200, view);
    case '/v1/decision':
      return reply(200, decision === null ? null : plain(decision));
    case '/v1/alarms':
      return reply(200, view.alarms);
    case '/v1/metrics':
      return { status: 200, headers: { 'content-type': METRICS_CONTENT_TYPE }, body: printMetrics(view) };
    default:
      if (path.startsWith(HISTORY)) return historyOf(path.slice(HISTORY.length), history);
      return reply(404, { error: `nothing is at ${path}` });
  }
}

const HISTORY = '/v1/history/';

function historyOf(encoded: string, history: ApiSources['history']): ServedResponse {
  let host: string;
  try {
    host = decodeURIComponent(encoded);
  } catch {
    return reply(400, { error: `not a host: ${encoded}` });
  }
  const found = history(host);
  return found.length === 0 ? reply(404, { error: `no service has a host ${host}` }) : reply(200, found);
}

function reply(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): ServedResponse {
  const text = JSON.stringify(body, (_, value: unknown) => (value === Infinity ? null : value));
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: `${text}\n` };
}

/** The decision without what it was decided on: maps as objects, sets as arrays. */
function plain(decision: Decision): unknown {
  return convert({ ...decision, config: decision.config.file });
}

function convert(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), convert(item)]));
  if (value instanceof Set) return [...value].map(convert);
  if (Array.isArray(value)) return value.map(convert);
  const entries = Object.entries(value).filter(([key]) => key !== 'basis');
  return Object.fromEntries(entries.map(([key, item]) => [key, convert(item)]));
}
