/** Background jobs of the server processes. Those that look at all tenants run in one process at a time. */
import { randomUUID } from 'node:crypto';
import type { AuditCheckpoints } from '../application/audit/checkpoints.ts';
import type { Authentication } from '../application/authentication.ts';
import { eachTenant } from '../application/each-tenant.ts';
import type { Clock } from '../application/ports/clock.ts';
import type { CustomerRepository } from '../application/ports/customer-repository.ts';
import { DatabaseFailure, unlessDatabaseFailure } from '../application/ports/database-failure.ts';
import type { Leases } from '../application/ports/leases.ts';
import type { Telemetry } from '../application/ports/telemetry.ts';
import type { TenantDirectory } from '../application/ports/tenant-directory.ts';
import { describeRecovery, nameTenants } from '../application/recovery-messages.ts';
import type { WebhookDelivery } from '../application/webhook-delivery.ts';
import type { Webhooks } from '../application/webhooks.ts';
import type { TenantId } from '../domain/identity.ts';

export interface Job {
  /** The name in the log and in `c2a_job_runs_total`. */
  readonly name: string;
  readonly everyMs: number;
  /** `run`: run again after the last request. `finish`: wait for a run in progress. `abandon`: do not wait. */
  readonly atShutdown: 'run' | 'finish' | 'abandon';
  /** Whether only the process with the lease of the jobs runs it. Absent: every process does. */
  readonly inOneProcess?: true;
  /** @param stopping aborted when the server stops: a run may then end early */
  run(stopping: AbortSignal): Promise<void>;
}

interface JobDependencies {
  readonly authentication: Pick<Authentication, 'recordUse' | 'prepareTokens'>;
  readonly directory: Pick<TenantDirectory, 'listTenants'>;
  readonly repository: Pick<CustomerRepository, 'deleteExpired' | 'lastChange' | 'recoverErasures'>;
  readonly audit: Pick<AuditCheckpoints, 'make'>;
  readonly webhooks: Pick<Webhooks, 'measure'>;
  readonly webhookDelivery: Pick<WebhookDelivery, 'run' | 'stop'>;
  /** See `Storage.clearCache`. */
  readonly clearCache: () => void;
  readonly clock: Clock;
  /** Called with each message of a recovery. */
  readonly warn: (message: string) => void;
}

/** To add a job, add an entry here. */
export function backgroundJobs(dependencies: JobDependencies): readonly Job[] {
  const { authentication, repository, audit, webhookDelivery, clearCache, clock, warn } = dependencies;
  const forEachTenant = async (stopping: AbortSignal, work: (tenant: TenantId) => Promise<void>) => {
    const tenants = await dependencies.directory.listTenants();
    const ids = tenants.map(({ id }) => id);
    const { unseen } = await eachTenant(ids, work, () => stopping.aborted);
    if (!stopping.aborted) reportUnseen(unseen);
  };
  async function recoverErasures(tenant: TenantId): Promise<void> {
    const { findings, isUnfinished } = await repository.recoverErasures(tenant);
    // Finished erasures are not reported: another process may just have begun them, which is normal.
    for (const message of describeRecovery({ erasedAgain: 0, findings })) warn(message);
    if (isUnfinished) throw new DatabaseFailure(new Error('the recovery was not finished'));
  }
  async function makeCheckpoints(tenant: TenantId, stopping: AbortSignal): Promise<void> {
    const made = await audit.make(tenant, () => stopping.aborted);
    if (made === 'gap') warn(`change events of ${tenant} are missing, and no checkpoint is made: run c2a audit verify`);
  }
  return [
    { name: 'record_api_key_use', everyMs: 5_000, atShutdown: 'run', run: () => authentication.recordUse() },
    {
      name: 'recover_erasures',
      everyMs: 5_000,
      atShutdown: 'finish',
      inOneProcess: true,
      run: (stopping) => forEachTenant(stopping, recoverErasures),
    },
    {
      name: 'assign_feed_positions',
      everyMs: 1_000,
      atShutdown: 'finish',
      inOneProcess: true,
      // As a reader does, so that none has to do it for a million events.
      run: (stopping) => forEachTenant(stopping, async (tenant) => void (await repository.lastChange(tenant))),
    },
    {
      name: 'delete_expired',
      everyMs: 60_000,
      atShutdown: 'finish',
      inOneProcess: true,
      run: (stopping) => forEachTenant(stopping, (tenant) => repository.deleteExpired(tenant, clock())),
    },
    {
      name: 'make_checkpoints',
      everyMs: 300_000,
      atShutdown: 'finish',
      inOneProcess: true,
      run: (stopping) => forEachTenant(stopping, (tenant) => makeCheckpoints(tenant, stopping)),
    },
    { name: 'clear_record_cache', everyMs: 10_000, atShutdown: 'finish', run: async () => clearCache() },
    {
      // A run only begins deliveries, so that it takes no longer than to look for them. The last one ends them.
      name: 'deliver_webhooks',
      everyMs: 1_000,
      atShutdown: 'run',
      run: (stopping) => (stopping.aborted ? webhookDelivery.stop() : webhookDelivery.run()),
    },
    {
      name: 'measure_webhooks',
      everyMs: 15_000,
      atShutdown: 'finish',
      inOneProcess: true,
      run: async () => reportUnseen(await dependencies.webhooks.measure()),
    },
    { name: 'refresh_issuer_keys', everyMs: 5_000, atShutdown: 'abandon', run: () => authentication.prepareTokens() },
  ];
}

/** Throws if the work of a run failed for some tenants. */
function reportUnseen(unseen: readonly TenantId[]): void {
  if (unseen.length === 0) return;
  throw new Error(`the database failed for these tenants; the next run retries them: ${nameTenants(unseen)}`);
}

/** A job rests at least this many times as long as its last run took: with many tenants, a run may take seconds. */
const leastRest = 19;
/** How long the jobs of a process that has died wait for another process. */
const leaseMs = 60_000;

/** The lease of the jobs that run in one process at a time, as one process asks for it. */
export interface JobLease {
  /** Whether this process has the lease now. Takes it if it is free, and renews it when half of its time is over. */
  acquire(): Promise<boolean>;
  release(): Promise<void>;
}

export function jobLease(leases: Leases, clock: Clock): JobLease {
  const holder = randomUUID();
  let isHeld = false;
  return {
    async acquire() {
      isHeld = await leases.acquire('jobs', holder, leaseMs, clock());
      return isHeld;
    },
    async release() {
      if (isHeld) await leases.release('jobs', holder);
      isHeld = false;
    },
  };
}

interface RunnerDependencies {
  readonly telemetry: Pick<Telemetry, 'job'>;
  readonly logger: { warn(context: object, message: string): void };
  readonly lease: JobLease;
}

/**
 * Runs each job at its interval, one run at a time, for at most a twentieth of the time. Counts runs and failures. Logs
 * a failure, but not its repetitions, and the first success after it. A process whose run failed gives up the lease:
 * another one may be able to do the work.
 *
 * @returns a function that stops each job according to its `atShutdown`, then releases the lease
 */
export function startJobs(jobs: readonly Job[], dependencies: RunnerDependencies): () => Promise<void> {
  const { logger, lease } = dependencies;
  const stops = jobs.map((job) => startJob(job, dependencies));
  return async () => {
    await Promise.all(stops.map((stop) => stop()));
    await lease.release().catch((error) => {
      unlessDatabaseFailure(error);
      logger.warn({ err: error }, 'the lease of the background jobs was not released; it ends within a minute');
    });
  };
}

function startJob(job: Job, { telemetry, logger, lease }: RunnerDependencies) {
  const { name, everyMs, atShutdown, inOneProcess = false } = job;
  let running: Promise<void> | undefined;
  let lastFailure: string | undefined;
  let restsUntil = 0;
  const stopping = new AbortController();
  const runOnce = async (): Promise<void> => {
    const began = performance.now();
    try {
      if (inOneProcess && !(await lease.acquire())) return;
      await job.run(stopping.signal);
      telemetry.job(name, true);
      if (lastFailure !== undefined) logger.warn({ job: name }, 'background job succeeded again');
      lastFailure = undefined;
    } catch (error) {
      telemetry.job(name, false);
      if (lastFailure !== String(error)) logger.warn({ job: name, err: error }, 'background job failed');
      lastFailure = String(error);
      // If the database fails here too, the lease ends by itself.
      if (inOneProcess) await lease.release().catch(unlessDatabaseFailure);
    }
    const ended = performance.now();
    restsUntil = ended + leastRest * (ended - began);
  };
  const start = () => {
    running ??= runOnce().finally(() => {
      running = undefined;
    });
    return running;
  };
  const startUnlessResting = () => performance.now() >= restsUntil && start();
  const timer = setInterval(startUnlessResting, everyMs).unref();
  return async (): Promise<void> => {
    clearInterval(timer);
    stopping.abort();
    if (atShutdown === 'abandon') return;
    await running;
    if (atShutdown === 'run') await start();
  };
}
