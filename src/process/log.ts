import cluster from 'node:cluster';
import type { Logger } from 'pino';
import { logSink, type StandardStream } from '../adapters/telemetry/log-sink.ts';
import type { Config } from '../config.ts';

/** How long a shutdown waits for the log's reader. */
const drainTimeoutMs = 500;

export interface Log {
  readonly logger: Logger;
  /** Called with the number of lines that could not be written. */
  onLost: (lines: number) => void;
  /** Writes pending lines. */
  end(): Promise<void>;
}

/** Opens the log: JSON lines, or formatted lines on a terminal. */
export async function openLog({ logLevel }: Config, stream: StandardStream): Promise<Log> {
  const { default: pino } = await import('pino');
  const options = {
    level: logLevel,
    base: cluster.isWorker ? { worker: cluster.worker?.id } : null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (stream.isTTY) {
    const { default: pretty } = await import('pino-pretty');
    const logger = pino(options, pretty({ destination: stream.fd, sync: true }));
    return { logger, onLost: () => {}, end: async () => {} };
  }
  const sink = logSink(stream, (lines) => log.onLost(lines));
  const log: Log = { logger: pino(options, sink), onLost: () => {}, end: () => sink.end(drainTimeoutMs) };
  return log;
}
