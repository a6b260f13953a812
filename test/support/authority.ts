// A certificate authority of a test's own, in a folder of its own. Needs openssl.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NEW_KEY = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'.split(' ');

export class Authority {
  readonly folder = mkdtempSync(join(tmpdir(), 'anybal-authority-'));

  constructor() {
    this.#openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      '-days',
      '30',
      '-subj',
      '/CN=authority',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
    );
  }

  /** The authority's own certificate. */
  get path(): string {
    return join(this.folder, 'ca.pem');
  }

  /** The path of a PEM file with a certificate for `name`, and its key. -1 day: it has ended. */
  issue(file: string, name: string, days: number): string {
    const names = ['-addext', `subjectAltName=DNS:${name}`];
    this.#openssl('req', ...NEW_KEY, '-subj', `/CN=${name}`, ...names, '-keyout', `${file}.key`, '-out', `${file}.csr`);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-copy_extensions', 'copy'];
    this.#openssl('x509', '-req', '-in', `${file}.csr`, ...by, '-days', String(days), '-out', `${file}.crt`);
    const path = join(this.folder, `${file}.pem`);
    const parts = ['crt', 'key'].map((ending) => readFileSync(join(this.folder, `${file}.${ending}`), 'utf8'));
    writeFileSync(path, parts.join(''));
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('/usr/bin/openssl', args, { cwd: this.folder, stdio: 'pipe' });
  }
}
