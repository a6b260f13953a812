// What every World must do, port by port: run against the operating system's world in test/unit/world, and against the
// simulator's, so that the simulator does not test a fiction. A case waits only by the world that it is given, so that it
// also runs in virtual time.

export { type Bench, type Case, codeOf } from './conformance/bench.ts';
export { clockCases } from './conformance/clock.ts';
export { filesCases } from './conformance/files.ts';
export { httpCases } from './conformance/http.ts';
export { recorder, streamsCases } from './conformance/streams.ts';
export { icmpCases, udpCases } from './conformance/udp.ts';
