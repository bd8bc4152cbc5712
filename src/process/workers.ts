/**
 * `serve --workers N`: processes that share a port and a database, and one that watches over them. What must hold between
 * them (uniqueness, idempotency, revocation, erasure) holds by the database, as between processes anywhere.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { gatherMetrics } from '../adapters/telemetry/worker-metrics.ts';
import { isBinary } from '../binary/embedded.ts';

/** What a worker says, as `{ greeting }`, when it listens: what `serve` prints. */
export interface Greeting {
  readonly value: object;
  readonly text: string;
}

/** One that ends again and again must not take a whole core. */
const restartPauseMs = 1000;

/**
 * Starts workers and keeps their number until `stopped`; then has them finish what they have.
 *
 * @param onReady hears what the first worker says, when all listen
 * @returns whether all have ended in order
 * @throws where one does not come to listen at the start; it has said why
 */
export async function superviseWorkers({
  count,
  logger,
  stopped,
  onReady,
}: {
  readonly count: number;
  readonly logger: Logger;
  readonly stopped: Promise<void>;
  onReady(greeting: Greeting): void;
}): Promise<boolean> {
  let isStopping = false;
  let allInOrder = true;
  gatherMetrics();
  // A program in one file is no module that it could be told to run: it is started by its words alone.
  const [exec, ...args] = process.argv.slice(2);
  if (isBinary) cluster.setupPrimary({ exec: exec as string, args, execArgv: [] });

  /** Those that once listened. The end of one that did not is told to whoever started it. */
  const listened = new Set<number>();
  function start(): Promise<Greeting> {
    const worker = cluster.fork();
    return new Promise((resolve, reject) => {
      worker.on('message', ({ greeting }: { greeting?: Greeting }) => {
        if (greeting === undefined) return;
        listened.add(worker.id);
        resolve(greeting);
      });
      worker.once('exit', () => reject(new Error('a worker has ended before it listened')));
    });
  }
  async function replace(): Promise<void> {
    await delay(restartPauseMs);
    if (isStopping) return;
    start().catch(() => {
      if (isStopping) return;
      logger.error('a worker has ended before it listened; another is tried');
      replace();
    });
  }
  async function stop(): Promise<void> {
    isStopping = true;
    await Promise.all(
      workers().map(async (worker) => {
        const ended = once(worker, 'exit');
        worker.process.kill('SIGTERM');
        const [code, signal] = await ended;
        // One that had not yet begun to listen for it ends by the signal itself, and has nothing to finish.
        if (code !== 0 && signal !== 'SIGTERM') allInOrder = false;
      }),
    );
  }

  cluster.on('exit', ({ id }, code, signal) => {
    if (isStopping || !listened.delete(id)) return;
    logger.error({ worker: id, code, signal }, 'a worker has ended; another takes its place');
    replace();
  });
  try {
    // The first alone: it makes what is missing. What all would say, it says.
    const greeting = await Promise.race([start(), stopped]);
    if (greeting !== undefined) {
      await Promise.race([Promise.all(Array.from({ length: count - 1 }, start)), stopped]);
      onReady(greeting);
      await stopped;
    }
  } finally {
    await stop();
  }
  return allInOrder;
}

const workers = (): Worker[] => Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
