// Where log lines go: a terminal, journald or a file, through pino's asynchronous destination. In front of it stands a
// bounded queue, because the destination's own flushSync() retries a full disk or a broken pipe for ever. So a log that can
// not be written costs lines, which are counted and told, and never blocks the loop or ends the daemon.

import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { destination } from 'pino';
import { systemError } from '../world/real/errors.ts';
import { atLeast, bounded, formatRecord, isoTime, type LineStyle } from './format.ts';
import type { LogLevel, LogRecord } from './record.ts';

export interface SinkSettings {
  /** A file, made if missing, or an open descriptor (1, 2). */
  readonly to: { readonly path: string } | { readonly fd: number };
  readonly style: LineStyle;
  /** Records below it are not written. */
  readonly level: LogLevel;
  /** Unix time, ms. */
  wall(): number;
}

export interface LogSink {
  write(record: LogRecord): void;
  /** Open the file again under its name, after logrotate has moved it. The old one stays in use if it still is there, or that fails. */
  reopen(): void;
  /** Lines lost so far: the queue was full, or they could not be written before the end. */
  dropped(): number;
  /** Everything out, now and synchronously, as far as possible within a second: for the last moments of a process. */
  flushSync(limitMs?: number): void;
  /** Everything out, as far as possible within `timeoutMs`; afterwards nothing is written any more. */
  close(timeoutMs?: number): Promise<void>;
}

/** What 20,000 servers have to say that fail at once, also as JSON. In characters, which are octets but for a few. */
const MAX_QUEUED = 16 << 20;
/** Of a line: its time and names, and the fields beside its text. */
const LINE_OVERHEAD = 50;
const MAX_CHUNK = 64 * 1024;
/**
 * Between two chunks, if there is more than another one: whoever has so much to say in one moment has other things to do then. A log
 * that has used half of its room does not pause.
 */
const PAUSE_MS = 25;
const RETRY_MS = 1_000;
const FLUSH_MS = 1_000;
const BUSY_WAIT_MS = 20;

/** It becomes text when it is written. */
interface Waiting {
  readonly record: LogRecord;
  readonly wall: number;
}

/** One opened file or descriptor. */
interface Output {
  readonly fd: number;
  readonly boom: ReturnType<typeof destination>;
  /** What the destination was given and has not written yet. */
  inFlight: Buffer;
  /** The last attempt to write failed, or the reader takes no more for now. */
  stalled: boolean;
  retry: NodeJS.Timeout | undefined;
  /** It has just written, and waits before it writes again. */
  rest: NodeJS.Timeout | undefined;
}

/**
 * Priorities if the descriptor is the stream that systemd connected to the journal, which stamps the time itself; it says so
 * in JOURNAL_STREAM as `device:inode` (systemd.exec(5)). Otherwise timestamps.
 */
export function lineStyle(
  format: 'text' | 'json',
  to: SinkSettings['to'],
  env: Readonly<Record<string, string | undefined>>,
): LineStyle {
  if ('path' in to) return { format, prefix: 'time' };
  const { dev, ino } = fstatSync(to.fd);
  return { format, prefix: env['JOURNAL_STREAM'] === `${dev}:${ino}` ? 'priority' : 'time' };
}

/** Throws a SystemError when the file can not be opened. */
export function createLogSink(settings: SinkSettings): LogSink {
  const { to, style } = settings;
  /** Many lines have the same time. */
  let lastWall = Number.NaN;
  let lastTime = '';
  const line = ({ record, wall }: Waiting) => {
    if (wall !== lastWall) [lastWall, lastTime] = [wall, isoTime(wall)];
    return formatRecord(record, style, lastTime);
  };

  let queue: Waiting[] = [];
  let queued = 0;
  let lost = 0;
  let lostAndNotTold = 0;
  let closed = false;
  let out = open('path' in to ? openLog(to.path) : nonBlocking(to.fd));

  function open(fd: number): Output {
    const boom = destination({
      dest: fd,
      sync: false,
      minLength: 0,
      retryEAGAIN: () => {
        output.stalled = true;
        return true;
      },
    });
    // Called by pino at exit, and endless on a full disk: flushSync below does its work.
    boom.flushSync = () => {};
    const output: Output = { fd, boom, inFlight: Buffer.alloc(0), stalled: false, retry: undefined, rest: undefined };
    boom.on('write', (bytes: number) => {
      output.stalled = false;
      output.inFlight = output.inFlight.subarray(bytes);
      if (output !== out || output.inFlight.length > 0) return;
      if (queued < MAX_CHUNK || queued > MAX_QUEUED / 2) pump();
      else output.rest = setTimeout(() => awake(output), PAUSE_MS).unref();
    });
    boom.on('error', (error: Error) => {
      output.stalled = true;
      if (output !== out) {
        lose(linesIn(output.inFlight));
        output.inFlight = Buffer.alloc(0);
        boom.destroy();
      } else if (systemError(error, 'write').code !== 'EPIPE') {
        // A full disk may be emptied; a broken pipe stays broken.
        output.retry = setTimeout(() => void boom.write(''), RETRY_MS).unref();
      }
    });
    return output;
  }

  function awake(output: Output): void {
    output.rest = undefined;
    if (output === out) pump();
  }

  function pump(): void {
    if (out.inFlight.length > 0 || out.rest !== undefined) return;
    if (lostAndNotTold > 0 && queued < MAX_QUEUED / 2) {
      enqueue({ level: 'error', system: 'log', text: `${lostAndNotTold} line(s) of this log were lost` });
      lostAndNotTold = 0;
    }
    let chunk = '';
    let count = 0;
    for (const next of queue) {
      if (chunk.length >= MAX_CHUNK) break;
      chunk += line(next);
      queued -= lengthOf(next.record);
      count += 1;
    }
    if (count === 0) return;
    queue = queue.slice(count);
    out.inFlight = Buffer.from(chunk);
    out.boom.write(chunk);
  }

  function enqueue(record: LogRecord): void {
    queue.push({ record, wall: settings.wall() });
    queued += lengthOf(record);
  }

  function lose(lines: number): void {
    lost += lines;
    lostAndNotTold += lines;
  }

  function flushSync(limitMs = FLUSH_MS): void {
    if (closed) return;
    const until = performance.now() + limitMs;
    // Unless it is stalled, what is in flight is being written by a thread that the process waits for at its end.
    const waiting = Buffer.from(queue.map(line).join(''));
    let left = out.stalled ? Buffer.concat([out.inFlight, waiting]) : waiting;
    if (out.stalled) out.inFlight = Buffer.alloc(0);
    queue = [];
    queued = 0;
    while (left.length > 0) {
      try {
        left = left.subarray(writeSync(out.fd, left));
      } catch (error) {
        const { code } = systemError(error, 'write');
        if ((code !== 'EAGAIN' && code !== 'EINTR') || performance.now() > until) break;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_WAIT_MS);
      }
    }
    lose(linesIn(left));
  }

  const onExit = () => flushSync();
  process.on('exit', onExit);

  return {
    write(said) {
      if (closed || !atLeast(said.level, settings.level)) return;
      const text = bounded(said.text);
      const record = text === said.text ? said : { ...said, text };
      if (queued + lengthOf(record) > MAX_QUEUED) {
        lose(1);
        return;
      }
      enqueue(record);
      pump();
    },
    reopen() {
      if (closed || !('path' in to)) return;
      try {
        const fd = openLog(to.path);
        // Half a line may stand at its end, and the rest wait for room on the disk: it must come before what is new.
        if (isSameFile(fd, out.fd)) return closeSync(fd);
        const fresh = open(fd);
        const old = out;
        out = fresh;
        // What is in flight still goes to the old file, which is closed behind it.
        clearTimeout(old.retry);
        old.boom.end();
        pump();
      } catch (error) {
        this.write({ level: 'error', system: 'log', text: systemError(error, 'reopen').message });
      }
    },
    dropped: () => lost,
    flushSync,
    async close(timeoutMs = FLUSH_MS) {
      const until = performance.now() + timeoutMs;
      while (out.inFlight.length > 0 && !out.stalled && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      flushSync(until - performance.now());
      closed = true;
      clearTimeout(out.retry);
      clearTimeout(out.rest);
      process.off('exit', onExit);
      if (out.inFlight.length === 0) out.boom.destroy();
    },
  };
}

function isSameFile(one: number, other: number): boolean {
  const [a, b] = [fstatSync(one, { bigint: true }), fstatSync(other, { bigint: true })];
  return a.dev === b.dev && a.ino === b.ino;
}

/** About what it takes. */
function lengthOf({ system, text }: LogRecord): number {
  return LINE_OVERHEAD + system.length + text.length;
}

function linesIn(bytes: Buffer): number {
  return bytes.reduce((lines, byte) => (byte === 0x0a ? lines + 1 : lines), 0);
}

function openLog(path: string): number {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o640);
  } catch (error) {
    throw systemError(error, `open ${path}`);
  }
}

/**
 * A descriptor whose writes do not block: a reader that stands still would hold a thread, and the exit with it. Files never
 * block. A pipe or a terminal can be opened once more, so that others who share it keep theirs as it is. A socket, which is
 * what journald gives, can not: handing it to Node makes it non-blocking.
 */
function nonBlocking(fd: number): number {
  const kind = fstatSync(fd);
  try {
    if (kind.isSocket()) new Socket({ fd, readable: false, writable: true }).unref();
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}
