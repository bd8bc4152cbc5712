/** Storage in a test: a tenant's view of a repository, records to store, and SQLite files that end with the test. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Test } from 'tap';
import type { Vault } from '../../src/adapters/crypto/vault.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { createSqlCustomers, type SqlCustomers } from '../../src/adapters/sql/customers/repository.ts';
import type { SqlDatabase } from '../../src/adapters/sql/driver/database.ts';
import { openPostgres, type PostgresOptions } from '../../src/adapters/sql/driver/postgres.ts';
import { openSqlite, sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { unlockVault } from '../../src/adapters/sql/root-keys.ts';
import type { Migrations } from '../../src/adapters/sql/schema/migrations.ts';
import { createSqlTenants } from '../../src/adapters/sql/tenants.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';

/** The tests' words for customers and tenants are those of the contracts. */
export * from '../contract/scenario.ts';

export const referenceData = createReferenceData();
/** A data folder that is not there yet; it ends with the test. */
export const newFolder = (t: Test): string => join(t.testdir({}), 'data');

/** Opens a data folder as the program does. */
export async function openFolder(dataDir: string, all?: Migrations) {
  mkdirSync(dataDir, { recursive: true });
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate: true }, noTelemetry);
  try {
    const masterKeyFile = join(dataDir, 'master.key');
    const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
    const repository = createSqlCustomers({ database, vault, referenceData, partition: '00' });
    await repository.reconcile();
    return { database, vault, repository };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Opens a PostgreSQL database as the program does, with a master key of the test's own; it is closed with the test. */
export async function connectPostgres(
  t: Test,
  place: Pick<PostgresOptions, 'url' | 'keysUrl'> & Partial<PostgresOptions>,
  all?: Migrations,
) {
  const { url } = place;
  masterKeys.set(url, masterKeys.get(url) ?? join(t.testdir({}), 'master.key'));
  const database = openPostgres({ poolSize: 10, timeoutMs: 5_000, ...place }, noTelemetry);
  const masterKeyFile = masterKeys.get(url) as string;
  const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
  const repository = createSqlCustomers({ database, vault, referenceData, partition: '00' });
  await repository.reconcile();
  return closing(t, { database, vault, repository });
}
/** By the URL of the database. */
const masterKeys = new Map<string, string>();

/** Opens a data folder; it is closed with the test if not before. */
export async function connectSqlite(t: Test, dataDir: string, all?: Migrations) {
  return closing(t, await openFolder(dataDir, all));
}

function closing<Database extends SqlDatabase>(
  t: Test,
  { database, vault, repository }: { database: Database; vault: Vault; repository: SqlCustomers },
) {
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= database.close();
    return closing;
  };
  t.teardown(close);
  return { database, vault, repository, directory: createSqlTenants(database), close };
}

/** Uses an SQLite file with nothing of ours in between. */
export function withRawSqlite<Result>(path: string, use: (database: Database.Database) => Result): Result {
  const database = new Database(path);
  try {
    return use(database);
  } finally {
    database.close();
  }
}
