// Fuzzed messages against everything that a session does with received bytes: each must be read or refused as the RFCs
// say, an UPDATE exactly as the oracle in rfc7606.ts has it, and nothing but the typed error may be thrown.

import { MESSAGE } from '../../src/bgp/constants.ts';
import { type Frame, notificationOf, openOf, refreshOf, updateOf } from '../../src/bgp/message.ts';
import { prefixes } from '../../src/bgp/nlri.ts';
import { describeNotification, ProtocolError } from '../../src/bgp/notification.ts';
import { type LocalOpen, negotiate } from '../../src/bgp/open.ts';
import { Splitter } from '../../src/bgp/splitter.ts';
import { reachability, type ReceivedUpdate } from '../../src/bgp/update.ts';
import { fuzzMessage } from './bgp-messages.ts';
import { type Context, judgeUpdate } from './rfc7606.ts';

const LOCAL: LocalOpen = { as: 64600, routerId: '192.0.2.9', holdTimeSeconds: 9, families: [4, 6], peerAs: null };
const CONTEXTS: readonly [Context, Context, Context] = [
  { as4: true, internal: false, families: [4, 6] },
  { as4: false, internal: false, families: [4, 6] },
  { as4: true, internal: true, families: [6] },
];
/** Type → smallest and largest whole message: RFC 4271 §4, RFC 2918 §3. */
const SIZES: Readonly<Record<number, readonly [number, number | null]>> = {
  1: [29, 4096],
  2: [23, null],
  3: [21, null],
  4: [19, 19],
  // RFC 7313 §5: its length is judged with its subtype.
  5: [19, null],
};

/** How often each outcome was seen. */
export type Outcomes = Map<string, number>;

/** A message that did not end as it should. Its text is all that is needed to see it again. */
export class Finding extends Error {
  constructor(seed: number, index: number, bytes: Uint8Array, what: string) {
    super(`seed ${seed}, message ${index}: ${what}\n${Buffer.from(bytes).toString('hex')}`);
    this.name = 'Finding';
  }
}

/** Feeds the messages `from` … `to` of a seed. Throws a Finding. */
export function fuzzDecoders(seed: number, from: number, to: number, outcomes: Outcomes): void {
  for (let index = from; index < to; index++) {
    const bytes = fuzzMessage(seed, index);
    try {
      const outcome = checkMessage(bytes, index);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (thrown) {
      const what = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      throw new Finding(seed, index, bytes, what);
    }
  }
}

let splitter = new Splitter();

/** Returns what became of it; throws what is wrong about that. */
export function checkMessage(message: Uint8Array, index = 0): string {
  // Where the header claims less, the rest would be another message.
  const bytes = message.subarray(0, Math.max(19, Math.min(message.length, claimedLength(message))));
  const expected = judgeHeader(bytes);
  const frames: Frame[] = [];
  try {
    // In one piece, or in two.
    const cut = index % 8 === 0 ? bytes.length >> 1 : 0;
    for (const part of cut === 0 ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      for (const { type, body } of splitter.push(part)) frames.push({ type, body: cut === 0 ? body : body.slice() });
    }
  } catch (thrown) {
    splitter = new Splitter();
    return refused(thrown, expected);
  }
  // A header that claims more waits for the rest.
  if (claimedLength(bytes) !== bytes.length) splitter = new Splitter();
  must(expected.size === 0, `a header that is ${[...expected].join(' or ')} was taken`);
  for (const frame of frames) return checkFrame(frame, CONTEXTS[index % CONTEXTS.length] ?? CONTEXTS[0]);
  return 'incomplete';
}

/** RFC 4271 §6.1: the NOTIFICATIONs that a header may be answered by; none for a good one. `largest`: RFC 8654. */
export function judgeHeader(bytes: Uint8Array, largest = 4096): ReadonlySet<string> {
  const errors = new Set<string>();
  if (bytes.subarray(0, 16).some((octet) => octet !== 0xff)) return errors.add('1/1');
  const length = claimedLength(bytes);
  const sizes = SIZES[bytes[18] ?? 0];
  if (sizes === undefined) errors.add('1/3');
  const [min, max] = sizes ?? [19, null];
  if (length < min || length > (max ?? largest)) errors.add('1/2');
  return errors;
}

function claimedLength(bytes: Uint8Array): number {
  return ((bytes[16] ?? 0) << 8) | (bytes[17] ?? 0);
}

function checkFrame(frame: Frame, context: Context): string {
  switch (frame.type) {
    case MESSAGE.open:
      return checkOpen(frame);
    case MESSAGE.update:
      return checkUpdate(frame, context);
    case MESSAGE.notification: {
      const text = describeNotification(notificationOf(frame));
      must(/^[^\p{Cc}\p{Zl}\p{Zp}]+$/u.test(text), `not fit to print: ${JSON.stringify(text)}`);
      return 'NOTIFICATION';
    }
    case MESSAGE.routeRefresh:
      return checkRefresh(frame);
    default:
      must(frame.type === MESSAGE.keepalive, `type ${frame.type}`);
      return 'KEEPALIVE';
  }
}

function checkOpen(frame: Frame): string {
  try {
    const result = negotiate(LOCAL, openOf(frame));
    if (!('refusal' in result)) return 'OPEN agreed';
    must([2, 3, 6, 7, 11].includes(result.refusal.subcode), `OPEN refused by 2/${result.refusal.subcode}`);
    return `OPEN ${codeOf(result.refusal)}`;
  } catch (thrown) {
    return `OPEN ${refused(thrown, new Set(['2/0', '2/1', '2/4']))}`;
  }
}

/** RFC 7313 §5: the NOTIFICATION for a ROUTE-REFRESH of this length and subtype; null: none. */
export function judgeRefresh(body: Uint8Array): string | null {
  if (body.length === 4) return null;
  const subtype = body[2] ?? 0;
  return subtype === 0 ? '1/2' : subtype <= 2 ? '7/1' : null;
}

function checkRefresh(frame: Frame): string {
  const expected = judgeRefresh(frame.body);
  try {
    refreshOf(frame);
  } catch (thrown) {
    return `ROUTE-REFRESH ${refused(thrown, new Set(expected === null ? [] : [expected]))}`;
  }
  must(expected === null, `a ROUTE-REFRESH of ${frame.body.length} octets was taken`);
  return 'ROUTE-REFRESH';
}

function checkUpdate(frame: Frame, context: Context): string {
  const expected = judgeUpdate(frame.body, context);
  let update: ReceivedUpdate;
  try {
    update = updateOf(frame, { ...context });
  } catch (thrown) {
    must(expected.treatment === 'reset', `${show(thrown)} instead of ${expected.treatment}`);
    return `UPDATE reset ${refused(thrown, expected.says)}`;
  }
  const treatments = update.problems.map(({ treatment }) => treatment);
  const treatment = treatments.includes('treat-as-withdraw') ? 'treat-as-withdraw' : (treatments[0] ?? 'fine');
  must(
    treatment === expected.treatment,
    `${treatment} (${update.problems.map(({ text }) => text).join(', ')}) instead of ${expected.treatment} ${[...expected.says].join()}`,
  );
  const { announced, withdrawn } = reachability(update);
  const counted = announced.reduce((sum, { nlri }) => sum + nlri.count, 0);
  if (treatment === 'treat-as-withdraw') must(announced.length === 0, 'announced and treated as withdrawn');
  else must(counted === expected.announced, `${counted} prefixes instead of ${expected.announced}`);
  for (const nlri of [...announced.map((one) => one.nlri), ...withdrawn]) {
    let seen = 0;
    for (const _ of prefixes(nlri)) seen++;
    must(seen === nlri.count, `${seen} prefixes unfolded of ${nlri.count}`);
  }
  return `UPDATE ${treatment}`;
}

/** The typed error, with one of the codes that are right. */
function refused(thrown: unknown, allowed: ReadonlySet<string>): string {
  if (!(thrown instanceof ProtocolError)) throw thrown;
  const code = codeOf(thrown.notification);
  must(allowed.has(code), `${show(thrown)} instead of ${[...allowed].join(' or ') || 'nothing'}`);
  return code;
}

function codeOf({ code, subcode }: { readonly code: number; readonly subcode: number }): string {
  return `${code}/${subcode}`;
}

function show(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function must(so: boolean, otherwise: string): void {
  if (!so) throw new Error(otherwise);
}
