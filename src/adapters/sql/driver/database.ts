import type { MaybePromise } from '../../../application/maybe-promise.ts';
import type { Dialect } from './dialects.ts';
import type { Part, Routine } from './query.ts';

/**
 * A database that runs routines. Each method that runs a routine throws `DatabaseFailure` if the database reports an
 * error or the connection is lost. The methods do not use `this`, so they can be destructured.
 */
export interface SqlDatabase<Tables> {
  readonly dialect: Dialect<Tables>;
  /** Runs a routine that only reads. */
  read<Result>(routine: () => Routine<Result>): Promise<Result>;
  /**
   * Like `read`, for short and frequent reads. SQLite returns the result itself, not a promise. PostgreSQL may read
   * from a replica that has every acknowledged write.
   */
  readShort<Result>(routine: () => Routine<Result>): MaybePromise<Result>;
  /**
   * Runs a routine in one transaction, durable when the promise resolves. If the routine throws, nothing is stored. It
   * runs again after a conflict with another writer (PostgreSQL) or an error in its batch (SQLite); only the last run
   * takes effect.
   */
  write<Result>(routine: () => Routine<Result>): Promise<Result>;
  /**
   * Like `write`, for a routine that needs no transaction: each query may commit separately, and other writers may
   * write between two queries. Saves the round trips of begin and commit to a remote database.
   */
  writeWithoutTransaction<Result>(routine: () => Routine<Result>): Promise<Result>;
  /** Like `write`, but only one such routine runs at a time, among all processes that use the database. */
  exclusive<Result>(routine: () => Routine<Result>): Promise<Result>;
  /**
   * Runs a WAL checkpoint: moves a part's write-ahead log into the database file, then truncates the log.
   *
   * @returns true: the log is empty. False: the log is not empty, because another process is reading it or the disk is
   *   full; try again later. Undefined: the server manages its log (PostgreSQL).
   */
  checkpoint(part: Part): Promise<boolean | undefined>;
  /** A number that changes whenever another process commits. Undefined if the database cannot tell. */
  epoch(): number | undefined;
  /**
   * Runs a query that counts rows in each old file of a part, which a restore has replaced or left behind.
   *
   * @param sql in SQLite's dialect, with unqualified table names, and `?` for each of `values`
   * @returns the count by file name; undefined for a file that cannot be read
   */
  searchCopies(part: Part, sql: string, values: readonly unknown[]): Readonly<Record<string, number | undefined>>;
  /** Whether a query found damage in the last seconds, or a database file was removed or replaced. */
  isDamaged(): boolean;
  /** Descriptions of the places in which this program cannot search for deleted data. */
  readonly unseen: readonly string[];
  /** Waits for the routines in flight, then closes the database. */
  close(): Promise<void>;
}

/** How often `close` checks whether routines are still in flight. */
export const drainPollMs = 2;
