// Two connections between two speakers: both must choose the same one.

import { expect } from 'chai';
import { survivor } from '../../../src/bgp/collision.ts';

describe('bgp/collision', () => {
  const low = { routerId: '9.255.255.255', as: 64500 };
  const high = { routerId: '10.0.0.1', as: 64500 };

  it('keeps the connection that the speaker with the higher identifier opened, compared as a number', () => {
    expect(survivor(high, low)).to.equal('outgoing');
    expect(survivor(low, high)).to.equal('incoming');
  });

  it('compares identifiers without sign', () => {
    expect(survivor({ routerId: '200.0.0.1', as: 1 }, { routerId: '100.0.0.1', as: 1 })).to.equal('outgoing');
  });

  it('lets the larger AS number win between equal identifiers', () => {
    expect(survivor({ ...low, as: 64501 }, low)).to.equal('outgoing');
    expect(survivor(low, { ...low, as: 4_200_000_000 })).to.equal('incoming');
  });
});
