/** The only file that knows everybody: configuration → adapters → use cases → server. */
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { apiKeyFormat } from './adapters/crypto/api-key-format.ts';
import { makeFolder } from './adapters/files.ts';
import { openMemoryStorage } from './adapters/memory/storage.ts';
import { createReferenceData } from './adapters/reference-data.ts';
import { restoreBackup } from './adapters/sql/maintenance/backup-restore.ts';
import { type Progress, type TransferSide, transferDeployment } from './adapters/sql/maintenance/transfer.ts';
import type { Part } from './adapters/sql/schema/tables.ts';
import { openPostgresStorage, openSqliteStorage, usePostgresTools } from './adapters/sql/storage.ts';
import type { Storage } from './adapters/storage.ts';
import { createMetrics, type Metrics } from './adapters/telemetry/metrics.ts';
import { createJwtVerifier } from './adapters/tokens/jwt.ts';
import { type Customers, createCustomers } from './application/customers.ts';
import type { Clock } from './application/ports/clock.ts';
import type { CustomerRepository } from './application/ports/customer-repository.ts';
import type { Maintenance, Restored } from './application/ports/maintenance.ts';
import type { Telemetry } from './application/ports/telemetry.ts';
import { createPrivacyReports, type PrivacyReports } from './application/privacy-reports.ts';
import { createTenants, type Tenants } from './application/tenants.ts';
import type { Config } from './config.ts';
import type { ReferenceData } from './domain/reference-data.ts';
import type { RequestLogger } from './http/access-log.ts';
import { version } from './process/version.ts';

export interface Services {
  readonly customers: Customers;
  readonly tenants: Tenants;
  readonly erasures: PrivacyReports;
  readonly maintenance: Maintenance;
  readonly telemetry: Telemetry;
  readonly metrics: Pick<Metrics, 'contentType' | 'render'>;
  /** Whether the storage takes writes right now. */
  readonly canWrite: () => Promise<boolean>;
  /** What was found and mended when the storage was opened; nobody who opens it later hears of it. */
  readonly recovered: readonly string[];
  /** What an operator should hear at every start. */
  readonly warnings: readonly string[];
  /** Writes down how often keys were used, and removes what has expired. To be called every few seconds, and at the end. */
  tidy(): Promise<void>;
  /** Finishes what was begun and closes the storage. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Whether a deployment is made where there is none; else that is an error. */
  readonly mayCreate: boolean;
  readonly clock?: Clock;
  /** Holds the customers in place of ours, where the storage is memory. */
  readonly repository?: CustomerRepository | undefined;
  /** Hears what an operator should know of. */
  readonly onTrouble?: (message: string, error: unknown) => void;
}

/** The use cases over the storage that is configured. */
export async function openServices(config: Config, options: OpenOptions): Promise<Services> {
  const { clock = Date.now, onTrouble = () => {} } = options;
  const referenceData = createReferenceData();
  const metrics = createMetrics();
  const tokens = createJwtVerifier({
    clock,
    onTrouble: (uri, error) =>
      onTrouble(`the keys of ${uri} were not fetched: older ones count while there are any`, error),
  });
  const { environment } = config;
  const { repository, directory, vault, ...storage } = await openStorage(config, options, referenceData, metrics);
  const tenants = createTenants({ directory, secrets: apiKeyFormat, tokens, telemetry: metrics, clock, environment });
  return {
    customers: createCustomers({ repository, referenceData, digest: vault.digest, clock }),
    tenants,
    erasures: createPrivacyReports({ repository, signer: vault, referenceData, clock }),
    maintenance: storage.maintenance,
    telemetry: metrics,
    metrics,
    recovered: storage.recovered,
    warnings: storage.warnings,
    canWrite: storage.canWrite,
    async tidy() {
      tenants.prepareTokens().catch((error) => onTrouble('tenants were not read', error));
      try {
        await tenants.recordUse();
      } finally {
        // What may not be kept any longer goes, whatever else cannot be done.
        await repository.deleteExpired(clock());
      }
    },
    close: storage.close,
  };
}

function openStorage(
  config: Config,
  { mayCreate, repository }: OpenOptions,
  referenceData: ReferenceData,
  telemetry: Telemetry,
): Storage | Promise<Storage> {
  const { storage, dataDir, partition, databaseUrl } = config;
  if (storage === 'memory') return openMemoryStorage({ partition, repository }, { referenceData });
  const options = { partition, masterKeyFile: masterKeyFileOf(config), mayCreate };
  if (databaseUrl === '') return openSqliteStorage({ ...options, dataDir }, { referenceData, telemetry });
  const { keysDatabaseUrl, databaseReplicaUrl } = config;
  // Also the folder of the master key, unless that is elsewhere.
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

/** Restores a backup of the configured deployment; see `restoreBackup`. */
export async function restorePart(config: Config, part: Part, file: string, force: boolean): Promise<Restored> {
  if (config.storage === 'memory') throw new Error('memory storage has no files');
  if (config.databaseUrl !== '') throw new Error(usePostgresTools);
  const { dataDir, partition } = config;
  return restoreBackup({ dataDir, partition, masterKeyFile: masterKeyFileOf(config) }, part, file, force);
}

/** Copies a deployment to another place; see `transferDeployment`. */
export const transfer = (
  config: Config,
  from: TransferSide,
  to: TransferSide,
  onProgress: (progress: Progress) => void,
): Promise<Readonly<Record<string, number>>> =>
  transferDeployment({ ...poolOf(config), masterKeyFile: masterKeyFileOf(config) }, from, to, onProgress);

/** How often the use of keys is written down, and what has expired is removed. */
const tidyMs = 5_000;

/**
 * The HTTP server over services, which it closes when it is closed itself. It does not listen.
 *
 * @param packed its documents as `packDocuments` has made them; else they are made of its routes
 */
export async function openServer(
  services: Services,
  config: Config,
  logger: RequestLogger,
  packed?: () => string,
): Promise<FastifyInstance> {
  // Commands that do not serve need not load it.
  const { createServer } = await import('./http/server.ts');
  const { packedDocuments } = await import('./http/routes/documentation.ts');
  const documents = packed && packedDocuments(packed);
  const app = await createServer(services, { ...config, logger, version, documents });
  for (const warning of [...services.recovered, ...services.warnings]) logger.warn(warning);
  let tidied: Promise<void> | undefined;
  // One at a time, however long it takes.
  const tidy = () => {
    tidied ??= services
      .tidy()
      .catch((error) =>
        logger.warn(
          { err: error },
          'the use of keys was not recorded, or not all was removed that has expired or was erased',
        ),
      )
      .finally(() => {
        tidied = undefined;
      });
    return tidied;
  };
  const tidying = setInterval(tidy, tidyMs).unref();
  // Runs when the last request has been answered.
  app.addHook('onClose', async () => {
    clearInterval(tidying);
    // What was used meanwhile is for another one.
    await tidied;
    await tidy();
    await services.close();
  });
  return app;
}
