// What a network of routers and directors is set to for one measurement.

export interface Setting {
  readonly name: string;
  readonly holdTimeSeconds: number;
  /** Interval; three missing packets are a failure. null: no BFD. */
  readonly bfdMs: number | null;
  /** What directors offer as graceful restart time (RFC 4724). null: nothing. */
  readonly restartSeconds: number | null;
}

export const ROUTER_AS = 64500;
export const DIRECTOR_AS = 64600;
/** MULTI_EXIT_DISC of the director that stands by. The preferred one sends none, which counts as 0. */
export const STANDBY_MED = 100;
