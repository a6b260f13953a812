// PyBal's instrumentation pages, as deploy scripts and Nagios plugins know them: /pools, /alerts, /metrics. Pure: a request
// and a View in, a response out. Served on instrumentation_port.

import { unescaped } from '../lib/url.ts';
import type { ServedRequest, ServedResponse } from '../world/world.ts';
import { METRICS_CONTENT_TYPE, printMetrics } from './metrics.ts';
import type { ServerView, ServiceView, View } from './types.ts';

/** Served on GET and HEAD. JSON for exactly `Accept: application/json`, text for everything else, lists and q included. */
export function pybalResponse(request: ServedRequest, view: View): ServedResponse {
  const json = request.headers['accept'] === 'application/json';
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, headers: { 'content-type': 'text/plain', allow: 'GET, HEAD' }, body: 'Method not allowed\n' };
  }
  const [path = ''] = request.url.split('?', 1);
  if (path === '/metrics') {
    return { status: 200, headers: { 'content-type': METRICS_CONTENT_TYPE }, body: printMetrics(view) };
  }
  const page = path === '/alerts' ? alerts(view) : pools(path, view);
  if (page === null) {
    const text = 'The desired url was not found';
    return answer(404, json ? JSON.stringify({ error: text }) : text, json);
  }
  return answer(200, json ? JSON.stringify(page.json) : page.text, json);
}

function answer(status: number, body: string, json: boolean): ServedResponse {
  return { status, headers: { 'content-type': json ? 'application/json' : 'text/plain' }, body };
}

interface Page {
  readonly text: string;
  readonly json: unknown;
}

/** `/pools`, `/pools/<pool>` (both also with a slash at the end) and `/pools/<pool>/<host>`. */
function pools(path: string, view: View): Page | null {
  const [root, first, name, host, ...more] = path.split('/');
  if (root !== '' || first !== 'pools' || more.length > 0) return null;
  if (name === undefined || (name === '' && host === undefined)) {
    const names = view.services.map((service) => service.name);
    return { text: names.map((each) => `${each}\n`).join(''), json: names };
  }
  const service = view.services.find((each) => each.name === unescaped(name));
  if (service === undefined) return null;
  if (host === undefined || host === '') return poolPage(service);
  const server = service.servers.find((each) => each.host === unescaped(host));
  return server === undefined ? null : { text: `${server.status}\n`, json: serverJson(server) };
}

function poolPage({ servers }: ServiceView): Page {
  return {
    text: servers.map(({ host, status }) => `${host}:\t${status}\n`).join(''),
    json: Object.fromEntries(servers.map((server) => [server.host, serverJson(server)])),
  };
}

function serverJson({ pooled, weight, up, enabled }: ServerView) {
  return { pooled, weight, up, enabled };
}

/**
 * PyBal's rule and words first: held servers are critical, and then warnings are not told; a pool that can not lose a server
 * is a warning. What anybal knows beyond that follows, and may raise the level. Always status 200, never a newline.
 */
function alerts(view: View): Page {
  const held = view.services
    .filter((service) => service.held > 0)
    .map(({ name, servers }) => {
      const hosts = servers.filter((server) => server.held).map(({ host }) => host);
      return `${name}: Servers ${hosts.join(', ')} are marked down but pooled`;
    });
  const small = view.services
    .filter(({ tooSmall }) => tooSmall)
    .map(({ name }) => `Pool ${name} is too small to allow depooling. `);
  const pybal = held.length > 0 ? held.join('; ') : small.join('');
  const further = view.alarms.map(({ text }) => text).join('; ');
  const isCritical = held.length > 0 || view.alarms.some(({ level }) => level === 'critical');
  const status = isCritical ? 'critical' : pybal !== '' || further !== '' ? 'warning' : 'ok';
  const joint = held.length > 0 && further !== '' ? '; ' : '';
  const found = `${pybal}${joint}${further}`.replace(/[\0-\x1f\x7f]/g, ' ');
  const msg = status === 'ok' ? 'All pools are healthy' : found;
  return { text: `${status.toUpperCase()} - ${msg}`, json: { status, msg } };
}
