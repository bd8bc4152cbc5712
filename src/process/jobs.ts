/** Background jobs, which every server process repeats. The same job may run in several processes at once. */
import type { Authentication } from '../application/authentication.ts';
import type { Clock } from '../application/ports/clock.ts';
import type { CustomerRepository } from '../application/ports/customer-repository.ts';
import type { Telemetry } from '../application/ports/telemetry.ts';
import { describeRecovery } from '../application/recovery-messages.ts';

export interface Job {
  /** The name in the log and in `c2a_job_runs_total`. */
  readonly name: string;
  readonly everyMs: number;
  /** `run`: run again after the last request. `finish`: wait for a run in progress. `abandon`: do not wait. */
  readonly atShutdown: 'run' | 'finish' | 'abandon';
  run(): Promise<void>;
}

interface JobDependencies {
  readonly authentication: Pick<Authentication, 'recordUse' | 'prepareTokens'>;
  readonly repository: Pick<CustomerRepository, 'deleteExpired' | 'recoverErasures'>;
  /** See `Storage.clearCache`. */
  readonly clearCache: () => void;
  readonly clock: Clock;
  /** Called with each message of a recovery. */
  readonly warn: (message: string) => void;
}

/** To add a job, add a line here. */
export const backgroundJobs = ({
  authentication,
  repository,
  clearCache,
  clock,
  warn,
}: JobDependencies): readonly Job[] => [
  { name: 'record_api_key_use', everyMs: 5_000, atShutdown: 'run', run: () => authentication.recordUse() },
  { name: 'recover_erasures', everyMs: 5_000, atShutdown: 'finish', run: () => recoverErasures(repository, warn) },
  { name: 'delete_expired', everyMs: 5_000, atShutdown: 'finish', run: () => repository.deleteExpired(clock()) },
  { name: 'clear_record_cache', everyMs: 10_000, atShutdown: 'finish', run: async () => clearCache() },
  { name: 'refresh_issuer_keys', everyMs: 5_000, atShutdown: 'abandon', run: () => authentication.prepareTokens() },
];

async function recoverErasures(
  repository: JobDependencies['repository'],
  warn: JobDependencies['warn'],
): Promise<void> {
  const { findings } = await repository.recoverErasures();
  // Finished erasures are not reported: another process may just have begun them, which is normal.
  for (const message of describeRecovery({ erasedAgain: 0, findings })) warn(message);
}

interface RunnerDependencies {
  readonly telemetry: Pick<Telemetry, 'job'>;
  readonly logger: { warn(context: object, message: string): void };
}

/**
 * Runs each job at its interval, one run at a time. Counts runs and failures, and logs failures.
 *
 * @returns a function that stops each job according to its `atShutdown`
 */
export function startJobs(jobs: readonly Job[], dependencies: RunnerDependencies): () => Promise<unknown> {
  const stops = jobs.map((job) => startJob(job, dependencies));
  return () => Promise.all(stops.map((stop) => stop()));
}

function startJob({ name, everyMs, atShutdown, run }: Job, { telemetry, logger }: RunnerDependencies) {
  let running: Promise<void> | undefined;
  const runOnce = async (): Promise<void> => {
    try {
      await run();
      telemetry.job(name, true);
    } catch (error) {
      telemetry.job(name, false);
      logger.warn({ job: name, err: error }, 'background job failed');
    }
  };
  const start = () => {
    running ??= runOnce().finally(() => {
      running = undefined;
    });
    return running;
  };
  const timer = setInterval(start, everyMs).unref();
  return async (): Promise<void> => {
    clearInterval(timer);
    if (atShutdown === 'abandon') return;
    await running;
    if (atShutdown === 'run') await start();
  };
}
