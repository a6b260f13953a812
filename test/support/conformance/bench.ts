// What every case of the worlds' conformance suite is made of.

import { expect } from 'chai';
import { SystemError } from '../../../src/lib/errors.ts';
import type { World } from '../../../src/world/world.ts';

/** What a case is run on. `address` can be listened on, `port` is free there; `folder` is empty and may be written to. */
export interface Bench {
  readonly world: World;
  readonly address: string;
  readonly port: number;
  readonly folder: string;
}

export interface Case {
  readonly title: string;
  run(bench: Bench): Promise<void>;
}

/** The code of the SystemError that `promise` rejects with; fails if it does not reject with one. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    expect(error, String(error)).to.be.instanceOf(SystemError);
    return error instanceof SystemError ? error.code : '';
  }
  throw new Error('resolved, though it should have failed');
}

export const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
export const bytesOf = (string: string) => new Uint8Array(Buffer.from(string));
