/** The only file that knows everybody: configuration → adapters → use cases → server. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { apiKeyFormat } from './adapters/crypto/api-key-format.ts';
import { isReadableByOthers } from './adapters/crypto/master-key.ts';
import { ephemeralVault, type Vault } from './adapters/crypto/vault.ts';
import { makeFolder, replaceCopy } from './adapters/files.ts';
import { createMemoryCustomers } from './adapters/memory/customers.ts';
import { createMemoryTenants } from './adapters/memory/tenants.ts';
import { createReferenceData } from './adapters/reference-data.ts';
import { createSqlCustomers } from './adapters/sql/customers/repository.ts';
import { type SqlDatabase, writeProbe } from './adapters/sql/driver/database.ts';
import { openSqlite, sqliteFiles } from './adapters/sql/driver/sqlite.ts';
import {
  carryTenants,
  discard,
  discardStaged,
  isCopyOfKeys,
  lockOut,
  putInPlace,
  stage,
} from './adapters/sql/maintenance/backup-restore.ts';
import { type Progress, transferTables } from './adapters/sql/maintenance/transfer.ts';
import { rotateMasterKey, unlockVault } from './adapters/sql/root-keys.ts';
import { migrate } from './adapters/sql/schema/migrations.ts';
import type { Part } from './adapters/sql/schema/tables.ts';
import { createSqlTenants } from './adapters/sql/tenants.ts';
import { createMetrics, type Metrics } from './adapters/telemetry/metrics.ts';
import { noTelemetry } from './adapters/telemetry/no-telemetry.ts';
import { createJwtVerifier } from './adapters/tokens/jwt.ts';
import { type Customers, createCustomers } from './application/customers.ts';
import type { Clock } from './application/ports/clock.ts';
import type { CustomerRepository } from './application/ports/customer-repository.ts';
import type { Maintenance, Restored } from './application/ports/maintenance.ts';
import type { Telemetry } from './application/ports/telemetry.ts';
import type { TenantDirectory } from './application/ports/tenant-directory.ts';
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

interface Storage {
  readonly repository: CustomerRepository;
  readonly directory: TenantDirectory;
  readonly canWrite: () => Promise<boolean>;
  readonly vault: Vault;
  readonly maintenance: Maintenance;
  readonly recovered: readonly string[];
  readonly warnings: readonly string[];
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
export async function openServices(
  config: Config,
  { mayCreate, clock = Date.now, repository: given, onTrouble = () => {} }: OpenOptions,
): Promise<Services> {
  const referenceData = createReferenceData();
  const metrics = createMetrics();
  const tokens = createJwtVerifier({
    clock,
    onTrouble: (uri, error) =>
      onTrouble(`the keys of ${uri} were not fetched: older ones count while there are any`, error),
  });
  const { environment } = config;
  const { repository, directory, vault, ...storage } = await openStorage(
    config,
    mayCreate,
    referenceData,
    metrics,
    given,
  );
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

async function openStorage(
  config: Config,
  mayCreate: boolean,
  referenceData: ReferenceData,
  telemetry: Telemetry,
  given?: CustomerRepository,
): Promise<Storage> {
  const { storage, dataDir, databaseUrl, partition } = config;
  if (storage === 'memory') {
    return {
      repository: given ?? createMemoryCustomers({ partition, referenceData }),
      directory: createMemoryTenants(),
      // Plain objects need no sealing; the vault signs and digests, with keys that end with the process.
      vault: ephemeralVault(),
      maintenance: noMaintenance,
      recovered: [],
      warnings: [],
      canWrite: async () => true,
      close: async () => {},
    };
  }
  if (mayCreate) makeFolder(dataDir);
  if (databaseUrl !== '') {
    // Loaded where it is needed alone.
    const { openPostgres } = await import('./adapters/sql/driver/postgres.ts');
    const { keysDatabaseUrl, databaseReplicaUrl, databasePoolSize: poolSize, databaseTimeoutMs: timeoutMs } = config;
    const others = {
      ...(keysDatabaseUrl !== '' && { keysUrl: keysDatabaseUrl }),
      ...(databaseReplicaUrl !== '' && { replicaUrl: databaseReplicaUrl }),
    };
    const database = openPostgres({ url: databaseUrl, ...others, poolSize, timeoutMs }, telemetry);
    return openSql(database, config, mayCreate, referenceData, copiesByServer);
  }
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate }, telemetry);
  // No server is started while a restore is under way.
  if (mayCreate) discardStaged(dataDir);
  return openSql(database, config, mayCreate, referenceData, {
    backup: (file) => database.copy('data', file),
    backupKeys: (file) =>
      replaceCopy(
        file,
        (path) => isCopyOfKeys(path, dataDir),
        (next) => database.copy('keys', next),
      ),
    compact: database.compact,
  });
}

type Copies = Pick<Maintenance, 'backup' | 'backupKeys' | 'compact'>;

/** Everything that is kept in SQL. The database is closed where it cannot be used. */
async function openSql(
  database: SqlDatabase,
  config: Config,
  mayCreate: boolean,
  referenceData: ReferenceData,
  copies: Copies,
): Promise<Storage> {
  try {
    const masterKeyFile = masterKeyFileOf(config);
    const vault = await unlockVault({ database, masterKeyFile, mayCreate });
    const repository = createSqlCustomers({ database, vault, referenceData, partition: config.partition });
    const isCopy = await repository.isCopy();
    const erasedAgain = await repository.reconcile(isCopy);
    // Not before: where this process ends meanwhile, the next one has to know as well.
    const passedOver = isCopy ? await repository.takeUpCopy(Date.now()) : 0;
    const unreadable = isCopy ? await repository.countUnreadable() : 0;
    return {
      repository,
      directory: createSqlTenants(database),
      vault,
      maintenance: {
        ...copies,
        rotateMasterKey: () => rotateMasterKey({ database, masterKeyFile }),
      },
      recovered: [
        ...(erasedAgain > 0 ? [`${erasedAgain} customers were erased again, whom a copy had brought back`] : []),
        ...(passedOver > 0
          ? [
              `the keys are a copy: ${passedOver} URNs are passed over, so that none is handed out twice`,
              'where the records are a copy too, API keys are those of then: revoke again what was revoked since',
            ]
          : []),
        ...(unreadable > 0
          ? [`${unreadable} records cannot be read with these keys: they are younger than the copy, or another's`]
          : []),
      ],
      warnings: [
        ...(vault.isLocked ? [] : ['key memory could not be kept from swap: raise RLIMIT_MEMLOCK (LimitMEMLOCK)']),
        ...(isReadableByOthers(masterKeyFile) ? [`${masterKeyFile} can be read by others than its owner`] : []),
      ],
      canWrite: writeProbe(database),
      close: database.close,
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

const byServer = async (): Promise<never> => {
  throw new Error(
    'PostgreSQL has tools of its own for that: pg_dump --schema=c2a for the records, --schema=c2a_keys for the keys; see README.md',
  );
};
const copiesByServer: Copies = { backup: byServer, backupKeys: byServer, compact: byServer };

const none = async (): Promise<never> => {
  throw new Error('memory storage has no files');
};
const noMaintenance: Maintenance = {
  backup: none,
  backupKeys: none,
  compact: none,
  rotateMasterKey: none,
};

const masterKeyFileOf = ({ masterKeyFile, dataDir }: Config): string => masterKeyFile || join(dataDir, 'master.key');

/**
 * Puts a backup in place of the records, or a copy of the keys in place of the keys, with all servers stopped. It is tried
 * first with what it is to work with: where the master key does not open it, it is none of this deployment, or records
 * could not be read (unless `evenUnreadable`), it throws, and nothing has been replaced.
 */
export async function restoreFile(
  config: Config,
  part: Part,
  file: string,
  evenUnreadable: boolean,
): Promise<Restored> {
  const { storage, databaseUrl, dataDir } = config;
  if (storage === 'memory') return none();
  if (databaseUrl !== '') return byServer();
  const files = sqliteFiles(dataDir);
  const counterpart = files[part === 'data' ? 'keys' : 'data'];
  if (!existsSync(counterpart)) {
    throw new Error(`${counterpart} is missing: on a new machine both copies are put in place by hand (README.md)`);
  }
  const staged = stage(part, dataDir, file);
  let release = () => {};
  try {
    // The keys keep everybody out, whichever part is replaced.
    if (part === 'keys') release = lockOut(files.keys);
    const tried = { ...files, [part]: staged };
    const database = await openSqlite({ files: tried, mayCreate: false, isExclusive: true }, noTelemetry);
    let restored: Restored;
    try {
      const keptKeys = part === 'keys' || carryTenants(dataDir, staged);
      const vault = await unlockVault({ database, masterKeyFile: masterKeyFileOf(config), mayCreate: false });
      const repository = createSqlCustomers({
        database,
        vault,
        referenceData: createReferenceData(),
        partition: config.partition,
      });
      // Before anything is erased again: one side is what is in use, and a copy that does not belong to it must not touch it.
      const unreadable = await repository.countUnreadable();
      if (unreadable > 0 && !evenUnreadable) {
        throw new Error(
          `${unreadable} records could not be read with these keys: nothing was replaced (--force replaces all the same)`,
        );
      }
      restored = { erasedAgain: await repository.reconcile(true), unreadable, keptKeys };
      if (part === 'data') {
        database.detachRecords();
        release = lockOut(files.data);
        restored = { ...restored, replaced: putInPlace(part, dataDir, staged) };
      }
    } finally {
      await database.close();
    }
    if (part === 'keys') restored = { ...restored, replaced: putInPlace(part, dataDir, staged) };
    return restored;
  } finally {
    release();
    discard(part, staged);
  }
}

/** One side of a move: `sqlite:<data folder>` or `postgres://…`, with the keys in a database of their own or not. */
export interface Place {
  readonly url: string;
  readonly keysUrl?: string | undefined;
}

/**
 * Copies a whole deployment from one place to another, with all servers stopped; see `moveTables`. The master key stays where
 * it is. @returns how many rows each table has, on both sides
 */
export async function moveDeployment(
  config: Config,
  from: Place,
  to: Place,
  onProgress: (progress: Progress) => void,
): Promise<Readonly<Record<string, number>>> {
  const masterKeyFile = masterKeyFileOf(config);
  const source = await openPlace(from, config, false);
  try {
    // Also tells, before anything is made, whether this is the right master key.
    await unlockVault({ database: source, masterKeyFile, mayCreate: false });
    const target = await openPlace(to, config, true);
    try {
      await migrate(target, { mayCreate: true, mayBeUnfinished: true });
      const counts = await transferTables(source, target, onProgress);
      await unlockVault({ database: target, masterKeyFile, mayCreate: false });
      return counts;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function openPlace({ url, keysUrl }: Place, config: Config, mayCreate: boolean): Promise<SqlDatabase> {
  const [, folder] = /^sqlite:(?:\/\/)?(.+)$/.exec(url) ?? [];
  if (folder !== undefined) {
    if (mayCreate) makeFolder(folder);
    return openSqlite({ files: sqliteFiles(folder), mayCreate, isExclusive: true }, noTelemetry);
  }
  const { openPostgres } = await import('./adapters/sql/driver/postgres.ts');
  const { databasePoolSize: poolSize, databaseTimeoutMs: timeoutMs } = config;
  return openPostgres({ url, ...(keysUrl !== undefined && { keysUrl }), poolSize, timeoutMs }, noTelemetry);
}

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
