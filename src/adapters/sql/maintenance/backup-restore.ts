/** Puts copies of the files of a data folder back. */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import Database from 'better-sqlite3';
import type { Restored } from '../../../application/ports/maintenance.ts';
import { syncFolder } from '../../files.ts';
import { createReferenceData } from '../../reference-data.ts';
import { noTelemetry } from '../../telemetry/no-telemetry.ts';
import { discard, stagedName } from '../backup.ts';
import { createSqlCustomers } from '../customers/repository.ts';
import { inUse, openSqlite, sqliteFiles } from '../driver/sqlite.ts';
import { unlockVault } from '../root-keys.ts';
import { checkVersion, migrations } from '../schema/migrations.ts';
import type { Part, SchemaVersion } from '../schema/tables.ts';

const what: Record<Part, string> = { data: 'backup', keys: 'copy of the keys' };

export interface RestoreOptions {
  /** Folder of the SQLite files. */
  readonly dataDir: string;
  readonly masterKeyFile: string;
  readonly partition: string;
}

/**
 * Replaces the records, or the keys, with a backup, while all servers are stopped. Tries the backup first, with the master
 * key and the other part as they are. Throws, and replaces nothing, where the backup is of another deployment, does not open
 * under the master key, or leaves records unreadable (unless `force`).
 */
export async function restoreBackup(
  { dataDir, masterKeyFile, partition }: RestoreOptions,
  part: Part,
  file: string,
  force: boolean,
): Promise<Restored> {
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
      const vault = await unlockVault({ database, masterKeyFile, mayCreate: false });
      const repository = createSqlCustomers({ database, vault, referenceData: createReferenceData(), partition });
      // Before anything is erased again: one side is what is in use, and a copy that does not belong to it must not touch it.
      const unreadable = await repository.countUnreadable();
      if (unreadable > 0 && !force) {
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

/**
 * A copy of a backup beside the file that it is to replace. Throws where it is not a sound copy of that part, of this
 * deployment. To be called while nobody has the files open.
 */
function stage(part: Part, dataDir: string, file: string): string {
  const target = sqliteFiles(dataDir)[part];
  const staged = stagedName(target);
  discard(part, staged);
  if (existsSync(`${file}-wal`) && statSync(`${file}-wal`).size > 0) {
    throw new Error(
      `${file} has a log beside it: it is not a ${what[part]} made by this program, and not whole without it`,
    );
  }
  copyFileSync(file, staged);
  try {
    const copied = openSync(staged, 'r+');
    fchmodSync(copied, 0o600);
    fsyncSync(copied);
    closeSync(copied);
    checkCopy(part, file, staged, dataDir);
    return staged;
  } catch (error) {
    discard(part, staged);
    throw error;
  }
}

function checkCopy(part: Part, file: string, staged: string, dataDir: string): void {
  const copy = readHeader(part, staged);
  if (copy === undefined) throw new Error(`${file} is not a ${what[part]} made by this program`);
  checkVersion(part, copy, migrations[part].length);
  const other: Part = part === 'data' ? 'keys' : 'data';
  const counterpart = sqliteFiles(dataDir)[other];
  const present = existsSync(counterpart) ? readHeader(other, counterpart) : undefined;
  if (present !== undefined && present.deployment !== copy.deployment) {
    throw new Error(`${file} belongs to another deployment`);
  }
}

/** What a file says of itself; undefined where it is not a whole file of that part. */
function readHeader(part: Part, file: string): SchemaVersion | undefined {
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { fileMustExist: true });
    if (database.pragma('integrity_check', { simple: true }) !== 'ok') return undefined;
    return database.prepare(`SELECT version, oldest, deployment FROM ${part}_version`).get() as SchemaVersion;
  } catch (error) {
    if (error instanceof Database.SqliteError) return undefined;
    throw error;
  } finally {
    database?.close();
  }
}

/**
 * Puts tenants and API keys of the present records in a staged copy, so that a key that was revoked since does not work
 * again; false where they cannot be read, or differ in form: then they are the copy's.
 */
function carryTenants(dataDir: string, staged: string): boolean {
  const { data } = sqliteFiles(dataDir);
  if (!existsSync(data)) return false;
  const database = new Database(staged);
  try {
    database.prepare('ATTACH ? AS present').run(data);
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

/**
 * Gives a staged copy, which nobody has open, the name of the file that it replaces. What was there is kept beside it under
 * a name of its own. @returns that name; undefined where there was nothing
 */
function putInPlace(part: Part, dataDir: string, staged: string): string | undefined {
  const target = sqliteFiles(dataDir)[part];
  const replaced = existsSync(target)
    ? `${target}.replaced-${new Date().toISOString().replaceAll(/[^\dT]/g, '')}`
    : undefined;
  // A second name first: at no moment is there no file of that name.
  if (replaced !== undefined) linkSync(target, replaced);
  // A log that was left without its file would be taken for one of the copy's.
  for (const suffix of ['-wal', '-shm']) rmSync(target + suffix, { force: true });
  renameSync(staged, target);
  syncFolder(target);
  return replaced;
}

/**
 * Writes the log of a file back into it, and keeps everybody else out of it. Throws where somebody is in it. One that is
 * missing or damaged, with which nothing starts, stays as it is. @returns what ends it
 */
function lockOut(file: string): () => void {
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
