/** Wires the program: configuration → adapters → use cases → server. The only file that imports all of them. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { apiKeyFormat } from './adapters/crypto/api-key-format.ts';
import { makeFolder } from './adapters/files.ts';
import { MemoryCustomers } from './adapters/memory/customers.ts';
import { openLargeScratch, openScratch } from './adapters/memory/scratch.ts';
import { openMemoryStorage } from './adapters/memory/storage.ts';
import { createReferenceData } from './adapters/reference-data.ts';
import { restoreBackup } from './adapters/sql/maintenance/backup-restore.ts';
import { transferDeployment } from './adapters/sql/maintenance/transfer.ts';
import { distributionStatements } from './adapters/sql/schema/citus.ts';
import type { Part } from './adapters/sql/schema/tables.ts';
import { openPostgresStorage, openSqliteStorage, usePostgresTool } from './adapters/sql/storage.ts';
import type { Storage } from './adapters/storage.ts';
import { createMetrics, type Metrics } from './adapters/telemetry/metrics.ts';
import { createJwtVerifier } from './adapters/tokens/jwt.ts';
import { createWebhookSecrets } from './adapters/webhooks/secrets.ts';
import { createWebhookSender } from './adapters/webhooks/sender.ts';
import { ApiKeys } from './application/api-keys.ts';
import { AuditCheckpoints } from './application/audit/checkpoints.ts';
import { EventAudit } from './application/audit/event-audit.ts';
import { Authentication } from './application/authentication.ts';
import { Changes } from './application/changes.ts';
import { Customers } from './application/customers.ts';
import { CustomerExport } from './application/export.ts';
import { createRunOnce } from './application/idempotency.ts';
import { Imports } from './application/import/imports.ts';
import { LookUp } from './application/look-up.ts';
import { Merges } from './application/merges.ts';
import type { Clock } from './application/ports/clock.ts';
import type { CustomerRepository } from './application/ports/customer-repository.ts';
import type { Restored, TransferProgress, TransferSide } from './application/ports/maintenance.ts';
import type { Telemetry } from './application/ports/telemetry.ts';
import { PrivacyReports } from './application/privacy-reports.ts';
import { References } from './application/references.ts';
import { Synchronization } from './application/synchronization.ts';
import { Tenants } from './application/tenants.ts';
import { WebhookDelivery } from './application/webhook-delivery.ts';
import { Webhooks } from './application/webhooks.ts';
import type { Config } from './config.ts';
import type { ReferenceData } from './domain/reference-data.ts';
import type { RequestLogger } from './http/access-log.ts';
import type { ServerOptions } from './http/server.ts';
import { backgroundJobs, type Job, type JobLease, jobLease, startJobs } from './process/jobs.ts';

/** The ports that only use cases and jobs use. */
type Wired =
  | 'repository'
  | 'accessRecords'
  | 'references'
  | 'directory'
  | 'leases'
  | 'checkpoints'
  | 'trail'
  | 'vault'
  | 'webhooks';

/** The use cases and the server's other dependencies. `close` finishes operations in flight and closes the storage. */
export interface Services extends Omit<Storage, Wired> {
  readonly customers: Customers;
  readonly synchronization: Synchronization;
  readonly customerExport: CustomerExport;
  readonly changes: Changes;
  readonly lookUp: LookUp;
  readonly merges: Merges;
  readonly references: References;
  readonly imports: Imports;
  readonly authentication: Authentication;
  readonly tenants: Tenants;
  readonly apiKeys: ApiKeys;
  readonly webhooks: Webhooks;
  readonly erasures: PrivacyReports;
  readonly eventAudit: EventAudit;
  readonly telemetry: Telemetry;
  readonly metrics: Pick<Metrics, 'contentType' | 'render'>;
  readonly jobs: readonly Job[];
  readonly lease: JobLease;
}

export interface OpenOptions {
  /** Whether to create a deployment if none exists. If false, a missing deployment is an error. */
  readonly mayCreate: boolean;
  readonly clock?: Clock;
  /** Replaces the memory repository. Ignored with other storages. */
  readonly repository?: CustomerRepository | undefined;
  /** Called for a problem that makes no request fail but that an operator should know about. */
  readonly onTrouble?: (message: string, error?: unknown) => void;
}

/** Opens the configured storage and creates the use cases. */
export async function openServices(config: Config, options: OpenOptions): Promise<Services> {
  const { clock = Date.now, onTrouble = () => {} } = options;
  const referenceData = createReferenceData();
  const metrics = createMetrics();
  const tokens = createJwtVerifier({
    clock,
    onTrouble: (uri, error) => onTrouble(`could not fetch the keys of ${uri}; keys fetched before stay valid`, error),
  });
  const opened = await openStorage(config, options, referenceData, metrics);
  const {
    repository,
    accessRecords,
    references,
    directory,
    leases,
    checkpoints,
    trail,
    vault,
    webhooks: _,
    ...storage
  } = opened;
  const { environment, tombstoneDays } = config;
  const runOnce = createRunOnce(vault.digest, clock);
  const writing = { repository, referenceData, clock, tombstoneDays, runOnce };
  const shared = { directory, apiKeyFormat, clock, environment };
  const delivering = webhooksOf(opened, config, metrics, clock);
  const webhooks = new Webhooks(delivering);
  const authentication = new Authentication({ ...shared, tokens, telemetry: metrics });
  return {
    ...storage,
    customerExport: new CustomerExport({ repository, referenceData }),
    changes: new Changes({ repository, referenceData }),
    lookUp: new LookUp({ repository, accessRecords, references, referenceData, clock }),
    customers: new Customers({ ...writing, references }),
    merges: new Merges(writing),
    references: new References({ repository, references, referenceData, clock }),
    synchronization: new Synchronization({
      ...writing,
      openScratch: () => openScratch(referenceData),
    }),
    imports: new Imports({
      ...writing,
      openScratch: () => openLargeScratch(referenceData),
      maxImports: config.imports,
    }),
    authentication,
    tenants: new Tenants({ directory, repository, clock }),
    apiKeys: new ApiKeys({ ...shared, authentication }),
    webhooks,
    erasures: new PrivacyReports({ repository, accessRecords, references, signer: vault, referenceData, clock }),
    eventAudit: new EventAudit({ repository, trail, checkpoints, signer: vault }),
    telemetry: metrics,
    metrics,
    jobs: backgroundJobs({
      authentication,
      directory,
      repository,
      audit: new AuditCheckpoints({ repository, trail, checkpoints, signer: vault, clock }),
      webhooks,
      webhookDelivery: new WebhookDelivery({ ...delivering, warn: onTrouble }),
      clearCache: storage.clearCache,
      clock,
      warn: onTrouble,
    }),
    lease: jobLease(leases, clock),
  };
}

/** The dependencies of webhooks and of their delivery. */
function webhooksOf(storage: Storage, config: Config, telemetry: Telemetry, clock: Clock) {
  const { webhooks, directory, repository, leases, vault } = storage;
  return {
    ...{ webhooks, directory, repository, leases, telemetry, clock },
    secrets: createWebhookSecrets(vault),
    sender: createWebhookSender({ networks: config.webhookNetworks, environment: config.environment }),
    random: Math.random,
    holder: randomUUID(),
  };
}

function openStorage(
  config: Config,
  { mayCreate, repository }: OpenOptions,
  referenceData: ReferenceData,
  telemetry: Telemetry,
): Storage | Promise<Storage> {
  const { storage, dataDir, partition, databaseUrl, keysDatabaseUrl, databaseReplicaUrl } = config;
  if (storage === 'memory') return openMemoryStorage(repository ?? new MemoryCustomers(referenceData, partition));
  const options = { partition, masterKeyFile: masterKeyFileOf(config), mayCreate };
  if (databaseUrl === '') return openSqliteStorage({ ...options, dataDir }, { referenceData, telemetry });
  // Even with PostgreSQL, the data folder is the default place of the master key.
  if (mayCreate) makeFolder(dataDir);
  return openPostgresStorage(
    {
      ...options,
      ...poolOf(config),
      url: databaseUrl,
      ...(keysDatabaseUrl !== '' && { keysUrl: keysDatabaseUrl }),
      ...(databaseReplicaUrl !== '' && { replicaUrl: databaseReplicaUrl }),
    },
    { referenceData, telemetry },
  );
}

const masterKeyFileOf = ({ masterKeyFile, dataDir }: Config): string => masterKeyFile || join(dataDir, 'master.key');

const poolOf = ({ databasePoolSize: poolSize, databaseTimeoutMs: timeoutMs }: Config) => ({ poolSize, timeoutMs });

/** Restores a backup into the data folder of the configured deployment; see `restoreBackup`. */
export async function restorePart(config: Config, part: Part, file: string, force: boolean): Promise<Restored> {
  if (config.storage === 'memory') throw new Error('memory storage has no files');
  if (config.databaseUrl !== '') throw usePostgresTool(part === 'data' ? 'restore' : 'restore-keys');
  const { dataDir, partition } = config;
  return restoreBackup({ dataDir, partition, masterKeyFile: masterKeyFileOf(config) }, part, file, force);
}

/** Copies a deployment to another database; see `transferDeployment`. */
export const transfer = (
  config: Config,
  from: TransferSide,
  to: TransferSide,
  onProgress: (progress: TransferProgress) => void,
): Promise<Readonly<Record<string, number>>> =>
  transferDeployment({ ...poolOf(config), masterKeyFile: masterKeyFileOf(config) }, from, to, onProgress);

/** The SQL that distributes the tables of the records' database, or of the keys' database, over a Citus cluster. */
export function citusStatements({ keysDatabaseUrl }: Config, isForKeys: boolean): readonly string[] {
  if (keysDatabaseUrl !== '') return distributionStatements(isForKeys ? 'keys' : 'data');
  if (isForKeys) throw new Error('the keys are in the database of the records: C2A_KEYS_DATABASE_URL is not set');
  return distributionStatements();
}

/**
 * Creates the HTTP server, which does not listen yet, and starts the jobs. Closing it closes everything.
 *
 * @param options see `ServerOptions`
 */
export async function openServer(
  services: Services,
  config: Config,
  logger: RequestLogger,
  options: Pick<ServerOptions, 'loadDocuments' | 'faults'> = {},
): Promise<FastifyInstance> {
  // Imported on demand, because most commands do not serve.
  const { createServer } = await import('./http/server.ts');
  const app = await createServer(services, { ...config, ...options, logger });
  for (const line of [...services.recovered, ...services.warnings]) logger.warn(line);
  const stopJobs = startJobs(services.jobs, { telemetry: services.telemetry, lease: services.lease, logger });
  // Runs after the last request.
  app.addHook('onClose', async () => {
    await stopJobs();
    await services.close();
  });
  return app;
}
