import { dirname } from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { BoundQuery, CompiledQuery, Part, Routine, SqlRow } from './query.ts';
import { ReadSnapshot } from './read-snapshot.ts';
import { inUse } from './sqlite-files.ts';

/** How long a write, or the opening of a file, waits for the lock of another process. */
export const lockWaitMs = 5_000;
export const lockRetryMs = 5;
/** SQLite itself waits this long, and blocks the process meanwhile. */
const busyTimeoutMs = 20;
/** How long the database is reported as damaged after the last query that found damage. */
const damageRememberedMs = 10_000;

/** With so many pages in the log, a commit runs a checkpoint: SQLite's default, and 64 MB for a `bulk` of transactions. */
const logPages = { single: 1_000, bulk: 16_000 };

const connectionPragmas = [
  // Sorting must not write data to a temporary file.
  'temp_store = MEMORY',
  'trusted_schema = OFF',
];
const schemaPragmas = [
  'journal_mode = WAL',
  // Syncs the log at each commit. NORMAL may lose the last commits on a power cut.
  'synchronous = FULL',
  // Overwrites deleted and replaced data, so that destroyed keys do not stay in free pages.
  'secure_delete = ON',
  'cache_size = -32000',
];

/** The name of a part's schema on a connection. */
export const schemaOf = (part: Part): 'main' | 'data' => (part === 'keys' ? 'main' : 'data');

/** One connection with the files of both parts. */
export class SqliteConnection {
  readonly database: Database.Database;
  readonly snapshot: ReadSnapshot;
  readonly #prepared = new WeakMap<CompiledQuery, Database.Statement<unknown[], SqlRow>>();
  readonly #checkpoints = new Map<Part, Promise<boolean>>();
  #lastCommit: keyof typeof logPages = 'single';
  #damagedAt = Number.NEGATIVE_INFINITY;

  constructor(database: Database.Database) {
    this.database = database;
    this.snapshot = new ReadSnapshot(database);
  }

  /** Begins a transaction that writes. */
  begin(): void {
    this.snapshot.end();
    this.database.exec('BEGIN IMMEDIATE');
  }

  /**
   * @param kind `bulk` if a transaction of this size is one of many: rarer checkpoints make these a sixth faster
   *   (docs/performance.md)
   */
  commit(kind: keyof typeof logPages): void {
    if (kind !== this.#lastCommit) this.database.pragma(`wal_autocheckpoint = ${logPages[kind]}`);
    this.#lastCommit = kind;
    this.database.exec('COMMIT');
  }

  /** Rolls back the transaction, unless SQLite has already done so after an error. */
  rollback(): void {
    if (this.database.inTransaction) this.database.exec('ROLLBACK');
  }

  /** Runs a routine in the open transaction. */
  run<Result>(routine: Routine<Result>): Result {
    let step = routine.next();
    while (!step.done) step = routine.next(this.#execute(step.value));
    return step.value;
  }

  #execute({ statement, values }: BoundQuery): readonly SqlRow[] {
    let prepared = this.#prepared.get(statement);
    if (prepared === undefined) {
      prepared = this.database.prepare<unknown[], SqlRow>(statement.sql);
      this.#prepared.set(statement, prepared);
    }
    if (statement.gives === 'one') {
      const row = prepared.get(...values);
      return row === undefined ? [] : [row];
    }
    if (prepared.reader) return prepared.all(...values);
    const { changes } = prepared.run(...values);
    return statement.gives === 'count' ? [{ count: changes }] : [];
  }

  /** See `SqlDatabase.checkpoint`. Callers of one event-loop turn share a checkpoint. */
  checkpoint(part: Part): Promise<boolean> {
    const checkpoint = this.#checkpoints.get(part) ?? this.#checkpointNextTurn(part);
    this.#checkpoints.set(part, checkpoint);
    return checkpoint;
  }

  async #checkpointNextTurn(part: Part): Promise<boolean> {
    await nextTurn();
    this.#checkpoints.delete(part);
    try {
      return this.#truncateLog(part);
    } catch {
      // The log is not lost: SQLite reads it at the next start, and the next checkpoint may succeed.
      return false;
    }
  }

  /**
   * Moves the log into the file and truncates the log. Deleted data is overwritten in the file, due to `secure_delete`.
   *
   * @returns false if another process is reading the log
   */
  #truncateLog(part: Part): boolean {
    this.snapshot.end();
    const [{ busy }] = this.database.pragma(`${schemaOf(part)}.wal_checkpoint(TRUNCATE)`) as [{ busy: number }];
    return busy === 0;
  }

  /** See `SqliteDatabase.compact`. */
  async compact(): Promise<void> {
    await untilFree(() => this.database.exec('VACUUM data'), lockWaitMs);
    await untilFree(() => {
      if (this.#truncateLog('data')) return;
      throw new Database.SqliteError('another process is reading the log: run the command again', 'SQLITE_BUSY');
    }, lockWaitMs);
  }

  /** A `DatabaseFailure` for an error of SQLite. Any other error is a bug, and returned unchanged. */
  failureOf(error: unknown): unknown {
    if (!(error instanceof Database.SqliteError)) return error;
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) this.#damagedAt = performance.now();
    return new DatabaseFailure(error);
  }

  /** Whether a query found damage recently. Queries that read cached pages do not find it. */
  isDamaged(): boolean {
    return performance.now() - this.#damagedAt < damageRememberedMs;
  }
}

/**
 * Opens the files of both parts on one connection.
 *
 * @param files must both exist; an empty file becomes a database
 * @param isExclusive locks out other processes until the connection is closed; throws if another one has the files open
 */
export async function connect(files: Readonly<Record<Part, string>>, isExclusive: boolean): Promise<SqliteConnection> {
  const waitMs = isExclusive ? 0 : lockWaitMs;
  const database = new Database(files.keys, { timeout: waitMs });
  try {
    for (const pragma of connectionPragmas) database.pragma(pragma);
    // The keys are the `main` database because a commit to both files syncs `main` first: a power loss between the two
    // syncs may leave a key without its record, but no record without its key. The keys are opened first so that no
    // other process gets to the records while a restore has locked the keys.
    if (isExclusive) database.pragma('main.locking_mode = EXCLUSIVE');
    for (const pragma of schemaPragmas) await untilFree(() => database.pragma(`main.${pragma}`), waitMs);
    if (isExclusive) database.exec('BEGIN EXCLUSIVE; COMMIT');
    database.prepare('ATTACH ? AS data').run(files.data);
    for (const pragma of schemaPragmas) await untilFree(() => database.pragma(`data.${pragma}`), waitMs);
    database.pragma(`busy_timeout = ${busyTimeoutMs}`);
    return new SqliteConnection(database);
  } catch (error) {
    database.close();
    if (isExclusive && isBusy(error)) throw new Error(inUse, { cause: error });
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new Error(`${dirname(files.keys)}: ${error.message} (${error.code})`, { cause: error });
  }
}

/** Retries while another process has the lock. SQLite refuses some operations at once, despite `busy_timeout`. */
async function untilFree(work: () => void, waitMs: number): Promise<void> {
  const since = Date.now();
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || Date.now() - since >= waitMs) throw error;
      await delay(lockRetryMs);
    }
  }
}

export const isBusy = (error: unknown): boolean =>
  error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
