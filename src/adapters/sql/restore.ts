import {
  closeSync,
  copyFileSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
} from 'node:fs';
import Database from 'better-sqlite3';
import { syncFolder } from '../files.ts';
import { checkVersion, migrations } from './migrations.ts';
import { sqliteFiles } from './sqlite.ts';
import type { SchemaVersion } from './tables.ts';

/**
 * Puts a backup in place of the records of a data folder; the keys and the ledger stay. The records that were there are
 * kept beside it as `customers.db.replaced`. Tenants and API keys stay as they are now, where that can be read, so that
 * a key that was revoked since does not work again. Throws, and touches nothing, where another process has the records
 * open, or the file is not a sound backup of ours.
 *
 * @returns whether tenants and API keys are those of now; else they are the backup's
 */
export function restoreSqlite(dataDir: string, file: string): { readonly keptKeys: boolean } {
  const { keys, data } = sqliteFiles(dataDir);
  checkBackup(file);
  if (!existsSync(keys))
    throw new Error(`${keys} is missing, without which a backup cannot be read: put it back first`);
  const next = `${data}.restoring`;
  copyFileSync(file, next);
  let keptKeys = false;
  try {
    const copied = openSync(next, 'r+');
    fchmodSync(copied, 0o600);
    fsyncSync(copied);
    closeSync(copied);
    if (existsSync(data)) {
      closeLog(data);
      keptKeys = carryTenants(data, next);
      // A second name first: at no moment is there no file of that name.
      rmSync(`${data}.replaced`, { force: true });
      linkSync(data, `${data}.replaced`);
    }
  } catch (error) {
    rmSync(next);
    throw error;
  }
  // A log that was left without its file would be taken for one of the backup's.
  for (const suffix of ['-wal', '-shm']) rmSync(data + suffix, { force: true });
  renameSync(next, data);
  syncFolder(data);
  return { keptKeys };
}

/** Puts tenants and API keys of one file in place of another's; false where they cannot be read, or differ in form. */
function carryTenants(from: string, to: string): boolean {
  const database = new Database(to);
  try {
    database.prepare('ATTACH ? AS present').run(from);
    const version = (schema: string) => database.prepare(`SELECT version FROM ${schema}.data_version`).pluck().get();
    if (version('main') !== version('present')) return false;
    const tables = ['tenants', 'api_keys'];
    const carry = tables.map((table) => `DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM present.${table};`);
    database.exec(`BEGIN; ${carry.join(' ')} COMMIT`);
    return true;
  } catch (error) {
    // What is there now may be damaged: that is what backups are for.
    if (!(error instanceof Database.SqliteError)) throw error;
    if (database.inTransaction) database.exec('ROLLBACK');
    return false;
  } finally {
    database.close();
  }
}

/** Whether a file is a copy of keys, and not the store of keys of a data folder itself. */
export function isCopyOfKeys(path: string, dataDir: string): boolean {
  if (realpathSync(path) === realpathSync(sqliteFiles(dataDir).keys)) return false;
  try {
    const database = new Database(path, { readonly: true, fileMustExist: true });
    try {
      return database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'root_keys'").get() !== undefined;
    } finally {
      database.close();
    }
  } catch {
    // What SQLite cannot read is no copy of ours.
    return false;
  }
}

function checkBackup(file: string): void {
  const backup = new Database(file, { readonly: true, fileMustExist: true });
  try {
    if (backup.pragma('integrity_check', { simple: true }) !== 'ok') throw new Error(`${file} is damaged`);
    const known = backup.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'data_version'").get();
    if (known === undefined) throw new Error(`${file} is not a backup of ours`);
    const version = backup.prepare('SELECT version, oldest FROM data_version').get() as SchemaVersion;
    checkVersion('data', version, migrations.data.length);
  } finally {
    backup.close();
  }
}

/** Empties the log of a file that nobody else has open. */
function closeLog(data: string): void {
  const database = new Database(data, { timeout: 0 });
  try {
    database.pragma('locking_mode = EXCLUSIVE');
    // Taking the lock for good fails at once where another process has the file open, even if it does nothing.
    database.exec('BEGIN EXCLUSIVE; COMMIT');
    database.pragma('journal_mode = DELETE');
  } catch (error) {
    throw new Error('a server or another command has the records open: stop it first', { cause: error });
  } finally {
    database.close();
  }
}
