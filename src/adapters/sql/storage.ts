import type { Telemetry } from '../../application/ports/telemetry.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { isAccessibleByOthers } from '../crypto/master-key.ts';
import { makeFolder } from '../files.ts';
import type { Storage } from '../storage.ts';
import { createSqlAccessRecords } from './access-records.ts';
import { discardStaged, type FileMaintenance, sqliteMaintenance } from './backup.ts';
import { createSqlCheckpoints } from './checkpoints.ts';
import { createCustomerStorage } from './customer-storage.ts';
import type { PostgresOptions } from './driver/postgres.ts';
import { sqliteFiles } from './driver/sqlite.ts';
import { createSqlLeases } from './leases.ts';
import { recoverAtStart } from './recover-at-start.ts';
import { rotateMasterKey, unlockVault } from './root-keys.ts';
import { openPostgres, openSqlite, type SqlDatabase } from './schema/database.ts';
import { readDeployment } from './schema/migrate.ts';
import { createSqlTenants } from './tenants.ts';
import { createSqlWebhooks } from './webhooks.ts';
import { writeProbe } from './write-probe.ts';

interface SqlStorageOptions {
  /** Path of the master key's file. */
  readonly masterKeyFile: string;
  /** Two digits, the second part of every CustomerUrn. */
  readonly partition: string;
  /** Whether to create a deployment if none exists. If false, a missing deployment is an error. */
  readonly mayCreate: boolean;
}

interface Dependencies {
  readonly referenceData: ReferenceData;
  readonly telemetry: Telemetry;
}

/** Opens the SQLite files of a data folder, migrates their schemas and recovers. Throws if the files cannot be used. */
export async function openSqliteStorage(
  options: SqlStorageOptions & { readonly dataDir: string },
  dependencies: Dependencies,
): Promise<Storage> {
  const { dataDir, mayCreate } = options;
  if (mayCreate) makeFolder(dataDir);
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate }, dependencies.telemetry);
  // Commands without `mayCreate` may run beside a restore, so they must not remove its staged files.
  if (mayCreate) discardStaged(dataDir);
  return openSql(database, options, dependencies, sqliteMaintenance(database, dataDir));
}

/** Connects to PostgreSQL, migrates its schemas and recovers. Throws if the database cannot be used. */
export async function openPostgresStorage(
  options: SqlStorageOptions & PostgresOptions,
  dependencies: Dependencies,
): Promise<Storage> {
  const database = await openPostgres(options, dependencies.telemetry);
  return openSql(database, options, dependencies, postgresMaintenance);
}

/** The commands that work on SQLite files only, each with the command of PostgreSQL that has its effect. */
const postgresTools = {
  backup: 'pg_dump --format=custom --schema=c2a',
  'backup-keys': 'pg_dump --format=custom --schema=c2a_keys',
  restore: 'pg_restore --clean --if-exists, with the dump of the schema c2a',
  'restore-keys': 'pg_restore --clean --if-exists, with the dump of the schema c2a_keys',
  compact: 'vacuumdb --full',
} as const;

/** The error of a command that works on SQLite files only. */
export const usePostgresTool = (command: keyof typeof postgresTools): Error =>
  new Error(`${command} is for SQLite; on PostgreSQL use ${postgresTools[command]}; see docs/operations.md`);

const postgresMaintenance: FileMaintenance = {
  backup: () => Promise.reject(usePostgresTool('backup')),
  backupKeys: () => Promise.reject(usePostgresTool('backup-keys')),
  compact: () => Promise.reject(usePostgresTool('compact')),
};

async function openSql(
  database: SqlDatabase,
  { masterKeyFile, partition, mayCreate }: SqlStorageOptions,
  { referenceData }: Dependencies,
  fileMaintenance: FileMaintenance,
): Promise<Storage> {
  try {
    const vault = await unlockVault({ database, masterKeyFile, mayCreate });
    const deployment = await readDeployment(database);
    const customers = createCustomerStorage({ database, vault, referenceData, partition, deployment });
    const recovered = await recoverAtStart(customers, database, Date.now());
    return {
      repository: customers.repository,
      accessRecords: createSqlAccessRecords(database),
      references: customers.references,
      directory: createSqlTenants(database),
      leases: createSqlLeases(database),
      checkpoints: createSqlCheckpoints(database),
      trail: customers.trail,
      webhooks: createSqlWebhooks(database),
      vault,
      maintenance: {
        ...fileMaintenance,
        rotateMasterKey: () => rotateMasterKey({ database, masterKeyFile }),
        verifyErasureLog: (tenant, witnesses) => customers.audit.verify(tenant, witnesses),
      },
      recovered,
      clearCache: () => customers.cache.clear(),
      warnings: [
        ...(vault.isLocked ? [] : ['keys in memory may be swapped to disk: raise RLIMIT_MEMLOCK (LimitMEMLOCK)']),
        ...(isAccessibleByOthers(masterKeyFile) ? [`${masterKeyFile} must be accessible only to its owner`] : []),
      ],
      canWrite: writeProbe(database),
      close: database.close,
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}
