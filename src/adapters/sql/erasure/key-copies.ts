import { leastSkipped, type UrnSequence } from '../customers/urns.ts';
import { compileQuery, compileWrite } from '../driver/query.ts';
import type { Dialect, SqlDatabase } from '../schema/database.ts';

/** How many URNs the first start with a backup of the keys skips, at most; at least `leastSkipped`. */
const mostSkipped = 10 ** 12;
/** URNs skipped per millisecond of the backup's age: more than any deployment stores in that time. */
const skippedPerMs = 10;

export function keyCopyQueries({ builder }: Dialect) {
  return {
    findUnused: compileQuery((_: object) =>
      builder.selectFrom('key_copies_used').select('made_at').where('taken_at', 'is', null).orderBy('made_at'),
    ),
    take: compileWrite((at: { now: number }) =>
      builder.updateTable('key_copies_used').set({ taken_at: at.now }).where('taken_at', 'is', null),
    ),
  };
}

/**
 * Records which backups of the keys were used. A backup contains a row with the time when it was made; the first start
 * with the backup adds the time of that start. The row is never deleted, so later backups contain it too.
 */
export class KeyCopies {
  readonly #database: SqlDatabase;
  readonly #run: ReturnType<typeof keyCopyQueries>;
  readonly #sequence: UrnSequence;

  constructor(database: SqlDatabase, sequence: UrnSequence) {
    this.#database = database;
    this.#run = keyCopyQueries(database.dialect);
    this.#sequence = sequence;
  }

  /** Whether the keys are a backup with which the service has not started yet. */
  async isUnused(): Promise<boolean> {
    return (await this.#database.read(() => this.#run.findUnused({}))).length > 0;
  }

  /**
   * Marks a backup of the keys as used, and skips URNs: those issued after the backup was made are unknown if the
   * records are a backup too. Skips more for an older backup, so that a second use of the same backup does not reach
   * the numbers of the first use. Returns how many URNs were skipped; 0 if another process was first.
   *
   * @param now milliseconds since 1970
   */
  takeIntoUse(now: number): Promise<number> {
    const run = this.#run;
    const sequence = this.#sequence;
    return this.#database.exclusive(function* () {
      const [copy] = yield* run.findUnused({});
      if (copy === undefined) return 0;
      yield* run.take({ now });
      const age = Math.max(0, now - copy.made_at);
      const count = Math.min(leastSkipped + skippedPerMs * age, mostSkipped);
      yield* sequence.skip(count);
      return count;
    });
  }
}
