import type { Telemetry } from '../../application/ports/telemetry.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { isReadableByOthers } from '../crypto/master-key.ts';
import { makeFolder } from '../files.ts';
import type { Storage } from '../storage.ts';
import { discardStaged, type FileMaintenance, sqliteMaintenance } from './backup.ts';
import { createSqlCustomers } from './customers/repository.ts';
import { type SqlDatabase, writeProbe } from './driver/database.ts';
import type { PostgresOptions } from './driver/postgres.ts';
import { openSqlite, sqliteFiles } from './driver/sqlite.ts';
import { rotateMasterKey, unlockVault } from './root-keys.ts';
import { createSqlTenants } from './tenants.ts';

interface SqlStorageOptions {
  /** Path of the master key's file. */
  readonly masterKeyFile: string;
  /** Two digits, the second part of every CustomerUrn. */
  readonly partition: string;
  /** Whether to create a deployment where there is none; else that is an error. */
  readonly mayCreate: boolean;
}

export interface SqliteStorageOptions extends SqlStorageOptions {
  /** Folder of the SQLite files. */
  readonly dataDir: string;
}

export interface PostgresStorageOptions extends SqlStorageOptions, PostgresOptions {}

interface Dependencies {
  readonly referenceData: ReferenceData;
  readonly telemetry: Telemetry;
}

/** Opens the SQLite files of a data folder, migrates them and recovers. Throws where they cannot be used. */
export async function openSqliteStorage(options: SqliteStorageOptions, dependencies: Dependencies): Promise<Storage> {
  const { dataDir, mayCreate } = options;
  if (mayCreate) makeFolder(dataDir);
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate }, dependencies.telemetry);
  // A command may run beside a restore; a server may not.
  if (mayCreate) discardStaged(dataDir);
  return openSql(database, options, dependencies, sqliteMaintenance(database, dataDir));
}

/** Connects to PostgreSQL, migrates its schemas and recovers. Throws where the database cannot be used. */
export async function openPostgresStorage(
  options: PostgresStorageOptions,
  dependencies: Dependencies,
): Promise<Storage> {
  // Loaded on demand: SQLite deployments start without it.
  const { openPostgres } = await import('./driver/postgres.ts');
  return openSql(openPostgres(options, dependencies.telemetry), options, dependencies, postgresMaintenance);
}

const byServer = async (): Promise<never> => {
  throw new Error(usePostgresTools);
};
const postgresMaintenance: FileMaintenance = { backup: byServer, backupKeys: byServer, compact: byServer };

/** The error for file operations on PostgreSQL. */
export const usePostgresTools =
  'PostgreSQL has tools of its own for that: pg_dump --schema=c2a for the records, --schema=c2a_keys for the keys; see README.md';

async function openSql(
  database: SqlDatabase,
  { masterKeyFile, partition, mayCreate }: SqlStorageOptions,
  { referenceData }: Dependencies,
  fileMaintenance: FileMaintenance,
): Promise<Storage> {
  try {
    const vault = await unlockVault({ database, masterKeyFile, mayCreate });
    const repository = createSqlCustomers({ database, vault, referenceData, partition });
    const isCopy = await repository.isCopy();
    const erasedAgain = await repository.reconcile(isCopy);
    // Last: until this commits, the next start must recover as well.
    const passedOver = isCopy ? await repository.takeUpCopy(Date.now()) : 0;
    const unreadable = isCopy ? await repository.countUnreadable() : 0;
    return {
      repository,
      directory: createSqlTenants(database),
      vault,
      maintenance: { ...fileMaintenance, rotateMasterKey: () => rotateMasterKey({ database, masterKeyFile }) },
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
