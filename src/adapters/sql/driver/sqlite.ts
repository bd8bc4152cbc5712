import type { Telemetry } from '../../../application/ports/telemetry.ts';
import type { SqlDatabase } from './database.ts';
import type { Dialect } from './dialects.ts';
import { GroupCommit } from './group-commit.ts';
import type { Part, Routine } from './query.ts';
import { connect, type SqliteConnection, schemaOf } from './sqlite-connection.ts';
import { copySchema, countInCopies, createFiles, watchFiles } from './sqlite-files.ts';

export { inUse, sqliteFiles, tryFile } from './sqlite-files.ts';

export interface SqliteDatabase<Tables> extends SqlDatabase<Tables> {
  /**
   * Writes a consistent backup of a part to a new file (mode 0600, synced), while writers go on. The backup is written
   * row by row, so its pages contain no deleted data.
   *
   * @param complete called with the file before the file is synced; may add to the backup
   */
  copy(part: Part, file: string, complete?: (file: string) => void): Promise<void>;
  /** Rewrites the file of the records, so that its pages contain no deleted data. Writers wait meanwhile. */
  compact(): Promise<void>;
  /** Closes the file of the records and removes its write-ahead log. The keys stay open until `close`. */
  detachRecords(): void;
}

export interface SqliteOptions {
  /** Whether missing files are created; otherwise they are an error. */
  readonly mayCreate: boolean;
  readonly files: Readonly<Record<Part, string>>;
  /** Locks out other processes until `close`; an error if another process has the files open. Default: false. */
  readonly isExclusive?: boolean;
}

const unseen = [
  'unused gaps in the pages of customers.db, which may hold a blind index until the file is rewritten (c2a compact)',
  'copies of the files: backups, snapshots, replicas',
];

/**
 * Opens the SQLite files of a deployment. The keys have a separate file, so that a copy of the records does not
 * contain the keys that open them. Several processes may use the same files.
 *
 * Every commit is synced to disk (`synchronous=FULL`), and group commit makes that cheap.
 */
export async function openSqlite<Tables>(
  dialect: Dialect<Tables>,
  { files, mayCreate, isExclusive = false }: SqliteOptions,
  telemetry: Pick<Telemetry, 'commit' | 'read'>,
): Promise<SqliteDatabase<Tables>> {
  createFiles(files, mayCreate);
  const connection = await connect(files, isExclusive);
  const areInPlace = watchFiles(files);
  const commits = new GroupCommit(connection, telemetry);
  function beginSnapshot(): void {
    commits.noteUse();
    connection.snapshot.begin();
  }
  function read<Result>(routine: () => Routine<Result>): Result {
    const started = performance.now();
    try {
      beginSnapshot();
      return connection.run(routine());
    } catch (error) {
      throw connection.failureOf(error);
    } finally {
      telemetry.read((performance.now() - started) / 1000);
    }
  }
  const write = <Result>(routine: () => Routine<Result>): Promise<Result> => commits.write(routine);
  return {
    dialect,
    read: async (routine) => read(routine),
    readShort: read,
    write,
    // Group commit shares transactions anyway, and SQLite has one writer at a time, over all processes.
    writeWithoutTransaction: write,
    exclusive: write,
    epoch() {
      try {
        beginSnapshot();
        return connection.snapshot.epoch;
      } catch {
        // The caller then reads from the database, and that read reports the error.
        return undefined;
      }
    },
    searchCopies: (part, sql, values) => countInCopies(files[part], sql, values),
    unseen,
    isDamaged: () => connection.isDamaged() || !areInPlace(),
    ...maintenance(connection),
    async close() {
      await commits.drain();
      connection.snapshot.end();
      // When the last connection closes, SQLite moves the logs into the files. If it cannot, the next start reads them.
      connection.database.close();
    },
  };
}

/** Work on whole files. */
function maintenance(
  connection: SqliteConnection,
): Pick<SqliteDatabase<never>, 'checkpoint' | 'copy' | 'compact' | 'detachRecords'> {
  const { database, snapshot } = connection;
  async function maintain(work: () => Promise<void> | void): Promise<void> {
    snapshot.end();
    try {
      await work();
    } catch (error) {
      throw connection.failureOf(error);
    }
  }
  return {
    checkpoint: (part) => connection.checkpoint(part),
    copy: (part, file, complete) => maintain(() => copySchema(database, schemaOf(part), file, complete)),
    compact: () => maintain(() => connection.compact()),
    detachRecords() {
      snapshot.end();
      database.pragma('data.journal_mode = DELETE');
      database.exec('DETACH data');
    },
  };
}
