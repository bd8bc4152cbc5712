import type { MaybePromise } from '../../../application/maybe-promise.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Part } from '../schema/tables.ts';
import type { Dialect } from './dialects.ts';
import { compileQuery, type Routine } from './query.ts';

/** A database that runs programs. What runs one throws `DatabaseFailure` where the database refused or lost it. */
export interface SqlDatabase {
  readonly dialect: Dialect;
  /** Runs a program that only reads. */
  read<Result>(program: () => Routine<Result>): Promise<Result>;
  /**
   * Like `read`, of what callers ask for most: a replica may answer, where it is certain to have everything that was
   * acknowledged.
   */
  readShort<Result>(program: () => Routine<Result>): MaybePromise<Result>;
  /**
   * Runs a program as one transaction, durable when the promise resolves; where it throws, nothing was stored. `program`
   * may be started more than once; only its last run counts.
   */
  write<Result>(program: () => Routine<Result>): Promise<Result>;
  /**
   * Like `write`, for a program that holds together without a transaction: each of its statements may be stored by itself
   * and other writers may come between them. That spares a remote database the trips to begin and commit.
   */
  writeWithoutTransaction<Result>(program: () => Routine<Result>): Promise<Result>;
  /** Like `write`, and of all processes on the database only one is in here at a time. */
  exclusive<Result>(program: () => Routine<Result>): Promise<Result>;
  /**
   * Overwrites what was deleted from a part, in its log too. False where something is still in the log, because another
   * process reads from it: it is overwritten as soon as that has ended. Undefined where the log is not ours to see.
   */
  checkpoint(part: Part): Promise<boolean | undefined>;
  /** Tries once to overwrite what a process that has ended may have left in the log of the keys. */
  retryCheckpoint(): Promise<void>;
  /**
   * Changes with what other processes commit: while it is the same, only this one has written. Undefined where that cannot
   * be told.
   */
  epoch(): number | undefined;
  /** How many values lead to a person in copies that were put aside, by the name of the copy; undefined for one that cannot be read. */
  searchCopies(tenant: string, number: number): Readonly<Record<string, number | undefined>>;
  /** Whether damage was seen, or a file is gone: what is found in memory may not be there any more. */
  isDamaged(): boolean;
  /** Places where deleted values may lie that are out of our sight, in words. */
  readonly unseen: readonly string[];
  /** Finishes what was begun and closes. */
  close(): Promise<void>;
}

/**
 * Asks whether the database takes a durable write, by making one and taking it back in the same transaction. (Setting a
 * value to what it is would not do: SQLite then writes nothing at all, and a full disk goes unnoticed.)
 */
export function writeProbe(database: SqlDatabase): () => Promise<boolean> {
  const { builder } = database.dialect;
  const ofKeys = compileQuery(({ by }: { by: number }) =>
    builder
      .updateTable('sequences')
      .set((set) => ({ last: set('last', '+', by) }))
      .where('name', '=', 'erasure'),
  );
  const ofRecords = compileQuery(({ by }: { by: number }) =>
    builder.updateTable('erasures_applied').set((set) => ({ count: set('count', '+', by) })),
  );
  function* touch() {
    for (const step of [ofKeys, ofRecords]) {
      yield* step({ by: 1 });
      yield* step({ by: -1 });
    }
  }
  return async () =>
    !database.isDamaged() &&
    database.write(touch).then(
      () => true,
      (error) => {
        if (error instanceof DatabaseFailure) return false;
        throw error;
      },
    );
}
