/** Backups of the SQLite files of a running deployment, and the staged files that an interrupted restore left. */
import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { Maintenance } from '../../application/ports/maintenance.ts';
import { isSameFile, replaceCopy, wipe } from '../files.ts';
import { type SqliteDatabase, sqliteFiles } from './driver/sqlite.ts';
import { type Part, parts } from './schema/tables.ts';

/** The methods of {@link Maintenance} that copy or rewrite files. */
export type FileMaintenance = Pick<Maintenance, 'backup' | 'backupKeys' | 'compact'>;

export const sqliteMaintenance = (database: SqliteDatabase, dataDir: string): FileMaintenance => ({
  backup: (file) => database.copy('data', file),
  backupKeys: (file) =>
    replaceCopy(
      file,
      (path) => isBackupOfKeys(path, dataDir),
      (next) => database.copy('keys', next),
    ),
  compact: database.compact,
});

/** Whether a file is a backup of the keys of this deployment. False for its live key store under another name. */
function isBackupOfKeys(path: string, dataDir: string): boolean {
  const { keys } = sqliteFiles(dataDir);
  if (isSameFile(path, keys)) return false;
  const [copy, ours] = [deploymentOf(path), deploymentOf(keys)];
  return copy !== undefined && copy === ours;
}

/** The deployment's name in a file of keys; undefined where the file is another kind. */
function deploymentOf(keys: string): string | undefined {
  try {
    const database = new Database(keys, { readonly: true, fileMustExist: true });
    try {
      return database.prepare('SELECT deployment FROM keys_version').pluck().get() as string;
    } finally {
      database.close();
    }
  } catch (error) {
    if (error instanceof Database.SqliteError) return undefined;
    throw error;
  }
}

/** The name of a staged backup, beside the file that it will replace. */
export const stagedName = (file: string): string => `${file}.restoring`;

/** Removes a staged backup and its journals. Keys are overwritten first; records are sealed and need not be. */
export function discard(part: Part, staged: string): void {
  const remove = part === 'keys' ? wipe : (path: string) => rmSync(path, { force: true });
  for (const suffix of ['', '-wal', '-shm', '-journal']) remove(staged + suffix);
}

/** Removes what an interrupted restore left. A restore that is running fails. */
export function discardStaged(dataDir: string): void {
  for (const part of parts) discard(part, stagedName(sqliteFiles(dataDir)[part]));
}
