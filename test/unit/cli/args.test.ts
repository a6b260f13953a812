import { expect } from 'chai';
import fc from 'fast-check';
import { helpText, parseCommandLine } from '../../../src/cli/args.ts';

const RUN = { do: 'run', config: '/etc/pybal/pybal.conf', dryRun: false, debug: false };

describe('The command line', () => {
  it("without a command is PyBal's", () => {
    expect(parseCommandLine([])).to.deep.equal(RUN);
    expect(parseCommandLine(['-c', '/x', '-n', '-d'])).to.deep.equal({
      ...RUN,
      config: '/x',
      dryRun: true,
      debug: true,
    });
    expect(parseCommandLine(['-nd', '--config=/x'])).to.deep.equal({ ...RUN, config: '/x', dryRun: true, debug: true });
    expect(parseCommandLine(['--dryrun', '--debug'])).to.deep.equal({ ...RUN, dryRun: true, debug: true });
  });

  it('runs, checks and asks', () => {
    expect(parseCommandLine(['run', '-c', '/x'])).to.deep.equal({ ...RUN, config: '/x' });
    expect(parseCommandLine(['check', '--strict'])).to.deep.equal({
      do: 'check',
      config: '/etc/pybal/pybal.conf',
      strict: true,
    });
    expect(parseCommandLine(['status', '--json', '-s', '/run/x'])).to.deep.equal({
      do: 'status',
      socket: '/run/x',
      json: true,
      server: null,
      history: false,
    });
    expect(parseCommandLine(['status'])).to.deep.equal({
      do: 'status',
      socket: '/run/anybal/control.sock',
      json: false,
      server: null,
      history: false,
    });
    expect(parseCommandLine(['status', 'cp1', '--history'])).to.include({ server: 'cp1', history: true });
    expect(parseCommandLine(['check-now', 'text_80'])).to.deep.equal({
      do: 'check-now',
      config: '/etc/pybal/pybal.conf',
      service: 'text_80',
      server: null,
      monitor: null,
    });
    expect(parseCommandLine(['check-now', '-c', 'x', 'text_80', 'cp1', '--monitor', 'DNS'])).to.deep.equal({
      do: 'check-now',
      config: 'x',
      service: 'text_80',
      server: 'cp1',
      monitor: 'DNS',
    });
    expect(parseCommandLine(['monitor', 'test', 'a.mjs', '--set', 'x=1', '--set=y=2'])).to.deep.equal({
      do: 'monitor-test',
      file: 'a.mjs',
      settings: ['x=1', 'y=2'],
    });
    expect(parseCommandLine(['version'])).to.deep.equal({ do: 'version' });
    expect(parseCommandLine(['--version'])).to.deep.equal({ do: 'version' });
  });

  it('helps wherever it is asked to', () => {
    for (const args of [['help'], ['-h'], ['--help'], ['run', '-h'], ['status', '--help'], ['help', '-h']]) {
      expect(parseCommandLine(args), args.join(' ')).to.deep.equal({ do: 'help', text: helpText() });
    }
  });

  it('names what it does not understand, and where help is', () => {
    const complaint = (...args: string[]) => {
      const found = parseCommandLine(args);
      return found.do === 'usage' ? found.text : found.do;
    };
    expect(complaint('-x')).to.match(/^anybal: Unknown option '-x'\nTry 'anybal help'\.\n$/);
    expect(complaint('run', '--strict')).to.contain("'--strict'");
    expect(complaint('-c')).to.contain('argument missing');
    expect(complaint('start')).to.contain("there is no command 'start'");
    expect(complaint('run', 'extra')).to.contain("'extra'");
    expect(complaint('status', 'cp1', 'extra')).to.contain("'extra'");
    expect(complaint('status', '--history')).to.contain('name it');
    expect(complaint('monitor', 'test')).to.contain('monitor test needs FILE');
    expect(complaint('check-now')).to.contain('check-now needs SERVICE [SERVER]');

    expect(complaint('check', '-n')).to.contain("'-n'");
  });

  it('shows how it is used, of a command of two words with the second one missing or wrong', () => {
    const text = /^Usage:\n {2}anybal monitor test FILE .*\n.*--set OPTION=VALUE .*\n$/;
    for (const args of [['monitor'], ['monitor', 'foo'], ['monitor', 'foo', 'a.mjs']]) {
      const found = parseCommandLine(args);
      expect(found.do, args.join(' ')).to.equal('usage');
      expect(found).to.have.property('text').that.matches(text);
    }
    for (const flag of ['--help', '-h']) {
      const found = parseCommandLine(['monitor', flag]);
      expect(found.do).to.equal('help');
      expect(found).to.have.property('text').that.matches(text);
    }
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('-c', '-n', '--', 'run', '--json', '-s'))), (args) => {
        expect(parseCommandLine(args)).to.have.property('do');
      }),
    );
  });

  it('is told in full by help', () => {
    for (const word of [
      'run',
      'check',
      'status',
      'version',
      'help',
      '--config FILE',
      '-n, --dryrun',
      '--strict',
      '--json',
    ]) {
      expect(helpText()).to.contain(word);
    }
  });
});
