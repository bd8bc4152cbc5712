/** Makes backups of the SQLite files of a running deployment, and removes the staged files of a restore. */
import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { Maintenance } from '../../application/ports/maintenance.ts';
import { isSameFile, replaceBackup, wipe } from '../files.ts';
import { sqliteFiles, tryFile } from './driver/sqlite.ts';
import type { SqliteDatabase } from './schema/database.ts';
import { type Part, parts } from './schema/tables.ts';

/** The methods that copy or rewrite files. */
export type FileMaintenance = Pick<Maintenance, 'backup' | 'backupKeys' | 'compact'>;

export const sqliteMaintenance = (database: SqliteDatabase, dataDir: string): FileMaintenance => ({
  backup: (file) => database.copy('data', file),
  backupKeys: (file) =>
    replaceBackup(
      file,
      (path) => isBackupOfKeys(path, dataDir),
      (next) => database.copy('keys', next, markAsCopy),
    ),
  compact: database.compact,
});

/** Marks a file as a backup of the keys, so that the first start with it skips URNs; see `KeyCopies`. */
function markAsCopy(file: string): void {
  const backup = new Database(file);
  try {
    backup.prepare('INSERT OR IGNORE INTO key_copies_used (made_at) VALUES (?)').run(Date.now());
  } finally {
    backup.close();
  }
}

/** Whether a file is a backup of this deployment's keys. False for the live file of the keys, under any name. */
function isBackupOfKeys(path: string, dataDir: string): boolean {
  const { keys } = sqliteFiles(dataDir);
  if (isSameFile(path, keys)) return false;
  const deploymentOf = (file: string) =>
    tryFile(file, { readonly: true }, (database) =>
      database.prepare('SELECT deployment FROM keys_version').pluck().get(),
    );
  const deployment = deploymentOf(path);
  return deployment !== undefined && deployment === deploymentOf(keys);
}

/** The name of a staged backup, beside the file that it will replace. */
export const stagedName = (file: string): string => `${file}.restoring`;

/** Removes a staged backup and its journals. Keys are overwritten first; records need not be: they are encrypted. */
export function discard(part: Part, staged: string): void {
  const remove = part === 'keys' ? wipe : (path: string) => rmSync(path, { force: true });
  for (const suffix of ['', '-wal', '-shm', '-journal']) remove(staged + suffix);
}

/** Removes the staged files of an interrupted restore. If a restore is still running, it then fails. */
export function discardStaged(dataDir: string): void {
  for (const part of parts) discard(part, stagedName(sqliteFiles(dataDir)[part]));
}
