// docs/checks.md from what a run heard, and back.

import type { Subject } from './subjects.ts';

/** By the subject's title, then by the failure's. */
export type Heard = ReadonlyMap<string, ReadonlyMap<string, string>>;

const headingOf = ({ title, server }: Subject): string => `## ${title}, before ${server}`;
const cellOf = (text: string): string => text.replaceAll('|', '\\|');

export const rowOf = (title: string, words: string): string => `| ${title} | ${cellOf(words)} |`;

export function document(subjects: readonly Subject[], heard: Heard): string {
  const sections = subjects.map((subject) => {
    const rows = [...(heard.get(subject.title) ?? [])].map(([title, words]) => rowOf(title, words));
    return [headingOf(subject), '', '| what happens | what the check says |', '| --- | --- |', ...rows, ''].join('\n');
  });
  return `# What checks say

Written by \`test/interop/failures\`: each line is a check that was made, through the operating system's own sockets, of a real
server from Debian in a network namespace, or of one that speaks its protocol and breaks the rules. The test fails when a run
hears anything else than what is written here. \`npm run test:interop\` repeats it.

SERVER stands for the server's address and port, DIRECTOR for our address, N for a number that is another one each time. "Accepted, and closed at once" and "cut short" are
half-closed: the server would still read. "A black hole" drops what goes to the server, "a black hole once connected" all that
the server says on connections that came about. "A process that stands still" has a kernel that takes connections for it
(SIGSTOP). Where \`up\` may surprise, it is what is meant: ProxyFetch verifies no certificate and IdleConnection reads nothing, as
with PyBal; the kernel answers a ping for a process that stands still; a page without end has proven that somebody serves it.

A failure of DNS comes before all of this: a server whose name is unknown, or not answered for, is asked at the address that it had;
one that never had any is not asked, nor pooled, and the log says so. One whose name leads to the address of another server of
the service, or to the virtual IP, keeps the address that it had until that becomes somebody else's: no two share one.
Monitors that look names up themselves have lines of their own.

${sections.join('\n')}`;
}
