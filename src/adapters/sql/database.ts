import type { Kysely } from 'kysely';
import { DatabaseFailure } from '../../application/ports.ts';
import { type Program, prepare } from './statement.ts';
import type { Tables } from './tables.ts';

/** A database that runs programs. Both methods throw `DatabaseFailure`, and then nothing of the program was stored. */
export interface SqlDatabase {
  /** Builds statements in the database's dialect; it runs none. */
  readonly builder: Kysely<Tables>;
  /** Runs a program that only reads. */
  read<Result>(program: () => Program<Result>): Promise<Result>;
  /**
   * Runs a program as one transaction, durable when the promise resolves. `program` may be started more than once;
   * only its last run counts.
   */
  write<Result>(program: () => Program<Result>): Promise<Result>;
  /** Overwrites what was deleted from the keys or the records, in the log too, where the database is ours to do so. */
  scrub(part: 'data' | 'keys'): Promise<void>;
  /** False while what was deleted is still in the log, because another process reads from it. */
  isScrubbed(part: 'data' | 'keys'): boolean;
  /** Writes a consistent copy of the records or of the keys to a new file (mode 0600, synced), without stopping writers. */
  copy(part: 'data' | 'keys', file: string): Promise<void>;
  /** Finishes what was begun and closes. */
  close(): Promise<void>;
}

/**
 * Asks whether the database takes a durable write, by making one and taking it back in the same transaction. (Setting a
 * value to what it is would not do: SQLite then writes nothing at all, and a full disk goes unnoticed.)
 */
export function writeProbe(database: SqlDatabase): () => Promise<boolean> {
  const { builder } = database;
  const ofKeys = prepare(({ by }: { by: number }) =>
    builder
      .updateTable('sequences')
      .set((set) => ({ last: set('last', '+', by) }))
      .where('name', '=', 'erasure'),
  );
  const ofRecords = prepare(({ by }: { by: number }) =>
    builder.updateTable('erasures_applied').set((set) => ({ count: set('count', '+', by) })),
  );
  function* touch() {
    for (const step of [ofKeys, ofRecords]) {
      yield* step({ by: 1 });
      yield* step({ by: -1 });
    }
  }
  return () =>
    database.write(touch).then(
      () => true,
      (error) => {
        if (error instanceof DatabaseFailure) return false;
        throw error;
      },
    );
}
