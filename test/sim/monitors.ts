// The monitors that simulated directors know, by the names that configuration uses: the real ones.

import agent from '../../monitors/agent.ts';
import dns from '../../monitors/dns.ts';
import dnsQuery from '../../monitors/dnsquery.ts';
import file from '../../monitors/file.ts';
import grpc from '../../monitors/grpc.ts';
import http from '../../monitors/http.ts';
import idleConnection from '../../monitors/idleconnection.ts';
import ping from '../../monitors/ping.ts';
import proxyFetch from '../../monitors/proxyfetch.ts';
import runCommand from '../../monitors/runcommand.ts';
import smtp from '../../monitors/smtp.ts';
import ssh from '../../monitors/ssh.ts';
import tcp from '../../monitors/tcp.ts';
import udp from '../../monitors/udp.ts';
import type { MonitorModule } from '../../src/health/monitor.ts';

// A module's `create` takes its own options; whoever handles modules in general gives each what its rows decode to.
const MODULES = [
  agent,
  dns,
  dnsQuery,
  file,
  grpc,
  http,
  idleConnection,
  ping,
  proxyFetch,
  runCommand,
  smtp,
  ssh,
  tcp,
  udp,
] as readonly unknown[] as readonly MonitorModule[];

export const MONITORS: ReadonlyMap<string, MonitorModule> = new Map(
  MODULES.map((module) => [module.name.toLowerCase(), module]),
);
