// The daemon as its users run it, with a file of keys that is edited and read again at SIGHUP, against BIRD.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Bird, SAME_SESSION_MS, sinceMovedMs } from '../../support/bird.ts';
import { eventually, kill, Namespace, output } from '../../support/namespace.ts';
import { stoodStillMs } from '../../support/steady.ts';
import { newerBird } from './newer-bird.ts';
import { birdKeys } from './sessions.ts';

const MAIN = fileURLToPath(new URL('../../../src/main.js', import.meta.url));
const US = '198.18.192.11';
const BIRD = '198.18.192.1';
const VIP = '198.51.100.80';

const birdConfig = (keys: string) => `
  log stderr { warning, error, fatal, bug };
  router id ${BIRD};
  protocol device {}
  protocol bgp director {
    local ${BIRD} as 64500; neighbor ${US} as 64600; passive on; hold time 6;
    ${keys}
    ipv4 { import all; export none; };
  }`;

const anybalConfig = (folder: string) => `
[global]
bgp = yes
bgp-local-asn = 64600
bgp-hold-time = 6
bgp-connect-retry = 1
bgp-connect-timeout = 3
bgp-nexthop-ipv4 = ${US}
bgp-router-id = ${US}
backend = userspace
state-directory = ${folder}/state
control-socket = ${folder}/control.sock

[peer bird]
peer-address = ${BIRD}
local-address = ${US}
peer-as = 64500
families = ipv4
tcp-ao-file = ${folder}/keys

[service]
protocol = tcp
ip = ${VIP}
port = 8080
scheduler = rr
config = file://${folder}/pool
vip-presence = external
`;

describe('lab: TCP-AO of the daemon', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'anybal-ao-'));
  const keyFile = join(folder, 'keys');
  let namespace: Namespace | undefined;
  let bird: Bird;
  let daemon: ChildProcess;
  let said = '';

  before(async () => {
    namespace = await Namespace.create('anybal-aod', [`${US}/24`], [`${BIRD}/24`]);
    await output('ip', 'address', 'add', `${VIP}/32`, 'dev', 'lo');
    bird = new Bird(namespace, birdConfig(birdKeys({ id: 1, secret: 'sesame' })), newerBird());
    writeFileSync(join(folder, 'pool'), "{ 'host': '127.0.0.1', 'weight': 10, 'enabled': True }\n");
    writeFileSync(join(folder, 'pybal.conf'), anybalConfig(folder));
    writeFileSync(keyFile, '1 1 hmac-sha1 sesame\n', { mode: 0o600 });
    daemon = spawn(process.execPath, [MAIN, 'run', '-c', join(folder, 'pybal.conf')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [daemon.stdout, daemon.stderr])
      stream?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  });
  after(async () => {
    await kill(daemon);
    await bird.stop();
    await output('ip', 'address', 'del', `${VIP}/32`, 'dev', 'lo');
    await namespace?.destroy();
    rmSync(folder, { recursive: true });
  });

  const reload = (keys: string) => {
    writeFileSync(keyFile, keys);
    daemon.kill('SIGHUP');
  };
  const birdSays = (pattern: RegExp) =>
    eventually(
      String(pattern),
      async () => pattern.exec(await bird.ask('show protocols all director').catch(String)),
      async () => `${await bird.ask('show protocols all director')}\n${said}`,
      40_000,
    );
  const daemonSays = (pattern: RegExp) =>
    eventually(
      String(pattern),
      () => pattern.exec(said),
      () => said,
      40_000,
    );

  it('announces its routes, and SIGHUP changes keys without an interruption', async () => {
    await birdSays(/Established[^]*Routes:\s+1 imported/);
    const since = (await birdSays(/director\s+BGP\s+\S+\s+up\s+(\S+)/))[1];
    await bird.configure(birdConfig(birdKeys({ id: 1, secret: 'sesame' }, { id: 2, secret: 'tulip' })));
    reload('2 2 hmac-sha1 tulip\n1 1 hmac-sha1 sesame\n');
    await birdSays(/Current key:\s+2\s+RNext key:\s+1/);
    reload('2 2 hmac-sha1 tulip\n');
    await daemonSays(/An old key stays for now: TCP-AO key 1\/1: EBUSY: the other side still asks for it/);
    await bird.configure(birdConfig(birdKeys({ id: 2, secret: 'tulip' })));
    await daemonSays(/No old key is left/);
    reload('2 2 hmac-sha1\n');
    await daemonSays(/keys:1: send id, receive id, algorithm and key are needed; the last one stays/);
    await new Promise((resolve) => setTimeout(resolve, 7_000));
    const sinceAfter = (await birdSays(/director\s+BGP\s+\S+\s+up\s+(\S+)/))[1];
    expect(sinceMovedMs(since, sinceAfter)).to.be.lessThan(SAME_SESSION_MS);
    expect(said).not.to.match(/sesame|tulip/);
  });

  it('is given up at once when it is killed: the kernel signs its last words too', async () => {
    await birdSays(/Established/);
    daemon.kill('SIGKILL');
    const [killed, stood] = [performance.now(), stoodStillMs()];
    await birdSays(/BGP state:\s+(?!Established)/);
    // Far less than what is left of the hold time.
    expect(performance.now() - killed - (stoodStillMs() - stood)).to.be.lessThan(4_000);
  });
});
