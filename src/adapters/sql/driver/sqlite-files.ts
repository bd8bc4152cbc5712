import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { sync, wipe } from '../../files.ts';
import type { Part } from './query.ts';

export const inUse = 'a server or another command has the data open: stop it first';

/** The two database files of a data folder. */
export const sqliteFiles = (dataDir: string): Record<Part, string> => ({
  keys: join(dataDir, 'keys.db'),
  data: join(dataDir, 'customers.db'),
});

// Undefined for a missing file only: an unreadable folder throws.
const statOf = (file: string) => statSync(file, { throwIfNoEntry: false });
const hasContent = (file: string): boolean => (statOf(file)?.size ?? 0) > 0;

/**
 * Creates missing files with mode 0600. Throws if the keys have content but the file of the records is missing, if the
 * records have content but the keys have none, or if the file of the records is missing and `mayCreate` is false.
 */
export function createFiles(files: Readonly<Record<Part, string>>, mayCreate: boolean): void {
  // The order of the checks matters: a concurrent start creates both files before it writes, and writes the keys first.
  if (hasContent(files.keys) && statOf(files.data) === undefined) {
    throw new Error(`${files.data} is missing, but its keys exist: put it back, or restore a backup`);
  }
  if (hasContent(files.data) && !hasContent(files.keys)) {
    throw new Error(`${files.keys} is missing, and ${files.data} cannot be read without it: put it back`);
  }
  if (!mayCreate && statOf(files.data) === undefined) throw new Error(`there is no data in ${dirname(files.data)}`);
  // SQLite gives the files beside a database (-wal, -shm) the same mode.
  for (const file of Object.values(files)) closeSync(openSync(file, 'a', 0o600));
}

/**
 * Detects files that are removed or replaced: writes to such a file are lost when the process ends.
 *
 * @returns a function that returns false if a path no longer leads to the same file as now
 */
export function watchFiles(files: Readonly<Record<Part, string>>): () => boolean {
  const inodes = Object.values(files).map((file) => [file, statOf(file)?.ino] as const);
  return () => inodes.every(([file, inode]) => statOf(file)?.ino === inode);
}

/** Counts rows in the files that a restore has replaced or left behind; see `SqlDatabase.searchCopies`. */
export function countInCopies(
  file: string,
  sql: string,
  values: readonly unknown[],
): Record<string, number | undefined> {
  const copies = readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${basename(file)}.`) && /\.(replaced-.+|restoring)$/.test(name))
    .filter((name) => !/-(wal|shm|journal)$/.test(name));
  const count = (copy: string) =>
    tryFile(copy, { readonly: true }, (database) =>
      database
        .prepare<unknown[], number>(sql)
        .pluck()
        .get(...values),
    );
  return Object.fromEntries(copies.map((name) => [name, count(join(dirname(file), name))]));
}

/** Opens a file for `use`. @returns undefined if SQLite reports an error */
export function tryFile<Result>(
  file: string,
  options: Database.Options,
  use: (database: Database.Database) => Result,
): Result | undefined {
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { fileMustExist: true, ...options });
    return use(database);
  } catch (error) {
    if (error instanceof Database.SqliteError) return undefined;
    throw error;
  } finally {
    database?.close();
  }
}

/** See `SqliteDatabase.copy`. */
export function copySchema(
  database: Database.Database,
  schema: 'main' | 'data',
  file: string,
  complete: (file: string) => void = () => {},
): void {
  // `VACUUM INTO` accepts an existing file if it is empty, and keeps the mode of that file.
  closeSync(openSync(file, 'wx', 0o600));
  try {
    database.prepare(`VACUUM ${schema} INTO ?`).run(resolve(file));
    complete(file);
    sync(file);
  } catch (error) {
    wipe(file);
    throw error;
  }
}
