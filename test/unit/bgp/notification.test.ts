// What a NOTIFICATION says to people: names, and text from the wire made harmless.

import { expect } from 'chai';
import { ceaseWithText, describeNotification, notification } from '../../../src/bgp/notification.ts';

const received = (code: number, subcode: number, ...data: number[]) => ({ code, subcode, data: Uint8Array.from(data) });
const withText = (text: string) => {
  const bytes = new TextEncoder().encode(text);
  return received(6, 2, bytes.length, ...bytes);
};

describe('bgp/notification', () => {
  it('names errors as IANA does', () => {
    expect(describeNotification(notification('holdTimerExpired'))).to.equal('Hold Timer Expired (4/0)');
    expect(describeNotification(notification('openBadPeerAs'))).to.equal('OPEN Message Error: Bad Peer AS (2/2)');
  });

  it('names the code of an unknown subcode, and the number of an unknown code', () => {
    expect(describeNotification(received(6, 99))).to.equal('Cease (6/99)');
    expect(describeNotification(received(77, 1))).to.equal('Unknown Error (77/1)');
  });

  it('shows data as hexadecimal, cut to a line', () => {
    expect(describeNotification(received(1, 3, 6))).to.equal('Message Header Error: Bad Message Type (1/3), data 06');
    expect(describeNotification(received(3, 1, ...new Array<number>(500).fill(255)))).to.have.length.below(140);
  });

  it("shows the operator's text of a shutdown", () => {
    expect(describeNotification(withText('Wartung, zurück um 4'))).to.equal(
      'Cease: Administrative Shutdown (6/2): "Wartung, zurück um 4"',
    );
    expect(describeNotification(ceaseWithText('ceaseReset', 'try again'))).to.equal(
      'Cease: Administrative Reset (6/4): "try again"',
    );
    expect(describeNotification(ceaseWithText('ceaseShutdown', ''))).to.equal('Cease: Administrative Shutdown (6/2)');
  });

  it('lets no text from the wire forge a line, drive a terminal or end our quotes', () => {
    const hostile = 'a\nb\u001b[2Jc"d\u202ee\u2028f\u0000\u0085';
    expect(describeNotification(withText(hostile))).to.equal(
      `Cease: Administrative Shutdown (6/2): "a.b.[2Jc'd.e.f.."`,
    );
  });

  it('shows text whose length lies, or that is not UTF-8, without failing', () => {
    expect(describeNotification(received(6, 2, 9, 65))).to.equal('Cease: Administrative Shutdown (6/2), data 0941');
    expect(describeNotification(received(6, 2, 2, 0xff, 0x41))).to.equal(
      'Cease: Administrative Shutdown (6/2): "\ufffdA"',
    );
  });

  it('cuts our own text to 255 octets at a character', () => {
    const { data } = ceaseWithText('ceaseShutdown', `a${'é'.repeat(200)}`);
    expect(data[0]).to.equal(255);
    expect(data).to.have.length(256);
    expect(new TextDecoder('utf-8', { fatal: true }).decode(data.subarray(1))).to.equal(`a${'é'.repeat(127)}`);
  });
});
