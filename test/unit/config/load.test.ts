import { expect } from 'chai';
import { checkReport } from '../../../src/config/check.ts';
import { keepSections, type Loaded, loadConfig, monitorDirectories } from '../../../src/config/load.ts';
import { printComplaint, SystemError } from '../../../src/lib/errors.ts';
import { loadMonitor } from '../../../src/health/loader.ts';
import { fakeMonitor } from '../../support/fake-monitor.ts';
import { memoryFiles, utf8 } from '../../support/memory-files.ts';

const PATH = '/etc/pybal/pybal.conf';
const STATE = '/var/lib/anybal/sections.json';

function service(name: string, port: number, ...more: readonly string[]): string {
  return [
    `[${name}]`,
    'protocol = tcp',
    'ip = 198.51.100.1',
    `port = ${port}`,
    'scheduler = wrr',
    'config = file:///etc/pybal/pool',
    "monitors = [ 'IdleConnection' ]",
    ...more,
    '',
  ].join('\n');
}

const GLOBAL =
  '[global]\nbgp = yes\nbgp-local-asn = 64600\nbgp-peer-address = 192.0.2.1\nbgp-nexthop-ipv4 = 192.0.2.9\n';

/** A machine's disk over several starts of the daemon. */
class Machine {
  readonly disk = new Map<string, Uint8Array | SystemError>();
  readonly world = { files: memoryFiles(this.disk), monitor: fakeMonitor };

  /** As the daemon: read, and remember what was accepted. */
  async load(text: string): Promise<Loaded> {
    this.disk.set(PATH, utf8(text));
    const loaded = await loadConfig(this.world, PATH);
    if (loaded.config !== null) await keepSections(this.world, loaded.stateDirectory, loaded.lastGood);
    return loaded;
  }
}

function said(loaded: Loaded): readonly string[] {
  return loaded.complaints.map((complaint) => printComplaint(complaint).replace(`${PATH}:`, ''));
}

describe('config/load', () => {
  for (const [what, content] of [
    ['missing', null],
    ['unreadable', new SystemError('EACCES', 'open')],
    ['empty', utf8('')],
    ['only comments', utf8('# nothing\n')],
    ['binary', Uint8Array.from({ length: 256 }, (_, i) => i)],
  ] as const)
    it(`a file that is ${what} is refused with an error, never taken for nothing`, async () => {
      const machine = new Machine();
      if (content !== null) machine.disk.set(PATH, content);
      const { config, complaints } = await loadConfig(machine.world, PATH);
      expect(config).to.equal(null);
      expect(complaints.map((complaint) => complaint.severity)).to.deep.equal(['error']);
      expect(complaints[0]?.place?.file).to.equal(PATH);
    });

  it('a refused file loses nothing that was remembered', async () => {
    const machine = new Machine();
    await machine.load(service('a', 80));
    await machine.load('');
    const { config } = await machine.load(service('a', 80, 'rise = 0'));
    expect(config?.services.map((one) => one.name)).to.deep.equal(['a']);
  });

  it('a comment in Latin-1 does not refuse a file', async () => {
    const machine = new Machine();
    machine.disk.set(PATH, Uint8Array.from([...utf8('# caf'), 0xe9, 10, ...utf8(service('a', 80))]));
    expect((await loadConfig(machine.world, PATH)).complaints).to.deep.equal([]);
  });

  describe('a section that can not be used', () => {
    it('runs on its last good text, the others on the new one', async () => {
      const machine = new Machine();
      await machine.load(service('a', 80, 'rise = 3') + service('b', 81, 'rise = 3'));
      const loaded = await machine.load(service('a', 80, 'rise = 0') + service('b', 81, 'rise = 4'));
      expect(loaded.config?.services.map(({ name, rise, place }) => [name, rise, place.line])).to.deep.equal([
        ['a', 3, 1],
        ['b', 4, 9],
      ]);
      expect(said(loaded)).to.deep.equal([
        '1: warning: [a] not usable: runs on its last good text',
        '8: [a] rise: 0 is not between 1 and 100',
      ]);
      const [quarantined] = loaded.config?.quarantined ?? [];
      expect(quarantined).to.deep.include({ name: 'a', frozen: null, place: { file: PATH, line: 1 } });
      expect(quarantined?.running?.rise).to.equal(3);
      expect(quarantined?.complaints.map((complaint) => complaint.option)).to.deep.equal(['rise', null]);
    });

    it('does so over any number of reloads and restarts, until it is mended', async () => {
      const machine = new Machine();
      await machine.load(service('a', 80, 'rise = 3'));
      for (let i = 0; i < 3; i++) {
        const { config } = await machine.load(`[DEFAULT]\nfall = 2\n${service('a', 80, 'oops')}`);
        expect(config?.services[0]).to.deep.include({ rise: 3, fall: 1 });
      }
      const { config } = await machine.load(`[DEFAULT]\nfall = 2\n${service('a', 80)}`);
      expect(config?.services[0]).to.deep.include({ rise: 1, fall: 2 });
      expect(config?.quarantined).to.deep.equal([]);
    });

    it('is one that no longer names a monitor that there is, if it did before', async () => {
      const machine = new Machine();
      const misspelt = service('a', 80, 'rise = 4').replace('IdleConnection', 'IdelConnection');
      await machine.load(service('a', 80, 'rise = 3'));
      const loaded = await machine.load(misspelt);
      expect(loaded.config?.services[0]).to.deep.include({ rise: 3, unwatched: null });
      expect(said(loaded)).to.deep.equal([
        '1: warning: [a] not usable: runs on its last good text',
        '7: DANGER: [a] monitors: there is no monitor IdelConnection, skipped (did you mean IdleConnection?)',
        '7: DANGER: [a] monitors: none of them can run: every server counts as up',
      ]);
      expect((await machine.load(service('a', 80, 'rise = 5'))).config?.services[0]).to.deep.include({ rise: 5 });
    });

    it('is not one that PyBal would start with: without a last good text it is used, and stays', async () => {
      const machine = new Machine();
      const misspelt = service('a', 80).replace('IdleConnection', 'IdelConnection');
      for (const text of [misspelt, `${misspelt}rise = 4\n`]) {
        const { config } = await machine.load(text);
        expect(config?.quarantined).to.deep.equal([]);
        expect(config?.services[0]?.monitors).to.deep.equal([]);
        expect(config?.services[0]?.unwatched).to.contain('there is no monitor IdelConnection');
      }
    });

    it('keeps what it inherited, not what [DEFAULT] says now', async () => {
      const machine = new Machine();
      await machine.load(`[DEFAULT]\nrise = 5\npath = x%%y\n${service('a', 80, 'config = file:///%(path)s')}`);
      const { config } = await machine.load(`[DEFAULT]\nrise = 6\n${service('a', 80, 'fall = 0')}`);
      expect(config?.services[0]).to.deep.include({ rise: 5, source: 'file:///x%y' });
    });

    it('is frozen without a last good text, as far as it can be read', async () => {
      const machine = new Machine();
      const { config } = await machine.load(service('a', 80, 'rise = 0') + service('b', 81, 'port = x'));
      expect(config?.services).to.deep.equal([]);
      expect(config?.quarantined.map(({ name, running, frozen }) => [name, running, frozen])).to.deep.equal([
        ['a', null, { protocol: 'tcp', vip: '198.51.100.1', port: 80 }],
        ['b', null, null],
      ]);
    });

    it('never pushes out a section that is good: its last good text yields', async () => {
      const machine = new Machine();
      await machine.load(service('a', 80));
      const { config } = await machine.load(service('a', 82, 'rise = 0') + service('b', 80));
      expect(config?.services.map((one) => [one.name, one.port])).to.deep.equal([['b', 80]]);
      expect(config?.quarantined.map(({ name, running, frozen }) => [name, running, frozen?.port])).to.deep.equal([
        ['a', null, 82],
      ]);
    });

    it('a duplicate of an earlier service is the one that yields', async () => {
      const machine = new Machine();
      await machine.load(service('a', 80) + service('b', 81));
      const { config } = await machine.load(service('a', 80) + service('b', 80));
      expect(config?.services.map((one) => [one.name, one.port])).to.deep.equal([
        ['a', 80],
        ['b', 81],
      ]);
    });

    it('a duplicate without a last good text freezes nothing that is the other one', async () => {
      const { config } = await new Machine().load(service('a', 80) + service('b', 80));
      expect(config?.quarantined.map(({ name, running, frozen }) => [name, running, frozen])).to.deep.equal([
        ['b', null, null],
      ]);
    });

    it('a bad line in [DEFAULT] holds every section at its last good text', async () => {
      const machine = new Machine();
      await machine.load(GLOBAL + service('a', 80, 'rise = 2'));
      const { config, complaints } = await machine.load(`[DEFAULT]\noops\n${GLOBAL}${service('a', 80, 'rise = 3')}`);
      expect(config?.services[0]?.rise).to.equal(2);
      expect(config?.peers).to.have.length(1);
      expect(config?.quarantined[0]?.complaints.map((complaint) => complaint.section)).to.include('DEFAULT');
      expect(complaints.filter((complaint) => complaint.severity === 'error')).to.have.length(1);
    });

    it('[global] runs on its last good text, and refuses the file without', async () => {
      const machine = new Machine();
      const bad = GLOBAL.replace('64600', 'x');
      expect((await machine.load(bad + service('a', 80))).config).to.equal(null);
      await machine.load(GLOBAL + service('a', 80));
      const { config } = await machine.load(bad + service('a', 80) + service('b', 81));
      expect(config?.peers[0]).to.deep.include({ address: '192.0.2.1', localAs: 64600 });
      expect(config?.services).to.have.length(2);
    });

    it('a misspelt [global] does not turn BGP off', async () => {
      const machine = new Machine();
      await machine.load(GLOBAL + service('a', 80));
      const { config } = await machine.load(GLOBAL.replace('[global]', '[Global]') + service('a', 80));
      expect(config?.global.bgp).to.equal(true);
      expect(config?.peers).to.have.length(1);
    });

    it('a peer runs on its last good text, and is left out without', async () => {
      const machine = new Machine();
      const peer = (hold: number) => `[peer 192.0.2.2]\nhold-time = ${hold}\n`;
      expect((await machine.load(GLOBAL + peer(1) + service('a', 80))).config?.peers).to.have.length(1);
      await machine.load(GLOBAL + peer(5) + service('a', 80));
      const { config } = await machine.load(GLOBAL + peer(2) + service('a', 80));
      expect(config?.peers.map((one) => [one.name, one.holdTimeSeconds])).to.deep.equal([
        ['192.0.2.1', 9],
        ['192.0.2.2', 5],
      ]);
      expect(config?.quarantined).to.deep.equal([]);
    });
  });

  it('tells where monitors are before anything is decoded, broken or not', async () => {
    const machine = new Machine();
    const directories = async (text: string | null) => {
      if (text === null) machine.disk.delete(PATH);
      else machine.disk.set(PATH, utf8(text));
      return monitorDirectories(machine.world, PATH);
    };
    const byDefault = ['/usr/local/lib/anybal/monitors'];
    expect(await directories("[global]\nmonitor-directories = [ '/a', '/b' ]\nbgp = oops")).to.deep.equal(['/a', '/b']);
    expect(await directories('[global]\nmonitor-directories = /a')).to.deep.equal(byDefault);
    expect(await directories('')).to.deep.equal(byDefault);
    expect(await directories(null)).to.deep.equal(byDefault);
  });

  it('remembers a section only as long as it is in the file', async () => {
    const machine = new Machine();
    await machine.load(service('a', 80) + service('b', 81));
    await machine.load(service('a', 80));
    const { config } = await machine.load(service('a', 80) + service('b', 81, 'rise = 0'));
    expect(config?.quarantined[0]).to.deep.include({ name: 'b', running: null });
  });

  it('remembers sections with names that are special in JavaScript', async () => {
    const machine = new Machine();
    await machine.load(service('__proto__', 80) + service('constructor', 81));
    const { config } = await machine.load(
      service('__proto__', 80, 'rise = 0') + service('constructor', 81, 'rise = 0'),
    );
    expect(config?.services.map((one) => one.name)).to.deep.equal(['__proto__', 'constructor']);
  });

  it('keeps its memory where [global] says, even when [global] is broken', async () => {
    const machine = new Machine();
    const global = '[global]\nstate-directory = /srv/state\n';
    await machine.load(global + service('a', 80));
    expect([...machine.disk.keys()]).to.include('/srv/state/sections.json');
    const { config } = await machine.load(`${global}instrumentation_port = x\n${service('a', 80)}`);
    expect(config?.global.stateDirectory).to.equal('/srv/state');
  });

  it('keeps its memory where the caller says, before where the file says', async () => {
    const machine = new Machine();
    machine.disk.set(PATH, utf8(`[global]\nstate-directory = /srv/state\n${service('a', 80, 'rise = 0')}`));
    const sections = [['a', service('a', 80, 'rise = 7')]];
    machine.disk.set('/tmp/state/sections.json', utf8(JSON.stringify({ version: 1, sections })));
    const loaded = await loadConfig(machine.world, PATH, { stateDirectory: '/tmp/state' });
    expect(loaded.config?.services[0]?.rise).to.equal(7);
    expect(loaded.stateDirectory).to.equal('/tmp/state');
  });

  for (const [what, content] of [
    ['not JSON', utf8('{')],
    ['of another version', utf8('{"version":2,"sections":[]}')],
    ['of another shape', utf8('{"version":1,"sections":[["a"]]}')],
    ['null', utf8('null')],
    ['unreadable', new SystemError('EIO', 'read')],
  ] as const)
    it(`a memory that is ${what} is warned of and does no harm`, async () => {
      const machine = new Machine();
      machine.disk.set(STATE, content);
      const { config, complaints } = await machine.load(service('a', 80));
      expect(config?.services).to.have.length(1);
      expect(complaints.map((complaint) => [complaint.severity, complaint.place?.file])).to.deep.equal([
        ['warning', STATE],
      ]);
    });
});

describe('config/check', () => {
  const check = async (text: string | null, strict = false) => {
    const machine = new Machine();
    if (text !== null) machine.disk.set(PATH, utf8(text));
    return checkReport(machine.world, PATH, { strict });
  };

  it('a good file is 0 and says what is in it', async () => {
    expect(await check(GLOBAL + service('a', 80))).to.deep.equal({
      text: `${PATH}: 1 service, 1 BGP peer: 0 errors, 0 warnings\n`,
      exitCode: 0,
    });
  });

  it('warnings alone are 0, strict or not', async () => {
    const expected = {
      text: `${PATH}:8: warning: [a] colour: no such option, ignored\n${PATH}: 1 service, 0 BGP peers: 0 errors, 1 warning\n`,
      exitCode: 0,
    };
    expect(await check(service('a', 80, 'colour = red'))).to.deep.equal(expected);
    expect(await check(service('a', 80, 'colour = red'), true)).to.deep.equal(expected);
  });

  it('names files that monitors are to use and that are not there', async () => {
    const machine = new Machine();
    const running = (name: string, port: number, command: string) =>
      service(name, port, `runcommand.command = ${command}`).replace('IdleConnection', 'RunCommand');
    const commands = ['/bin/here', '/srv/gone', '/bin/here/too', '/root/hidden'];
    machine.disk.set(PATH, utf8(commands.map((command, i) => running(`s${i}`, 80 + i, command)).join('')));
    machine.disk.set('/bin/here', utf8(''));
    machine.disk.set('/bin/here/too', new SystemError('ENOTDIR', 'open'));
    machine.disk.set('/root/hidden', new SystemError('EACCES', 'open'));
    const { text, exitCode } = await checkReport(machine.world, PATH);
    expect(text.split('\n').slice(0, -1)).to.deep.equal([
      `${PATH}:16: warning: [s1] runcommand.command: /srv/gone is not there`,
      `${PATH}:24: warning: [s2] runcommand.command: /bin/here/too is not there`,
      `${PATH}: 4 services, 0 BGP peers: 0 errors, 2 warnings`,
    ]);
    expect(exitCode).to.equal(0);
  });

  it('names what else there is not: folders of monitors, users, and programs that nobody may execute', async () => {
    const modules = await Promise.all(['RunCommand', 'SSH'].map((name) => loadMonitor(name, [])));
    const disk = new Map<string, Uint8Array | SystemError>();
    const modes = new Map([
      ['/srv/monitors', 0o040755],
      ['/bin/true', 0o100755],
      ['/srv/folder', 0o040755],
    ]);
    const has = (...paths: readonly string[]) => paths.forEach((path) => disk.set(path, utf8('')));
    has('/srv/monitors', '/bin/true', '/srv/folder', '/srv/plain', '/srv/key', '/srv/file');
    disk.set('/etc/passwd', utf8('root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n'));
    const check = async (...lines: readonly string[]): Promise<readonly string[]> => {
      const text = lines.join('\n').replace(/^monitors = .*$/gm, '');
      const name = text.includes('ssh.') ? 'SSH' : 'RunCommand';
      disk.set(PATH, utf8(text.replace(/scheduler = wrr/g, `scheduler = wrr\nmonitors = [ '${name}' ]`)));
      const monitor = async () => modules.find((module) => module?.name === name) ?? null;
      const report = await checkReport({ files: memoryFiles(disk, modes), monitor }, PATH);
      return report.text
        .split('\n')
        .slice(0, -2)
        .map((line) => line.replace(`${PATH}:`, ''));
    };
    const command = (...more: readonly string[]) => check(service('a', 80, ...more));
    expect(await command('runcommand.command = /bin/true', 'runcommand.user = nobody')).to.deep.equal([]);
    expect(await command('runcommand.command = /bin/true', 'runcommand.user = 7:7')).to.deep.equal([]);
    expect(await command('runcommand.command = /srv/plain', 'runcommand.user = nobod')).to.deep.equal([
      '9: warning: [a] runcommand.command: nobody may execute /srv/plain: it has mode 644',
      '10: warning: [a] runcommand.user: /etc/passwd has no user nobod',
    ]);
    expect(await command('runcommand.command = /srv/folder')).to.deep.equal([
      '9: warning: [a] runcommand.command: /srv/folder is a folder',
    ]);
    const hosts = 'ssh.known-hosts: /etc/ssh/ssh_known_hosts is not there';
    const login = ['ssh.mode = login', 'ssh.user = a', 'ssh.identity = /srv/key', 'ssh.client = /bin/true'];
    expect(await command('ssh.mode = banner'), 'nobody reads them').to.deep.equal([]);
    expect(await command(...login)).to.deep.equal([`1: warning: [a] ${hosts}`]);
    expect(await command('ssh.known-hosts = /etc/ssh/ssh_known_hosts')).to.deep.equal([`9: warning: [a] ${hosts}`]);
    const folders = "monitor-directories = [ '/srv/monitors', '/srv/gone', '/srv/file' ]";
    expect(await check('[global]', folders, service('a', 80, 'runcommand.command = /bin/true'))).to.deep.equal([
      '2: warning: [global] monitor-directories: /srv/gone is not there',
      '2: warning: [global] monitor-directories: /srv/file is not a folder',
    ]);
  });

  it('a monitor that there is not is 2, strict or not, though the daemon goes on as PyBal does', async () => {
    const machine = new Machine();
    machine.disk.set(PATH, utf8(service('a', 80).replace("[ 'Idle", "[ 'Teapot', 'Idle")));
    const { text, exitCode } = await checkReport(machine.world, PATH);
    expect(exitCode).to.equal(2);
    expect(text).to.contain(':7: DANGER: [a] monitors: there is no monitor Teapot, skipped\n');
    expect(text).to.contain('1 service, 0 BGP peers: 0 errors, 1 danger, 0 warnings');
    expect((await checkReport(machine.world, PATH, { strict: true })).text).to.contain('refused: 0 errors, 1 danger');
  });

  it('any error is 2, with every complaint', async () => {
    const report = await check(service('a', 80, 'rise = 0', 'fall = x'));
    expect(report.exitCode).to.equal(2);
    expect(report.text.split('\n')).to.deep.equal([
      `${PATH}:1: warning: [a] not usable: what it has in the kernel stays as it is`,
      `${PATH}:8: [a] rise: 0 is not between 1 and 100`,
      `${PATH}:9: [a] fall: “x” is not a whole number`,
      `${PATH}: 0 services, 0 BGP peers: 2 errors, 1 warning`,
      '',
    ]);
    expect((await check(service('a', 80, 'rise = 0'), true)).text).to.match(/: refused: 1 error, 1 warning\n$/);
  });

  it('shows control characters of the file as escapes, as the log does', async () => {
    const { text } = await check(service('a\x1b[2J', 80, 'rise = \x1b[31mred'));
    expect(text).to.contain('[a\\x1b[2J] rise: “\\x1b[31mred” is not a whole number\n');
    expect(text).to.not.match(/[^\P{Cc}\n]/u);
  });

  it('a file that is not there is 2', async () => {
    const report = await check(null);
    expect(report.exitCode).to.equal(2);
    expect(report.text).to.match(/can not be read: .*ENOENT[\s\S]*: refused: 1 error, 0 warnings\n$/);
  });

  it('writes nothing', async () => {
    const machine = new Machine();
    machine.disk.set(PATH, utf8(service('a', 80)));
    await checkReport(machine.world, PATH);
    expect([...machine.disk.keys()]).to.deep.equal([PATH]);
  });
});
