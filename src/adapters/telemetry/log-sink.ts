import { write } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';

/** Standard output or standard error. */
export type StandardStream = NodeJS.WriteStream & { readonly fd: number };

/** Bounds the memory of a log that cannot be written. */
const maxQueuedBytes = 4 * 1024 * 1024;
const retryAfterMs = 1_000;

/**
 * A destination for pino that writes log lines in the background, with one write per event-loop turn. If writing fails
 * (a full disk) or the reader of a pipe stalls, lines are dropped and counted, and the service continues; when writing
 * works again, a line says how many were lost. Decision 0031 says why this is not sonic-boom.
 *
 * @param onLost called with the number of lines at each loss
 */
export function logSink(stream: StandardStream, onLost: (lines: number) => void) {
  let queue: string[] = [];
  let queuedBytes = 0;
  let lost = 0;
  let isFlushing = false;
  let onEmpty: (() => void) | undefined;
  const put = isPipe(stream) ? pipeWriter(stream) : fileWriter(stream);

  function drop(lines: number): void {
    lost += lines;
    onLost(lines);
  }

  async function flush(): Promise<void> {
    while (queue.length > 0) {
      const lines = queue;
      const reported = lost;
      queue = [];
      queuedBytes = 0;
      try {
        await put((reported === 0 ? '' : lossLine(reported)) + lines.join(''));
        // Not zero: more lines may have been lost meanwhile.
        lost -= reported;
      } catch {
        drop(lines.length);
        await new Promise((resolve) => setTimeout(resolve, retryAfterMs).unref());
      }
    }
    isFlushing = false;
    onEmpty?.();
  }

  return {
    /** Queues a line, which ends with a newline. Never throws or blocks. */
    write(line: string): void {
      if (queuedBytes > maxQueuedBytes) {
        drop(1);
        return;
      }
      queue.push(line);
      queuedBytes += line.length;
      if (isFlushing) return;
      isFlushing = true;
      setImmediate(flush);
    },
    /** Resolves when every queued line was written, or after the timeout. */
    end: (timeoutMs: number) =>
      new Promise<void>((resolve) => {
        if (!isFlushing) return resolve();
        onEmpty = resolve;
        setTimeout(resolve, timeoutMs);
      }),
  };
}

const lossLine = (lines: number): string =>
  `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), lines, msg: 'lost log lines: the log could not be written' })}\n`;

/** Resolves when the text is written; rejects if it cannot be. */
type Writer = (text: string) => Promise<void>;

const isPipe = (stream: StandardStream): boolean => stream instanceof Socket && !stream.isTTY;

/** Writes through the stream: a direct write to a full pipe would block a libuv thread. */
function pipeWriter(stream: StandardStream): Writer {
  // The callback of each write gets the error. Without a listener, the error event would end the process.
  stream.on('error', () => undefined);
  return promisify<string>(stream.write.bind(stream));
}

/** Writes to the file descriptor asynchronously. If standard output is a file, its stream would block the process. */
function fileWriter(stream: StandardStream): Writer {
  return async (text) => {
    let rest = Buffer.from(text, 'utf8');
    while (rest.length > 0) rest = rest.subarray((await writeSome(stream.fd, rest)).bytesWritten);
  };
}

const writeSome = promisify(write);
