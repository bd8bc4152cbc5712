/** Restores a backup of one part into a data folder. */
import { chmodSync, copyFileSync, existsSync, linkSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import type { Restored } from '../../../application/ports/maintenance.ts';
import { sync } from '../../files.ts';
import { createReferenceData } from '../../reference-data.ts';
import { noTelemetry } from '../../telemetry/no-telemetry.ts';
import { discard, stagedName } from '../backup.ts';
import { createCustomerStorage } from '../customer-storage.ts';
import { inUse, sqliteFiles, tryFile } from '../driver/sqlite.ts';
import { recoverTenants } from '../recover-at-start.ts';
import { unlockVault } from '../root-keys.ts';
import { openSqlite, type SqlDatabase } from '../schema/database.ts';
import { checkVersion, readDeployment } from '../schema/migrate.ts';
import { migrations } from '../schema/migrations.ts';
import type { Part, SchemaVersion } from '../schema/tables.ts';

const backupOf: Record<Part, string> = { data: 'backup', keys: 'backup of the keys' };

export interface RestoreOptions {
  /** Folder of the SQLite files. */
  readonly dataDir: string;
  readonly masterKeyFile: string;
  readonly partition: string;
}

/**
 * Replaces the records, or the keys, with a backup, while all servers are stopped. Before that, opens the backup with
 * the master key, together with the part that is not replaced. Throws, and replaces nothing, if the backup belongs to
 * another deployment, does not open with the master key, or leaves records unreadable (unless `force`).
 */
export async function restoreBackup(
  options: RestoreOptions,
  part: Part,
  file: string,
  force: boolean,
): Promise<Restored> {
  const files = sqliteFiles(options.dataDir);
  const staged = stage(part, files, file);
  let release = () => {};
  try {
    // Every process opens the keys first, so a lock on the keys keeps all other processes out of both parts.
    if (part === 'keys') release = lock(files.keys);
    const opened = { files: { ...files, [part]: staged }, mayCreate: false, isExclusive: true };
    const database = await openSqlite(opened, noTelemetry);
    let restored: Restored;
    try {
      const keptKeys = part === 'keys' || carryTenants(files.data, staged) === true;
      restored = { keptKeys, ...(await recover(database, options, force)) };
      if (part === 'data') {
        database.detachRecords();
        release = lock(files.data);
        restored = { ...restored, replaced: replace(files.data, staged) };
      }
    } finally {
      await database.close();
    }
    return part === 'data' ? restored : { ...restored, replaced: replace(files.keys, staged) };
  } finally {
    release();
    discard(part, staged);
  }
}

/** Erases again the customers in the erasure log. Throws before that if keys and records do not belong together. */
async function recover(database: SqlDatabase, { masterKeyFile, partition }: RestoreOptions, force: boolean) {
  const vault = await unlockVault({ database, masterKeyFile, mayCreate: false });
  const deployment = await readDeployment(database);
  const referenceData = createReferenceData();
  const customers = createCustomerStorage({ database, vault, referenceData, partition, deployment });
  const tenants = await customers.listTenants();
  let unreadable = 0;
  for (const tenant of tenants) unreadable += await customers.audit.countUnreadable(tenant);
  if (unreadable > 0 && !force) {
    throw new Error(
      `${unreadable} records could not be read with these keys: nothing was replaced (--force restores anyway)`,
    );
  }
  const { erasedAgain, messages } = await recoverTenants(customers, tenants);
  return { erasedAgain, findings: messages, unreadable };
}

/**
 * Copies a backup beside the file that it will replace, and returns the path of the copy. Throws if the backup is
 * damaged, or is not of this part and deployment. No process may have the files open.
 */
function stage(part: Part, files: Readonly<Record<Part, string>>, file: string): string {
  const other = part === 'data' ? 'keys' : 'data';
  if (!existsSync(files[other])) {
    throw new Error(
      `${files[other]} is missing: on a new machine, put both backups in place by hand (docs/operations.md)`,
    );
  }
  const staged = stagedName(files[part]);
  discard(part, staged);
  if (existsSync(`${file}-wal`) && statSync(`${file}-wal`).size > 0) {
    throw new Error(`${file} is not a ${backupOf[part]} made by this program: it has a write-ahead log beside it`);
  }
  copyFileSync(file, staged);
  try {
    chmodSync(staged, 0o600);
    sync(staged);
    const version = soundVersion(part, staged);
    if (version === undefined) throw new Error(`${file} is not a ${backupOf[part]} made by this program`);
    checkVersion(part, version, migrations[part].length);
    const present = soundVersion(other, files[other]);
    if (present !== undefined && present.deployment !== version.deployment) {
      throw new Error(`${file} belongs to another deployment`);
    }
    return staged;
  } catch (error) {
    discard(part, staged);
    throw error;
  }
}

/** The schema version of a file; undefined if it is damaged, or not a file of that part. */
const soundVersion = (part: Part, file: string): SchemaVersion | undefined =>
  tryFile(file, {}, (database) => {
    const isSound = database.pragma('integrity_check', { simple: true }) === 'ok';
    return isSound ? database.prepare<[], SchemaVersion>(`SELECT * FROM ${part}_version`).get() : undefined;
  });

/**
 * Copies the present tenants, API keys and webhooks into a staged backup, so that revoked API keys and rotated secrets stay
 * so. A backup of an older schema may have no webhooks: then there are none. Removes the leases, whose holders are gone.
 *
 * @returns true if they were copied. Undefined or false if the present ones cannot be read, or have other columns, in
 *   another schema version: the backup then keeps its own tenants and API keys.
 */
const carryTenants = (data: string, staged: string): boolean | undefined =>
  tryFile(staged, {}, (database) => {
    if (!existsSync(data)) return false;
    database.prepare('ATTACH ? AS present').run(data);
    const definition = database.prepare('SELECT sql FROM sqlite_schema WHERE name = ?').pluck();
    const present = database.prepare('SELECT sql FROM present.sqlite_schema WHERE name = ?').pluck();
    const isSame = (table: string) =>
      definition.get(table) !== undefined && definition.get(table) === present.get(table);
    const canCarry = isSame('tenants') && isSame('api_keys');
    const carried = ['tenants', 'api_keys', 'webhooks'].filter((table) => canCarry && isSame(table));
    const statements = [
      ...carried.map((table) => `DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM present.${table};`),
      ...(definition.get('leases') === undefined ? [] : ['DELETE FROM leases;']),
    ];
    // After an error, closing the file rolls back.
    database.exec(`BEGIN; ${statements.join(' ')} COMMIT`);
    return canCarry;
  });

/**
 * Renames a staged backup, which no process has open, to the name of the file that it replaces.
 *
 * @returns the new name of the replaced file; undefined if there was none
 */
function replace(target: string, staged: string): string | undefined {
  const time = new Date().toISOString().replaceAll(/[^\dT]/g, '');
  const replaced = existsSync(target) ? `${target}.replaced-${time}` : undefined;
  // Linked, not renamed, so that the target exists at every moment.
  if (replaced !== undefined) linkSync(target, replaced);
  // SQLite would apply a leftover log of the replaced file to the backup.
  for (const suffix of ['-wal', '-shm']) rmSync(target + suffix, { force: true });
  renameSync(staged, target);
  sync(dirname(target));
  return replaced;
}

/**
 * Moves the log of a file into the file and locks out other processes. Throws if another process has the file open.
 * Does not lock a missing or damaged file, as no process can start with it. @returns a function that releases the lock
 */
function lock(file: string): () => void {
  if (!existsSync(file)) return () => {};
  const database = new Database(file, { timeout: 0 });
  try {
    database.pragma('locking_mode = EXCLUSIVE');
    database.pragma('journal_mode = DELETE');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (!(error instanceof Database.SqliteError)) throw error;
    if (error.code.startsWith('SQLITE_BUSY')) throw new Error(inUse, { cause: error });
    return () => {};
  }
  return () => database.close();
}
