import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadMonitor, loadMonitorFile, MonitorRefused } from '../../../src/health/loader.ts';
import { errorText } from '../../../src/lib/errors.ts';

const MODULE = `export default { apiVersion: 1, name: 'Mine', kind: 'poll', options: [],
  timing: () => ({ intervalSeconds: 1, timeoutSeconds: 1 }), create: () => ({ check: async () => ({ is: 'up' }) }) };`;

describe('loadMonitor', () => {
  const root = mkdtempSync(join(tmpdir(), 'health-loader-'));
  let folders = 0;
  after(() => rmSync(root, { recursive: true }));

  /** A new folder with these files: modules are cached by path. */
  function folder(files: Readonly<Record<string, string>>): string {
    const path = join(root, String(++folders));
    mkdirSync(path, { mode: 0o755 });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text, { mode: 0o644 });
    return path;
  }
  /** As an editor does: another file in its place. */
  const replace = (file: string, text: string) => {
    writeFileSync(`${file}.new`, text, { mode: 0o644 });
    renameSync(`${file}.new`, file);
  };
  const refusal = async (name: string, path: string, importMs?: number) => {
    try {
      await loadMonitor(name, [path], importMs === undefined ? {} : { importMs });
    } catch (error) {
      if (error instanceof MonitorRefused) return error.message.replaceAll(path, '…');
      throw error;
    }
    return 'accepted';
  };

  it('finds the built-in monitors in any case', async () => {
    for (const name of ['ProxyFetch', 'proxyfetch', 'IDLECONNECTION', 'RunCommand']) {
      expect((await loadMonitor(name, []))?.name.toLowerCase()).to.equal(name.toLowerCase());
    }
  });

  it('answers null for what is not there, or is no name', async () => {
    for (const name of [
      'Nothing',
      '',
      '../proxyfetch',
      'proxyfetch.js',
      '/etc/passwd',
      'a\0b',
      'README',
      '__skeleton__',
    ]) {
      expect(await loadMonitor(name, [join(root, 'missing')]), name).to.equal(null);
    }
  });

  it('tells a folder from a file that is not there', async () => {
    const why = (file: string) =>
      loadMonitorFile(file).then(
        () => 'loaded',
        (error: unknown) => errorText(error),
      );
    expect(await why(root)).to.equal(`${root}: it is a folder`);
    expect(await why(join(root, 'missing'))).to.equal(`${join(root, 'missing')}: there is no such file`);
  });

  it('prefers a configured directory, the first one first', async () => {
    const first = folder({ 'proxyfetch.mjs': MODULE.replace('Mine', 'ProxyFetch') });
    const second = folder({ 'proxyfetch.mjs': MODULE.replace('Mine', 'PROXYFETCH'), 'mine.mjs': MODULE });
    expect((await loadMonitor('ProxyFetch', [first, second]))?.name).to.equal('ProxyFetch');
    expect((await loadMonitor('ProxyFetch', [second, first]))?.name).to.equal('PROXYFETCH');
  });

  it('looks into no file that was not named', async () => {
    const text = `globalThis.lookedInto = (globalThis.lookedInto ?? 0) + 1; ${MODULE}`;
    const path = folder({ 'mine.mjs': text, 'min.js': text });
    expect(await loadMonitor('Mien', [path])).to.equal(null);
    expect(globalThis).to.not.have.property('lookedInto');
    await loadMonitor('Mine', [path]);
    expect(globalThis).to.have.property('lookedInto', 1);
  });

  it('refuses files and folders that others can write', async () => {
    const file = folder({ 'mine.mjs': MODULE });
    chmodSync(join(file, 'mine.mjs'), 0o664);
    expect(await refusal('mine', file)).to.equal('…/mine.mjs: …/mine.mjs can be written by others (mode 0664)');
    const open = folder({ 'mine.mjs': MODULE });
    chmodSync(open, 0o777);
    expect(await refusal('mine', open)).to.equal('…/mine.mjs: … can be written by others (mode 0777)');
    const linked = folder({});
    symlinkSync(join(file, 'mine.mjs'), join(linked, 'mine.mjs'));
    expect(await refusal('mine', linked)).to.match(/can be written by others \(mode 0664\)$/);
  });

  it('refuses files that belong to somebody else', async function () {
    // Only root can give a file away; anybody else would own it again.
    if (process.getuid?.() !== 0) this.skip();
    const given = folder({ 'mine.mjs': MODULE });
    chownSync(join(given, 'mine.mjs'), 12345, 12345);
    expect(await refusal('mine', given)).to.equal('…/mine.mjs: …/mine.mjs belongs to user 12345, not to root');
  });

  it('tells a missing import from a missing monitor, and a crash from both', async () => {
    const path = folder({
      'lost.mjs': `import './nowhere.mjs'; ${MODULE}`,
      'crash.mjs': `throw new Error('at import');`,
      'syntax.mjs': 'const fine = 1;\n\nexport default {',
    });
    expect(await refusal('lost', path)).to.match(/^…\/lost.mjs: an import of it is missing: .*nowhere/);
    expect(await refusal('crash', path)).to.equal('…/crash.mjs: at import');
    expect(await refusal('syntax', path)).to.match(/^…\/syntax.mjs: line 3: Unexpected end of input/);
  });

  it('waits for no module for ever, and takes one that has come late', async () => {
    const path = folder({ 'mine.mjs': `await globalThis.lateMonitor; ${MODULE}` });
    let settle = (): void => {};
    const late = { lateMonitor: new Promise<void>((resolve) => (settle = resolve)) };
    Object.assign(globalThis, late);
    const hasty = () => refusal('mine', path, 20);
    expect(await hasty()).to.equal('…/mine.mjs: an await at its top level has not ended after 0.02 s');
    // It is not waited for again, whatever it may take.
    expect(await refusal('mine', path)).to.match(/has not ended/);
    settle();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await refusal('mine', path)).to.equal('accepted');
  });

  for (const [what, text] of [
    ['never comes to its end', 'await new Promise(() => {}); export default {};'],
    ['is no JavaScript', 'export default {'],
    ['throws', `throw new Error('at import');`],
    ['misses an import', `import './nowhere.mjs';`],
    ['is no monitor', 'export default {};'],
  ] as const) {
    it(`takes a file that ${what} once it is corrected, and reads it no more then`, async () => {
      const path = folder({ 'mine.mjs': text });
      expect(await refusal('mine', path, 200)).to.not.equal('accepted');
      replace(join(path, 'mine.mjs'), MODULE);
      const [first] = await Promise.all([loadMonitor('mine', [path]), loadMonitor('Mine', [path])]);
      expect(first?.name).to.equal('Mine');
      replace(join(path, 'mine.mjs'), text);
      expect(await loadMonitor('mine', [path])).to.equal(first);
    });
  }

  for (const [from, to, reason] of [
    ['apiVersion: 1', 'apiVersion: 2', 'it is made for version 2 of the contract, this is 1'],
    ["name: 'Mine'", "name: 'a b'", 'name is not a word of letters and digits'],
    ["name: 'Mine'", "name: 'Theirs'", 'a monitor named Theirs must be in a file theirs.mjs'],
    ["'poll'", "'pole'", "kind is neither 'poll' nor 'watch'"],
    ['timing:', 'timings:', 'create or timing is missing'],
    ['options: []', 'options: [], viaPath: false', 'viaPath is not a function'],
    ['options: []', 'options: [{}]', 'an option has no name, kind or doc'],
    [
      'options: []',
      "options: [{ name: 'x', kind: 'int', doc: '' }, { name: 'x', kind: 'int', doc: '' }]",
      'option x is there twice',
    ],
    ['options: []', "options: [{ name: 'x', kind: 'odd', doc: '' }]", 'option x is of kind odd, which there is not'],
    ['export default', 'export const monitor =', 'it has no default export that is a monitor'],
  ] as const) {
    it(`refuses a module: ${reason}`, async () => {
      expect(await refusal('mine', folder({ 'mine.mjs': MODULE.replace(from, to) }))).to.equal(`…/mine.mjs: ${reason}`);
    });
  }
});
