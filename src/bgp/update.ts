// UPDATE (RFC 4271 §4.3) and how a bad one is treated (RFC 7606): attributes are dropped, or its routes count as
// withdrawn, or, only when prefixes cannot be located, the session is reset.

import { type Family } from '../lib/address.ts';
import { type Reader, Truncated, Writer } from '../lib/bytes.ts';
import {
  type AttributeContext,
  type Attributes,
  decodeAttributes,
  encodeAttributes,
  MP_UNREACH_CODE,
  type Problem,
} from './attribute.ts';
import { decodeNlri, NO_NLRI, type Nlri } from './nlri.ts';
import { ProtocolError } from './notification.ts';

export interface Update {
  /** IPv4 prefixes of the classic fields; those of other families are in mpReach and mpUnreach. */
  readonly withdrawn: Nlri;
  readonly attributes: Attributes;
  readonly announced: Nlri;
}

export interface ReceivedUpdate extends Update {
  /** What RFC 7606 forgave. */
  readonly problems: readonly Problem[];
}

/** Body of an UPDATE. Throws ProtocolError 3/x for what resets the session. */
export function decodeUpdate(reader: Reader, context: AttributeContext): ReceivedUpdate {
  const problems: Problem[] = [];
  try {
    const withdrawn = decodeNlri(reader.take(reader.u16('withdrawn routes length'), 'withdrawn routes'), 4);
    const field = reader.take(reader.u16('total path attribute length'), 'path attributes');
    const attributes = decodeAttributes(field, context, problems);
    const announced = decodeNlri(reader, 4);
    for (const name of missing(attributes, announced)) {
      // RFC 7606 §3 (d)
      problems.push({ treatment: 'treat-as-withdraw', code: null, text: `missing ${name}` });
    }
    const reaches = reachable(attributes, announced) || attributes.foreignReach === true;
    // RFC 7606 §5.2: without prefixes there is nothing to treat as withdrawn, so such an error may hide some.
    const hopeless = problems.some(({ treatment }) => treatment === 'treat-as-withdraw') && !reaches;
    if (hopeless && announces(attributes, problems)) {
      throw new ProtocolError('updateBadAttributeList', problems.map(({ text }) => text).join(', '));
    }
    return { withdrawn, attributes, announced, problems };
  } catch (thrown) {
    if (!(thrown instanceof Truncated)) throw thrown;
    // RFC 4271 §6.3: the lengths of the three fields do not add up.
    throw new ProtocolError('updateBadAttributeList', thrown.message);
  }
}

/** Was anything there but MP_UNREACH_NLRI, which needs no other prefixes? */
function announces(attributes: Attributes, problems: readonly Problem[]): boolean {
  const withdraws = (code: number | null) => code === MP_UNREACH_CODE;
  return Object.keys(attributes).some((name) => name !== 'mpUnreach') || !problems.every(({ code }) => withdraws(code));
}

function reachable({ mpReach }: Attributes, announced: Nlri): boolean {
  return announced.count > 0 || (mpReach !== undefined && mpReach.nlri.count > 0);
}

/** RFC 4271 §5: mandatory with any prefix; NEXT_HOP only with classic ones (RFC 4760 §3). */
function missing(attributes: Attributes, announced: Nlri): string[] {
  if (!reachable(attributes, announced)) return [];
  return [
    ...(attributes.origin === undefined ? ['ORIGIN'] : []),
    ...(attributes.asPath === undefined ? ['AS_PATH'] : []),
    ...(attributes.nextHop === undefined && announced.count > 0 ? ['NEXT_HOP'] : []),
  ];
}

export function encodeUpdate(writer: Writer, update: Update, context: AttributeContext): void {
  writer.u16(update.withdrawn.bytes.length).bytes(update.withdrawn.bytes);
  const lengthAt = writer.length;
  writer.u16(0);
  encodeAttributes(writer, update.attributes, context);
  writer.patchU16(lengthAt, writer.length - lengthAt - 2).bytes(update.announced.bytes);
}

/** RFC 4724 §2: an UPDATE that says nothing, of one family. */
export function endOfRib(family: Family): Update {
  if (family === 4) return { withdrawn: NO_NLRI, attributes: {}, announced: NO_NLRI };
  return { withdrawn: NO_NLRI, attributes: { mpUnreach: { ...NO_NLRI, family } }, announced: NO_NLRI };
}

/** The family whose End-of-RIB this is, or null. */
export function endOfRibFamily(update: Update): Family | null {
  const { mpUnreach, ...others } = update.attributes;
  if (update.withdrawn.count > 0 || update.announced.count > 0 || Object.keys(others).length > 0) return null;
  if (mpUnreach === undefined) return 4;
  return mpUnreach.count === 0 ? mpUnreach.family : null;
}

/** All prefixes of an UPDATE after RFC 7606: what it takes away and what it brings. */
export function reachability(update: ReceivedUpdate): {
  readonly withdrawn: readonly Nlri[];
  readonly announced: readonly { readonly nlri: Nlri; readonly nextHop: string }[];
} {
  const { attributes } = update;
  const { mpReach, mpUnreach, nextHop } = attributes;
  const withdrawn = [update.withdrawn, ...(mpUnreach === undefined ? [] : [mpUnreach])];
  if (update.problems.some(({ treatment }) => treatment === 'treat-as-withdraw')) {
    return {
      withdrawn: [...withdrawn, update.announced, ...(mpReach === undefined ? [] : [mpReach.nlri])],
      announced: [],
    };
  }
  return {
    withdrawn,
    announced: [
      ...(nextHop === undefined ? [] : [{ nlri: update.announced, nextHop }]),
      ...(mpReach === undefined ? [] : [{ nlri: mpReach.nlri, nextHop: mpReach.nextHop }]),
    ],
  };
}
