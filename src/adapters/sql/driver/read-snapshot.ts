import type { Database, Statement } from 'better-sqlite3';

/**
 * Lets the reads of one event-loop turn share a read transaction. Beginning and ending a transaction costs more than a
 * short read itself: it takes system calls on both files.
 *
 * The snapshot ends before the next callback of the event loop. So the next read shows every write that its caller
 * knows of.
 */
export class ReadSnapshot {
  /** Counts the snapshots that were the first to show a commit of another connection. */
  epoch = 0;
  readonly #database: Database;
  readonly #beginStatement: Statement;
  readonly #rollbackStatement: Statement;
  /** Each reads the data version of a file, which changes when another connection commits. */
  readonly #dataVersions: readonly Statement[];
  #lastVersions: readonly unknown[] = [];
  #isOpen = false;

  constructor(database: Database) {
    this.#database = database;
    this.#beginStatement = database.prepare('BEGIN');
    this.#rollbackStatement = database.prepare('ROLLBACK');
    this.#dataVersions = ['main', 'data'].map((schema) => database.prepare(`PRAGMA ${schema}.data_version`).pluck());
  }

  begin(): void {
    if (this.#isOpen) return;
    this.#beginStatement.run();
    this.#isOpen = true;
    process.nextTick(this.end);
    const versions = this.#dataVersions.map((version) => version.get());
    if (versions.some((version, index) => version !== this.#lastVersions[index])) this.epoch += 1;
    this.#lastVersions = versions;
  }

  /** To be called before any other use of the connection. */
  readonly end = (): void => {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // Nothing was written; and unlike a commit, a rollback cannot fail on a damaged file.
    if (this.#database.inTransaction) this.#rollbackStatement.run();
  };
}
