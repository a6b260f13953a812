// One log event. The core makes records; how a line looks is log/format.ts, where it goes is the world's business.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'critical';

export interface LogRecord {
  readonly level: LogLevel;
  /** PyBal's bracket: a service, `<service> <Monitor>`, `bgp`, `pybal` … */
  readonly system: string;
  readonly text: string;
  /** Machine-readable fields for JSON output, e.g. { event: 'depooled', service, server, cause }. */
  readonly data?: Readonly<Record<string, string | number | boolean | null>>;
}

export type Log = (record: LogRecord) => void;
