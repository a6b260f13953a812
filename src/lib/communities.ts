// The well-known communities by the names that operators give them. Used by bgp/route.ts, and by config/communities.ts.

/** IANA, BGP Well-known Communities. */
export const WELL_KNOWN = {
  'graceful-shutdown': 0xffff0000, // RFC 8326 §5
  'accept-own': 0xffff0001, // RFC 7611
  'llgr-stale': 0xffff0006, // RFC 9494 §3.2
  'no-llgr': 0xffff0007, // RFC 9494 §3.3
  blackhole: 0xffff029a, // RFC 7999
  'no-export': 0xffffff01, // RFC 1997
  'no-advertise': 0xffffff02, // RFC 1997
  'no-export-subconfed': 0xffffff03, // RFC 1997
  'no-peer': 0xffffff04, // RFC 3765
} as const;
