/**
 * `serve --workers N`: processes that share a port and a database, and a supervisor. The database ensures uniqueness,
 * idempotency, revocation and erasure, as it does for processes on several machines.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { serveWorkerMetrics } from '../adapters/telemetry/worker-metrics.ts';
import { isBinary } from '../binary/embedded.ts';
import type { Config } from '../config.ts';
import type { Greeting } from './greeting.ts';
import type { Log } from './log.ts';

/** Prevents a worker that exits repeatedly from using a whole core. */
const restartPauseMs = 1000;

/**
 * Starts workers and replaces those that exit. When `stopped` resolves, lets all workers finish their requests.
 *
 * @param announce is called with the first worker's greeting, once all workers listen
 * @returns whether all workers stopped without an error; see `Workers.stop`
 * @throws if one of the initial workers exits before it listens; that worker has printed the reason
 */
export async function superviseWorkers(
  { workers: count }: Config,
  log: Log,
  stopped: Promise<void>,
  announce: (greeting: Greeting) => void,
): Promise<boolean> {
  serveWorkerMetrics();
  // The binary has no module path, so cluster needs its executable and arguments.
  const [exec, ...args] = process.argv.slice(2);
  if (isBinary) cluster.setupPrimary({ exec: exec as string, args, execArgv: [] });
  const workers = new Workers(log.logger);
  let succeeded = false;
  try {
    // The first worker starts alone, because it migrates the schema and adds the demo tenant.
    const greeting = await Promise.race([workers.start(), stopped]);
    if (greeting !== undefined) {
      await Promise.race([Promise.all(Array.from({ length: count - 1 }, () => workers.start())), stopped]);
      announce(greeting);
      await stopped;
    }
  } finally {
    succeeded = await workers.stop();
  }
  await log.end();
  return succeeded;
}

/** The workers of this process, replaced when they exit. */
class Workers {
  readonly #logger: Logger;
  /** Ids of the workers that have listened. If a worker exits before it listens, `start` rejects. */
  readonly #listening = new Set<number>();
  #isStopping = false;

  constructor(logger: Logger) {
    this.#logger = logger;
    cluster.on('exit', ({ id }, code, signal) => {
      if (this.#isStopping || !this.#listening.delete(id)) return;
      logger.error({ worker: id, code, signal }, 'worker exited; starting another');
      this.#replace();
    });
  }

  /** Starts one worker. @returns its greeting, once it listens. Rejects if it exits before. */
  start(): Promise<Greeting> {
    const worker = cluster.fork();
    return new Promise((resolve, reject) => {
      worker.on('message', ({ greeting }: { greeting?: Greeting }) => {
        if (greeting === undefined) return;
        this.#listening.add(worker.id);
        resolve(greeting);
      });
      worker.once('exit', () => reject(new Error('a worker exited before it listened')));
    });
  }

  /** Lets all workers finish their requests, and waits for their exit. @returns whether all exited without an error */
  async stop(): Promise<boolean> {
    this.#isStopping = true;
    const stops = Object.values(cluster.workers ?? {}).map(async (worker) => {
      const exited = once(worker as Worker, 'exit');
      worker?.process.kill('SIGTERM');
      const [code, signal] = await exited;
      // The signal kills a worker that does not handle it yet; such a worker has no requests.
      return code === 0 || signal === 'SIGTERM';
    });
    return !(await Promise.all(stops)).includes(false);
  }

  async #replace(): Promise<void> {
    await delay(restartPauseMs);
    if (this.#isStopping) return;
    this.start().catch(() => {
      if (this.#isStopping) return;
      this.#logger.error('worker exited before it listened; starting another');
      this.#replace();
    });
  }
}
