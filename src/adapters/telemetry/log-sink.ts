import { write } from 'node:fs';
import { Socket } from 'node:net';

/** Standard output or standard error. */
export type StandardStream = NodeJS.WriteStream & { readonly fd: number };

export interface LogSink {
  write(line: string): void;
  /** Writes what is left, for so long at most. */
  end(timeoutMs: number): Promise<void>;
}

/** More than this is not kept: a log that cannot be written must not take the memory of the service. */
const maxPendingBytes = 4 * 1024 * 1024;
/** How long to wait after a failure: a disk that is full stays so for a while. */
const pauseMs = 1_000;

/**
 * Writes lines to standard output or standard error, many at once and in the background. Where that fails (a full disk) or
 * nobody reads, lines are dropped and counted, and the service goes on; when it works again, a line says how many.
 *
 * pino's own destination retries for ever where the process ends, and so keeps it from ending.
 *
 * @param onLost hears of dropped lines
 */
export function logSink(stream: StandardStream, onLost: (lines: number) => void): LogSink {
  let lines: string[] = [];
  let bytes = 0;
  let lost = 0;
  let isWriting = false;
  let isScheduled = false;
  let drained: (() => void) | undefined;

  const put = isPipe(stream) ? toPipe(stream) : toFile(stream);

  function drop(count: number): void {
    lost += count;
    onLost(count);
  }

  async function flush(): Promise<void> {
    isScheduled = false;
    if (isWriting) return;
    isWriting = true;
    while (lines.length > 0) {
      const batch = lines;
      lines = [];
      bytes = 0;
      const told = lost;
      try {
        await put((told === 0 ? '' : lostLine(told)) + batch.join(''));
        // More may have been lost meanwhile.
        lost -= told;
      } catch {
        drop(batch.length);
        await new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
      }
    }
    isWriting = false;
    drained?.();
  }

  return {
    write(line) {
      if (bytes > maxPendingBytes) {
        drop(1);
        return;
      }
      lines.push(line);
      bytes += line.length;
      if (!isScheduled && !isWriting) {
        isScheduled = true;
        setImmediate(flush);
      }
    },
    end: (timeoutMs) =>
      new Promise((resolve) => {
        if (lines.length === 0 && !isWriting) {
          resolve();
          return;
        }
        drained = resolve;
        setTimeout(resolve, timeoutMs);
      }),
  };
}

const lostLine = (lines: number): string =>
  `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), lines, msg: 'lines of the log were lost: it could not be written' })}\n`;

/** What Node writes to in the background, with a queue of its own. */
const isPipe = (stream: StandardStream): boolean => stream instanceof Socket && !stream.isTTY;

type Put = (text: string) => Promise<void>;

/** A pipe is written to without a thread that could be blocked by a reader who does not read. */
function toPipe(stream: StandardStream): Put {
  // Each write hears of its own failure; without a listener the process would end.
  stream.on('error', () => undefined);
  return (text) =>
    new Promise((resolve, reject) => {
      stream.write(text, (error) => (error ? reject(error) : resolve()));
    });
}

function toFile(stream: StandardStream): Put {
  return async (text) => {
    let rest = Buffer.from(text, 'utf8');
    while (rest.length > 0) rest = rest.subarray(await writeSome(stream.fd, rest));
  };
}

const writeSome = (fd: number, bytes: Buffer): Promise<number> =>
  new Promise((resolve, reject) => {
    write(fd, bytes, (error, written) => (error ? reject(error) : resolve(written)));
  });
