// docs/interop.md from what a run found.

import { output } from '../../support/namespace.ts';
import type { Feature } from './steps.ts';

export type Outcome =
  | { readonly is: 'works' }
  /** `why` cites the router's own message. */
  | { readonly is: 'lacks'; readonly why: string }
  | { readonly is: 'failed' };

export interface Column {
  readonly router: string;
  /** Of the Debian package. */
  readonly version: string;
  /** By the feature's name. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
}

const VERSIONS = 'Versions in the last run: ';

export function document(features: readonly Feature[], columns: readonly Column[]): string {
  const notes: string[] = [];
  const cell = (outcome: Outcome | undefined, router: string): string => {
    if (outcome?.is === 'works') return 'yes';
    if (outcome?.is !== 'lacks') return '**failed**';
    const note = `${router}: ${outcome.why}`;
    if (!notes.includes(note)) notes.push(note);
    return `– (${notes.indexOf(note) + 1})`;
  };
  const table = features.map(({ name, reference, compared }) => [
    name,
    reference,
    ...columns.map(({ router, outcomes }) => cell(outcomes.get(name), router)),
    compared,
  ]);
  const head = ['Feature', 'Reference', ...columns.map(({ router }) => router), 'What is compared'];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return `# Interop matrix

Written by \`test/interop/matrix\`: each "yes" is a session between anybal's speaker and that router from Debian, in a network
namespace, whose own view (\`birdc\`, \`vtysh\`, \`gobgp\`, \`bgpctl\`, ExaBGP's JSON API) was compared with what was meant. The test
fails when a run finds anything else than what is written here. \`npm run test:interop\` repeats it.

${VERSIONS}${columns.map(({ router, version }) => `${router} ${version}`).join(', ')}.

${line(head)}
${line(head.map(() => '---'))}
${table.map(line).join('\n')}

What a router lacks, in its own words:

${notes.map((note, at) => `${at + 1}. ${note}`).join('\n')}
`;
}

/** What two runs must have in common. */
export function withoutVersions(text: string): string {
  return text.replace(new RegExp(`^${VERSIONS}.*$`, 'm'), '');
}

export async function versionOf(debianPackage: string): Promise<string> {
  return (await output('dpkg-query', '-W', '-f', '${Version}', debianPackage)).trim();
}
