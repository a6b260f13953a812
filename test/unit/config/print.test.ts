import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { checkReport } from '../../../src/config/check.ts';
import { decodeConfig } from '../../../src/config/decode.ts';
import { GLOBAL_OPTIONS, SERVICE_OPTIONS } from '../../../src/config/options.ts';
import { PEER_OPTIONS } from '../../../src/config/options-bgp.ts';
import { printManual } from '../../../src/config/manual.ts';
import { exampleOf, printExample } from '../../../src/config/print.ts';
import { scanText } from '../../../src/config/text.ts';
import { readValue } from '../../../src/config/values.ts';
import type { MonitorModule, OptionRow } from '../../../src/health/monitor.ts';
import { printComplaint } from '../../../src/lib/errors.ts';
import { memoryFiles, utf8 } from '../../support/memory-files.ts';

// This file runs as dist/test/unit/config/print.test.js.
const ROOT = new URL('../../../../', import.meta.url);
const EXAMPLE = new URL('etc/pybal.conf', ROOT);
const MANUAL = new URL('docs/pybal.conf.5', ROOT);

async function shippedMonitors(): Promise<readonly MonitorModule[]> {
  const files = readdirSync(new URL('monitors/', ROOT)).filter((name) => name.endsWith('.ts'));
  const modules: MonitorModule[] = [];
  for (const file of files) {
    const built = new URL(`dist/monitors/${file.replace(/\.ts$/, '.js')}`, ROOT);
    modules.push(((await import(built.href)) as { readonly default: MonitorModule }).default);
  }
  return modules;
}

describe('config/print', () => {
  let modules: readonly MonitorModule[] = [];
  const monitor = (name: string) =>
    Promise.resolve(modules.find((module) => module.name.toLowerCase() === name.toLowerCase()) ?? null);
  before(async () => {
    modules = await shippedMonitors();
    expect(modules.map((module) => module.name)).to.include.members(['IdleConnection', 'ProxyFetch', 'RunCommand']);
  });

  it('etc/pybal.conf is what the option tables say (UPDATE_GOLDEN=1 writes it)', () => {
    const example = printExample(modules);
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(EXAMPLE, example);
    expect(readFileSync(EXAMPLE, 'utf8')).to.equal(example);
  });

  it('docs/pybal.conf.5 is what the option tables say (UPDATE_GOLDEN=1 writes it)', () => {
    const manual = printManual(modules);
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(MANUAL, manual);
    expect(readFileSync(MANUAL, 'utf8')).to.equal(manual);
  });

  it('the manual has the head line of each option, and no line that the formatter would take for a request', () => {
    const manual = printManual(modules);
    const options = [...GLOBAL_OPTIONS, ...PEER_OPTIONS, ...SERVICE_OPTIONS, ...modules.flatMap((m) => m.options)];
    expect(manual.match(/^\.TP$/gm)).to.have.length(options.length);
    for (const line of manual.trimEnd().split('\n'))
      expect(line).to.match(/^(?:[^.']|\.(?:\\" |TH |SH |B |I |BI |BR |TP$|br$|PP$))/);
  });

  for (const name of ['pybal.conf', 'minimal.conf'])
    it(`etc/${name} passes the check`, async () => {
      const disk = new Map([[`/${name}`, utf8(readFileSync(new URL(`etc/${name}`, ROOT), 'utf8'))]]);
      const report = await checkReport({ files: memoryFiles(disk), monitor }, `/${name}`, { stateDirectory: '/none' });
      expect(report.exitCode, report.text).to.equal(0);
    });

  it('etc/minimal.conf has nothing to complain of', async () => {
    const text = readFileSync(new URL('etc/minimal.conf', ROOT), 'utf8');
    const decoded = await decodeConfig(scanText(text, 'm'), { monitor, lastGood: new Map(), strict: true });
    expect(decoded.complaints.map(printComplaint)).to.deep.equal([]);
    expect(decoded.config?.services).to.have.length(1);
  });

  it('names every option once per table, with an example that can be read', () => {
    const example = printExample(modules);
    const rows: readonly (readonly [string, OptionRow])[] = [
      ...[...GLOBAL_OPTIONS, ...PEER_OPTIONS, ...SERVICE_OPTIONS].map((row) => [row.name, row] as const),
      ...modules.flatMap((m) => m.options.map((row) => [`${m.name.toLowerCase()}.${row.name}`, row] as const)),
    ];
    for (const [name, row] of rows) {
      expect(example).to.match(new RegExp(`^#?${name.replaceAll('.', '\\.')} =`, 'm'), name);
      expect(row.doc, name).to.match(/\.$/);
      expect(() => readValue(row, exampleOf(row)), name).to.not.throw();
    }
  });

  it('with every option switched on it is still read without an error', async () => {
    const text = printExample(modules).replace(/^#(?! |$)/gm, '');
    // Options that exclude others: flags belong to sh, one-packet scheduling to udp, another port and no tunnel to nat,
    // TCP-AO to no password.
    const fitting = text
      .replace(/^(bgp-)?tcp-ao-file = .*$/gm, '')
      .replace(/^scheduler = wrr$/m, 'scheduler = sh')
      .replace(/^forward = dr$/m, 'forward = nat')
      .replace(/^tunneling = yes$/m, 'tunneling = no')
      .replace(/^bgp = no$/m, 'bgp = yes')
      .replace(/^bgp-peer-address = .*$/m, "bgp-peer-address = [ '192.0.2.2' ]");
    const decoded = await decodeConfig(scanText(fitting, 'pybal.conf'), {
      monitor,
      lastGood: new Map(),
      strict: false,
    });
    const errors = decoded.complaints.filter((complaint) => complaint.severity === 'error');
    expect(errors.map(printComplaint)).to.deep.equal([]);
    expect(decoded.config?.services).to.have.length(1);
    expect(decoded.config?.peers).to.have.length(2);
  });
});
