import { expect } from 'chai';
import fc from 'fast-check';
import { printMetrics } from '../../../src/control/metrics.ts';
import { pybalResponse } from '../../../src/control/pybal-http.ts';
import { makeView } from '../../../src/control/view.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';
import { bfdSession, check, inputs, peer, server, serviceVerdict } from '../../support/view-inputs.ts';

/** Samples by metric, out of Prometheus' text format; throws where a line is not of that format. */
function parse(text: string): ReadonlyMap<string, { readonly type: string; readonly samples: Map<string, string> }> {
  const families = new Map<string, { type: string; samples: Map<string, string> }>();
  let current = '';
  for (const line of text.split('\n').slice(0, -1)) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (?:[^\\\n]|\\\\|\\n)*$/.exec(line);
    const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (gauge|counter|histogram)$/.exec(line);
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+\})? (NaN|[+-]Inf|-?[0-9.e+-]+)$/.exec(
        line,
      );
    if (help !== null) {
      current = help[1] ?? '';
      if (families.has(current)) throw new Error(`${current} comes twice`);
      families.set(current, { type: '', samples: new Map() });
    } else if (type !== null) {
      const family = families.get(type[1] ?? '');
      if (family === undefined || type[1] !== current || family.type !== '') throw new Error(`misplaced: ${line}`);
      family.type = type[2] ?? '';
    } else if (sample !== null) {
      const suffix =
        families.get(current)?.type === 'histogram' ? /_(?:bucket|sum|count)$/.exec(sample[1] ?? '') : null;
      const name = suffix === null ? sample[1] : sample[1]?.slice(0, suffix.index);
      const family = families.get(name ?? '');
      const labels = (suffix?.[0] ?? '') + (sample[2] ?? '');
      if (family === undefined || name !== current || family.type === '') throw new Error(`misplaced: ${line}`);
      if (family.samples.has(labels)) throw new Error(`twice: ${line}`);
      family.samples.set(labels, sample[3] ?? '');
    } else throw new Error(`not of the format: ${line}`);
  }
  return families;
}

/** The lines of one metric, without its head. */
const lines = (text: string, name: string) => text.split('\n').filter((line) => new RegExp(`^${name}[{ ]`).test(line));

async function page(...given: Parameters<typeof inputs>) {
  const text = printMetrics(makeView(await inputs(...given)));
  parse(text);
  return text;
}

describe('/metrics', () => {
  it('is served in the text format of Prometheus', async () => {
    const view = makeView(await inputs());
    const { status, headers, body } = pybalResponse({ method: 'GET', url: '/metrics', headers: {} }, view);
    expect([status, headers['content-type']]).to.deep.equal([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(parse(body).get('pybal_bgp_enabled')?.samples.get('')).to.equal('1.0');
    expect(body.endsWith('\n')).to.equal(true);
  });

  it('has a histogram of how late checks have started', async () => {
    const samples = parse(await page()).get('anybal_check_start_late_seconds')?.samples;
    expect([...(samples ?? [])]).to.deep.equal([
      ['_bucket{le="0.001"}', '8.0'],
      ['_bucket{le="0.01"}', '9.0'],
      ['_bucket{le="+Inf"}', '10.0'],
      ['_sum', '0.0315'],
      ['_count', '10.0'],
    ]);
  });

  it('has a BFD session as its peer, and leaves out what is not known', async () => {
    const text = await page(() => {}, {
      bfd: [bfdSession(), bfdSession({ name: 'cr2', state: 'Init', detectionMs: null, transmitMs: null })],
    });
    expect(text.split('\n').filter((line) => line.startsWith('anybal_bfd_'))).to.deep.equal([
      'anybal_bfd_up{peer="192.0.2.1"} 1.0',
      'anybal_bfd_up{peer="cr2"} 0.0',
      'anybal_bfd_detection_seconds{peer="192.0.2.1"} 0.15',
      'anybal_bfd_transmit_seconds{peer="192.0.2.1"} 0.05',
      'anybal_bfd_packets_in_total{peer="192.0.2.1"} 7.0',
      'anybal_bfd_packets_in_total{peer="cr2"} 7.0',
      'anybal_bfd_packets_out_total{peer="192.0.2.1"} 8.0',
      'anybal_bfd_packets_out_total{peer="cr2"} 8.0',
      'anybal_bfd_packets_discarded_total{peer="192.0.2.1"} 2.0',
      'anybal_bfd_packets_discarded_total{peer="cr2"} 2.0',
      'anybal_bfd_send_errors_total{peer="192.0.2.1"} 1.0',
      'anybal_bfd_send_errors_total{peer="cr2"} 1.0',
      'anybal_bfd_downs_total{peer="192.0.2.1"} 3.0',
      'anybal_bfd_downs_total{peer="cr2"} 3.0',
    ]);
  });

  it("has PyBal's numbers of each service", async () => {
    const text = await page(
      ({ config, services }) => {
        const service = config.services.find(({ name }) => name === 'text_80');
        const list = [
          server('cp1'),
          server('cp2', { held: true }),
          server('cp3', { enabled: false, pooled: false }),
          server('cp4', { stands: 'down' }),
        ];
        if (service !== undefined) services.set('text_80', serviceVerdict(service, list));
      },
      { couldNotDepool: new Map([['text_80', 3]]) },
    );
    const ofService = text
      .split('\n')
      .filter((line) => line.startsWith('pybal_service_') && line.includes('"text_80"'));
    expect(ofService).to.deep.equal([
      'pybal_service_servers{service="text_80"} 4.0',
      'pybal_service_servers_enabled{service="text_80"} 3.0',
      'pybal_service_servers_up{service="text_80"} 2.0',
      'pybal_service_servers_pooled{service="text_80"} 2.0',
      'pybal_service_can_depool{service="text_80"} 0.0',
      'pybal_service_pooled_down_servers{service="text_80"} 1.0',
      'pybal_service_depool_threshold{service="text_80"} 0.5',
      'pybal_service_could_not_depool_total{service="text_80"} 3.0',
    ]);
  });

  it('has the session of each peer as restart scripts match it', async () => {
    const text = await page(undefined, {
      peers: [
        peer(),
        peer({ name: 'two', address: '2001:db8::1', established: false, state: 'OpenSent', localAddress: null }),
      ],
    });
    expect(lines(text, 'pybal_bgp_session_established')).to.deep.equal([
      'pybal_bgp_session_established{local_asn="64600",peer="192.0.2.1"} 1.0',
      'pybal_bgp_session_established{local_asn="64600",peer="2001:db8::1"} 0.0',
    ]);
    expect(lines(text, 'pybal_bgp_session_state_count')).to.deep.equal([
      'pybal_bgp_session_state_count{local_asn="64600",state="ESTABLISHED",local_ip="192.0.2.10",remote_ip="192.0.2.1",side="active"} 1.0',
      'pybal_bgp_session_state_count{local_asn="64600",state="OPENSENT",local_ip="",remote_ip="2001:db8::1",side="active"} 1.0',
    ]);
  });

  it("has PyBal's numbers of each monitor, and what monitors measured", async () => {
    const observation = {
      metric: 'pybal_monitor_proxyfetch_request_duration_seconds',
      kind: 'gauge',
      labels: { service: 'text_80', host: 'cp1', monitor: 'ProxyFetch', result: 'successful', url: 'http://x/"\\' },
      value: 0.004,
    } as const;
    const text = await page(undefined, {
      checks: [
        check('text_80', 'cp1', { observations: [observation] }),
        check('text_80', 'cp1', { candidate: true, is: 'down' }),
        check('text_80', 'cp2', { is: 'unknown', monitor: 'IdleConnection' }),
      ],
    });
    expect(lines(text, 'pybal_monitor_status')).to.deep.equal([
      'pybal_monitor_status{service="text_80",host="cp1",monitor="ProxyFetch"} 1.0',
      'pybal_monitor_status{service="text_80",host="cp2",monitor="IdleConnection"} 0.0',
    ]);
    expect(lines(text, 'pybal_monitor_up_results_total')[0]).to.equal(
      'pybal_monitor_up_results_total{service="text_80",host="cp1",monitor="ProxyFetch"} 10.0',
    );
    expect(lines(text, 'pybal_monitor_proxyfetch_request_duration_seconds')).to.deep.equal([
      'pybal_monitor_proxyfetch_request_duration_seconds' +
        '{service="text_80",host="cp1",monitor="ProxyFetch",result="successful",url="http://x/\\"\\\\"} 0.004',
    ]);
  });

  it('leaves out a measurement whose name would spoil the page', async () => {
    const bad = { kind: 'gauge', labels: {}, value: 1 } as const;
    const observations = [
      { ...bad, metric: 'pybal_monitor_x y' },
      { ...bad, metric: 'up' },
      { ...bad, metric: 'pybal_monitor_x', labels: { 'a-b': '' } },
    ];
    const text = await page(undefined, { checks: [check('text_80', 'cp1', { observations })] });
    expect(text).to.not.match(/^(pybal_monitor_x|up)/m);
  });

  it('tells what is wrong beyond PyBal', async () => {
    const well = await inputs();
    const text = await page(undefined, {
      facts: { ...well.facts, kernel: { ...well.facts.kernel, verifiedAt: null } },
      logLinesDropped: 7,
    });
    expect(lines(text, 'anybal_alarms')).to.deep.equal([
      'anybal_alarms{level="warning"} 0.0',
      'anybal_alarms{level="critical"} 1.0',
    ]);
    expect(lines(text, 'anybal_kernel_verified_age_seconds')).to.deep.equal([]);
    expect(lines(text, 'anybal_log_lines_dropped_total')).to.deep.equal(['anybal_log_lines_dropped_total 7.0']);
    expect(lines(text, 'anybal_vip_announced')).to.deep.equal([
      'anybal_vip_announced{vip="10.0.0.1"} 1.0',
      'anybal_vip_announced{vip="2001:db8::53"} 1.0',
    ]);
  });

  it('is of the format whatever hosts are called and monitors measure', async () => {
    const well = await inputs();
    fc.assert(
      fc.property(
        fc.string({ unit: ANY_CHARACTER }),
        fc.double(),
        fc.string({ unit: ANY_CHARACTER }),
        (host, value, label) => {
          const decision = well.decision;
          const service = decision?.config.services[0];
          if (decision === null || service === undefined) throw new Error('no service');
          const services = new Map([[service.name, serviceVerdict(service, [server(host)])]]);
          const observation = { metric: 'pybal_monitor_x', kind: 'gauge', labels: { a: label }, value } as const;
          const checks = [check(service.name, host, { observations: [observation] })];
          parse(printMetrics(makeView({ ...well, decision: { ...decision, services }, checks })));
        },
      ),
    );
  });
});
