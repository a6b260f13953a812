// The house: which floor may import which, and what only the outermost rooms may touch. Reads the sources themselves, so a
// rule that is broken anywhere in src or monitors is named here with its file and line.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect } from 'chai';
import { checkReport } from '../../src/config/check.ts';
import { loadMonitor } from '../../src/health/loader.ts';
import { createFiles } from '../../src/world/real/files.ts';

const ROOT = new URL('../../../', import.meta.url).pathname;

interface Import {
  readonly from: string;
  readonly line: number;
  /** A path inside the checkout, or a package as it is written. */
  readonly to: string;
  readonly typesOnly: boolean;
}

function sourcesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
    .sort();
}

const SOURCES = [...sourcesUnder('src'), ...sourcesUnder('monitors')];
const TEXTS = new Map(SOURCES.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]));
const CODE = new Map([...TEXTS].map(([file, text]) => [file, codeOf(text)]));
const IMPORTS = SOURCES.flatMap((file) => importsOf(file, TEXTS.get(file) ?? ''));

function importsOf(from: string, text: string): Import[] {
  const found: Import[] = [];
  const patterns = [
    /^(import|export)\b(?<kind> type)?[^;'"]*?from '(?<to>[^']+)';/gm,
    /\bimport\('(?<to>[^']+)'\)/g,
    /^import '(?<to>[^']+)';/gm,
  ];
  for (const pattern of patterns) {
    for (const match of text.matchAll(pattern)) {
      const { to = '', kind } = match.groups ?? {};
      const line = text.slice(0, match.index).split('\n').length;
      const before = text.slice(0, match.index);
      const typesOnly = kind !== undefined || /\btypeof $/.test(before);
      found.push({ from, line, to: to.startsWith('.') ? normalize(join(dirname(from), to)) : to, typesOnly });
    }
  }
  return found;
}

/** The text with comments and the insides of strings blanked, line by line as before. */
function codeOf(text: string): string {
  const token = /\/\/.*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g;
  return text.replace(token, (match) => match.replace(/[^\n]/g, ' '));
}

/** `src/bgp`, `src/world/real`, `monitors`, or the file itself where it stands alone. */
function roomOf(path: string): string {
  if (path.startsWith('src/world/real/')) return 'src/world/real';
  const parts = path.split('/');
  return parts.length > 2 ? parts.slice(0, 2).join('/') : path.startsWith('monitors/') ? 'monitors' : path;
}

const show = ({ from, line, to }: Import): string => `${from}:${line} imports ${to}`;

/** Whose code (not only types) each room may run. Itself and src/lib always. */
const MAY_RUN: Readonly<Record<string, readonly string[]>> = {
  'src/lib': [],
  'src/ffi': [],
  'src/world': [],
  'src/log': [],
  'src/netlink': ['src/ffi'],
  'src/ipvs': ['src/netlink', 'src/ffi'],
  // The table in memory that also keeps addresses.
  'src/vip': ['src/netlink', 'src/ffi', 'src/ipvs/memory.ts'],
  'src/config': ['src/ipvs/table.ts'],
  // The guard refuses what would break the floor: the rule is the decision's own.
  'src/pools': ['src/config/literal.ts', 'src/config/identity.ts', 'src/decision/floor.ts'],
  'src/health': [],
  'src/bgp': [],
  'src/bfd': [],
  'src/decision': ['src/ipvs/table.ts', 'src/config/identity.ts'],
  'src/reconcile': ['src/ipvs/table.ts', 'src/ipvs/ipvsadm.ts', 'src/vip/addresses.ts'],
  'src/control': [],
  'src/cli': ['src/log/format.ts'],
  'src/world/real': ['src/bfd', 'src/ffi', 'src/ipvs', 'src/vip', 'src/netlink', 'src/health/loader.ts'],
  monitors: ['monitors/lib'],
  'monitors/lib': [],
};

/** Where everything comes together: these may import all of src, and nothing of src may import them. */
const TOP: ReadonlySet<string> = new Set([
  'src/anybal.ts',
  'src/daemon.ts',
  'src/main.ts',
  'src/demo',
  'src/foreground',
]);

/** Files of data and types that any room may speak of. */
const DATA: ReadonlySet<string> = new Set([
  'src/world/world.ts',
  'src/log/record.ts',
  'src/ipvs/table.ts',
  'src/vip/addresses.ts',
  'src/health/monitor.ts',
  'src/config/rows.ts',
  'src/config/types.ts',
  'src/bfd/types.ts',
  'src/decision/facts.ts',
  'src/decision/decision.ts',
  'src/control/types.ts',
]);

/** Files beyond the rules of their room, each with the reason. */
const ALSO: Readonly<Record<string, { readonly may: readonly string[]; readonly because: string }>> = {
  'src/config/check.ts': { may: ['src/log/format.ts'], because: 'shows a person what stands in a file' },
  'src/log/sink.ts': { may: ['src/world/real/errors.ts'], because: 'writes to real files, and names their errors' },
};

/** Packages and modules of Node, each with the only files that may load them. */
const LOADERS: Readonly<Record<string, { readonly in: readonly string[]; readonly because: string }>> = {
  koffi: { in: ['src/ffi/process.ts'], because: 'one file calls into libc' },
  'node:module': {
    in: ['src/ffi/process.ts'],
    because: 'koffi is loaded only where it is needed, and missing is an error',
  },
  undici: { in: ['src/world/real/http.ts'], because: 'one file speaks HTTP as a client' },
  pino: { in: ['src/log/sink.ts'], because: 'the sink is pino' },
  ini: { in: ['src/config/text.ts'], because: 'the dialect is read with it' },
  'node:util': { in: ['src/cli/args.ts'], because: 'parseArgs, which is pure' },
};

/** Files that may use whatever Node has, each with the reason. */
const OUTSIDE: readonly { readonly at: string; readonly because: string }[] = [
  { at: 'src/world/real/', because: 'this is the outside' },
  { at: 'src/ffi/', because: 'calls into libc' },
  { at: 'src/anybal.ts', because: 'the first signals' },
  { at: 'src/main.ts', because: 'the process: argv, signals, exit codes' },
  { at: 'src/demo/', because: 'starts servers of its own to show the daemon' },
  { at: 'src/health/loader.ts', because: 'imports files of monitors, after looking at who owns them' },
  { at: 'src/log/sink.ts', because: 'must get the last line out of a dying process, without the loop' },
];

const isOutside = (file: string): boolean =>
  OUTSIDE.some(({ at }) => (at.endsWith('/') ? file.startsWith(at) : file === at));

/** The files that reach the kernel. */
const SHELLS: ReadonlySet<string> = new Set(['src/ipvs/netlink.ts', 'src/vip/rtnetlink.ts', 'src/netlink/socket.ts']);

describe('the house', () => {
  it('has a rule for every room', () => {
    const rooms = new Set(SOURCES.map(roomOf));
    const unruled = [...rooms].filter((room) => !(room in MAY_RUN) && !TOP.has(room));
    expect(unruled).to.deep.equal([]);
  });

  it('reads all imports: every quoted module behind "from" or import() is known to these tests', () => {
    const missed: string[] = [];
    for (const [file, text] of TEXTS) {
      const known = IMPORTS.filter(({ from }) => from === file).length;
      const written = text
        .split('\n')
        .filter((line) => /^\s*(import|export|\}).*\bfrom '|^\S.*import\('|\bimport\('/.test(line));
      if (written.length > known) missed.push(`${file}: ${written.length} lines, ${known} imports`);
    }
    expect(missed).to.deep.equal([]);
    expect(IMPORTS.length).to.be.greaterThan(200);
  });

  it('imports code only downwards', () => {
    const wrong = IMPORTS.filter(({ from, to, typesOnly }) => {
      if (typesOnly || !to.startsWith('src/') || TOP.has(roomOf(from))) return false;
      const room = roomOf(from);
      const may = [room, 'src/lib', ...(MAY_RUN[room] ?? []), ...(ALSO[from]?.may ?? [])];
      return !may.includes(roomOf(to)) && !may.includes(to);
    });
    expect(wrong.map(show)).to.deep.equal([]);
  });

  it('imports types of another room only from its files of data', () => {
    const wrong = IMPORTS.filter(({ from, to, typesOnly }) => {
      if (!typesOnly || !to.startsWith('src/') || TOP.has(roomOf(from))) return false;
      const room = roomOf(from);
      const may = [room, 'src/lib', ...(MAY_RUN[room] ?? [])];
      return !DATA.has(to) && !may.includes(roomOf(to)) && !may.includes(to);
    });
    expect(wrong.map(show)).to.deep.equal([]);
  });

  it('lets nothing in src import the top, and nothing at all import a test or the built files', () => {
    const wrong = IMPORTS.filter(
      ({ from, to }) =>
        (TOP.has(roomOf(to)) && !TOP.has(roomOf(from))) ||
        /^(test|bench|dist|\.\.)(\/|$)/.test(to) ||
        to.includes('/test/'),
    );
    expect(wrong.map(show)).to.deep.equal([]);
  });

  it('has no cycles of code, and no file of data that imports code from outside its room', () => {
    const edges = new Map<string, string[]>();
    for (const { from, to, typesOnly } of IMPORTS) {
      if (!typesOnly) edges.set(from, [...(edges.get(from) ?? []), to]);
    }
    expect(cycleIn(edges)).to.equal(null);
    const heavy = IMPORTS.filter(
      ({ from, to, typesOnly }) =>
        DATA.has(from) && !typesOnly && !to.startsWith('src/lib/') && roomOf(to) !== roomOf(from),
    );
    expect(heavy.map(show)).to.deep.equal([]);
  });

  it('loads each package and special module in one place', () => {
    const wrong = IMPORTS.filter(({ from, to, typesOnly }) => {
      const rule = LOADERS[to];
      return rule !== undefined && !typesOnly && !rule.in.includes(from);
    });
    expect(wrong.map(show)).to.deep.equal([]);
    const stale = Object.entries(LOADERS).flatMap(([module, { in: files }]) =>
      files
        .filter((file) => !new RegExp(`['"]${module}['"]`).test(TEXTS.get(file) ?? ''))
        .map((file) => `${file} does not use ${module}`),
    );
    expect(stale).to.deep.equal([]);
  });

  it('keeps Node and packages out of everything but the outermost rooms', () => {
    const wrong = IMPORTS.filter(({ from, to, typesOnly }) => {
      if (
        to.startsWith('src/') ||
        to.startsWith('monitors/') ||
        isOutside(from) ||
        (TOP.has(roomOf(from)) && roomOf(from) !== 'src/daemon.ts')
      )
        return false;
      if (from.startsWith('monitors/') && to === 'anybal/monitor') return !typesOnly;
      return !(LOADERS[to]?.in.includes(from) ?? false);
    });
    expect(wrong.map(show)).to.deep.equal([]);
  });

  it('lets monitors import nothing but the types of their contract, and what those that are built in share', () => {
    const wrong = IMPORTS.filter(
      ({ from, to, typesOnly }) =>
        from.startsWith('monitors/') && (to !== 'anybal/monitor' || !typesOnly) && roomOf(to) !== 'monitors/lib',
    );
    expect(wrong.map(show)).to.deep.equal([]);
  });

  it('keeps pure files pure: they run no code of a shell', () => {
    const pure = [
      'src/lib/',
      'src/decision/',
      'src/bgp/',
      'src/bfd/',
      'src/control/',
      'src/config/',
      'src/reconcile/',
      'src/pools/',
    ];
    const wrong = IMPORTS.filter(
      ({ from, to, typesOnly }) =>
        !typesOnly &&
        pure.some((folder) => from.startsWith(folder)) &&
        (SHELLS.has(to) || to.startsWith('src/ffi/') || to.startsWith('src/world/real/')),
    );
    expect(wrong.map(show)).to.deep.equal([]);
    for (const shell of SHELLS) expect(TEXTS.has(shell), shell).to.equal(true);
  });

  describe('takes time, chance and the process from the world', () => {
    const FORBIDDEN: readonly [what: string, pattern: RegExp, offence: string][] = [
      [
        'a timer',
        /(?<![.\w#])(setTimeout|setInterval|setImmediate|queueMicrotask|clearTimeout|clearInterval)\b(?!\([^()]*\): \w+ \{$)/,
        '  return setTimeout(fn, 5);',
      ],
      ['nextTick', /\bnextTick\b/, 'process.nextTick(fn);'],
      ['Date', /(?<![.\w#])Date\b(?!:)/, 'const at = Date.now();'],
      ['performance', /(?<![.\w#])performance\b/, '  performance.now()'],
      ['Math.random', /\bMath\.random\b/, 'Math.random()'],
      ['crypto', /(?<![.\w#])crypto\b/, 'crypto.randomUUID()'],
      ['process', /(?<![.\w#'-])process\b(?!es)(?=\s*[.[?])/, 'const env = process.env;'],
      ['AbortSignal.timeout or any', /\bAbortSignal\.(timeout|any)\b/, 'AbortSignal.any(list)'],
      ['weak references', /\b(WeakRef|FinalizationRegistry)\b/, 'new WeakRef(x)'],
      ['fetch', /(?<![.\w#])fetch\((?!\w+: )/, 'await fetch(url)'],
      ['console', /(?<![.\w#])console\./, 'console.log(x)'],
      ['globalThis', /\bglobalThis\b/, 'globalThis.x'],
      ['eval', /(?<![.\w#])(eval|Function)\(/, 'eval(text)'],
      ['require', /(?<![.\w#])require\(/, 'require(name)'],
      ['an import by a computed name', /\bimport\((?!\s*\))(?!\s)(?=[^'\s])/, 'await import(name)'],
    ];
    for (const [what, pattern, offence] of FORBIDDEN) {
      it(`never ${what}`, () => {
        expect(offence).to.match(pattern);
        const found: string[] = [];
        for (const [file, code] of CODE) {
          if (isOutside(file)) continue;
          // A function of one's own may be called as a global is.
          if (what === 'fetch' && /^(async )?function fetch\(/m.test(code)) continue;
          for (const [i, line] of code.split('\n').entries()) if (pattern.test(line)) found.push(`${file}:${i + 1}`);
        }
        expect(found).to.deep.equal([]);
      });
    }

    it('has no state of a module: no let, no collection that could be changed', () => {
      const found: string[] = [];
      for (const [file, code] of CODE) {
        if (isOutside(file)) continue;
        for (const [i, line] of code.split('\n').entries()) {
          const changeable =
            /^(export )?const \w+(: (?!Readonly|readonly )[^=]+)? = (new (Map|Set|WeakMap|WeakSet|Array)\b|\[\];|\{\};)/;
          if (/^(export )?(let|var)\b/.test(line) || changeable.test(line)) found.push(`${file}:${i + 1}`);
        }
      }
      expect(found).to.deep.equal([]);
    });

    it('makes an AbortController only in lib/cut.ts, where most cuts never need one', () => {
      const found = [...CODE]
        .filter(([file, code]) => !isOutside(file) && /new AbortController/.test(code))
        .map(([file]) => file);
      expect(found).to.deep.equal(['src/lib/cut.ts']);
    });
  });

  it('names every exemption for a file that is there and still needs it', () => {
    const needs = /\bnode:|\b(process|performance|setTimeout|setInterval|setImmediate|Date|Math\.random)\b|^let /m;
    for (const { at } of OUTSIDE) {
      const files = SOURCES.filter((file) => (at.endsWith('/') ? file.startsWith(at) : file === at));
      if (at === 'src/demo/') continue;
      expect(files, at).not.to.deep.equal([]);
      expect(
        files.some((file) => needs.test(TEXTS.get(file) ?? '')),
        at,
      ).to.equal(true);
    }
    for (const file of Object.keys(ALSO)) expect(TEXTS.has(file), file).to.equal(true);
  });

  it('is written without any, non-null assertions, enums, and default exports but those of monitors', () => {
    const found: string[] = [];
    const rules: readonly RegExp[] = [
      /[:<|&,(]\s*any\b(?!\w)/,
      /\bas any\b/,
      /[\w)\]]!(?=[.;,)\]\[])/,
      /^\s*(export |const )*enum\b/,
      /@ts-(ignore|nocheck|expect-error)/,
    ];
    for (const [file, code] of CODE) {
      for (const [i, line] of code.split('\n').entries()) {
        if (rules.some((rule) => rule.test(line))) found.push(`${file}:${i + 1}: ${line.trim()}`);
        if (/^export default\b/.test(line) && !file.startsWith('monitors/'))
          found.push(`${file}:${i + 1}: default export`);
      }
    }
    expect(found).to.deep.equal([]);
  });

  it('opens each file by saying what it is', () => {
    const silent = [...TEXTS].filter(([, text]) => !/^(#!.*\n)?(\/\/ |\/\*\*)/.test(text)).map(([file]) => file);
    expect(silent).to.deep.equal([]);
  });

  it('speaks of no machine: no home, no checkout, no temporary folder by name', () => {
    const found: string[] = [];
    for (const [file, text] of TEXTS) {
      for (const [i, line] of text.split('\n').entries()) {
        if (/\/(work|home|root|Users|tmp)\/\w/.test(line)) found.push(`${file}:${i + 1}: ${line.trim()}`);
      }
    }
    expect(found).to.deep.equal([]);
  });

  for (const name of readdirSync(join(ROOT, 'etc')).filter((file) => file.endsWith('.conf'))) {
    it(`accepts etc/${name} without a complaint`, async () => {
      const path = join(ROOT, 'etc', name);
      const parts = { files: createFiles(), monitor: (monitor: string) => loadMonitor(monitor, []) };
      const { text, exitCode } = await checkReport(parts, path, { strict: true });
      expect(exitCode, text).to.equal(0);
    });
  }
});

function cycleIn(edges: ReadonlyMap<string, readonly string[]>): string | null {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(' → ');
    if (done.has(file)) return null;
    for (const to of edges.get(file) ?? []) {
      const found = visit(to, [...path, file]);
      if (found !== null) return found;
    }
    done.add(file);
    return null;
  };
  for (const file of edges.keys()) {
    const found = visit(file, []);
    if (found !== null) return found;
  }
  return null;
}
