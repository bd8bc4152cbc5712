/** Storage in a test: a tenant's view of a repository, records to store, and SQLite files that end with the test. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Test } from 'tap';
import type { Vault } from '../../src/adapters/crypto/vault.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { createSqlAccessRecords } from '../../src/adapters/sql/access-records.ts';
import { createSqlCheckpoints } from '../../src/adapters/sql/checkpoints.ts';
import { type CustomerStorage, createCustomerStorage } from '../../src/adapters/sql/customer-storage.ts';
import type { PostgresOptions } from '../../src/adapters/sql/driver/postgres.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { createSqlLeases } from '../../src/adapters/sql/leases.ts';
import { recoverAtStart } from '../../src/adapters/sql/recover-at-start.ts';
import { unlockVault } from '../../src/adapters/sql/root-keys.ts';
import { openPostgres, openSqlite, type SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import { readDeployment } from '../../src/adapters/sql/schema/migrate.ts';
import type { Migrations } from '../../src/adapters/sql/schema/migrations.ts';
import { createSqlTenants } from '../../src/adapters/sql/tenants.ts';
import { createSqlWebhooks } from '../../src/adapters/sql/webhooks.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';

/** Tests use the example customers and tenants of the contract suites. */
export * from '../contract/scenario.ts';

export const referenceData = createReferenceData();
/** The path of a data folder that does not exist yet. Its files are removed with the test. */
export const newFolder = (t: Test): string => join(t.testdir({}), 'data');

/** Opens a data folder as the program does. */
export async function openFolder(dataDir: string, all?: Migrations) {
  mkdirSync(dataDir, { recursive: true });
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate: true }, noTelemetry);
  try {
    const masterKeyFile = join(dataDir, 'master.key');
    const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
    return { database, vault, ...(await startCustomers(database, vault)) };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Opens a PostgreSQL database as the program does, with one master key per URL. It is closed when the test ends. */
export async function connectPostgres(
  t: Test,
  place: Pick<PostgresOptions, 'url' | 'keysUrl'> & Partial<PostgresOptions>,
  all?: Migrations,
) {
  const { url } = place;
  masterKeys.set(url, masterKeys.get(url) ?? join(t.testdir({}), 'master.key'));
  const database = await openPostgres({ poolSize: 10, timeoutMs: 5_000, ...place }, noTelemetry);
  const masterKeyFile = masterKeys.get(url) as string;
  const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
  return closing(t, { database, vault, ...(await startCustomers(database, vault)) });
}
/** The path of the master key file of each database, by its URL. */
const masterKeys = new Map<string, string>();

/** Opens a data folder. It is closed when the test ends, unless the test has closed it before. */
export async function connectSqlite(t: Test, dataDir: string, all?: Migrations) {
  return closing(t, await openFolder(dataDir, all));
}

/**
 * The customer storage of a database, after the recovery that runs at a start. `over` makes another customer storage
 * with the same keys, for example over a database with injected faults.
 */
async function startCustomers(database: SqlDatabase, vault: Vault) {
  const deployment = await readDeployment(database);
  const over = (database: SqlDatabase, partition = '00'): CustomerStorage =>
    createCustomerStorage({ database, vault, referenceData, partition, deployment });
  const customers = over(database);
  const recovered = await recoverAtStart(customers, database, Date.now());
  const { repository, references } = customers;
  return { customers, repository, references, recovered, over };
}

type Started = Awaited<ReturnType<typeof startCustomers>>;

function closing<Database extends SqlDatabase, Opened extends Started & { database: Database; vault: Vault }>(
  t: Test,
  opened: Opened,
) {
  const { database } = opened;
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= database.close();
    return closing;
  };
  t.teardown(close);
  return {
    ...opened,
    accessRecords: createSqlAccessRecords(database),
    directory: createSqlTenants(database),
    leases: createSqlLeases(database),
    checkpoints: createSqlCheckpoints(database),
    trail: opened.customers.trail,
    webhooks: createSqlWebhooks(database),
    close,
  };
}

/** Opens an SQLite file directly, without the driver, and closes it after `use`. */
export function withRawSqlite<Result>(path: string, use: (database: Database.Database) => Result): Result {
  const database = new Database(path);
  try {
    return use(database);
  } finally {
    database.close();
  }
}
