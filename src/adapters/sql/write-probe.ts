import { DatabaseFailure } from '../../application/ports/database-failure.ts';

import { compileQuery, parts, type Routine } from './driver/query.ts';
import type { SqlDatabase } from './schema/database.ts';

/**
 * Creates a check whether the database accepts durable writes to both parts. The check changes a row of each part and
 * changes it back, because SQLite writes nothing if a value is set to itself.
 *
 * @returns the check, which resolves to false if the database refuses the write or was found damaged
 */
export function writeProbe(database: SqlDatabase): () => Promise<boolean> {
  const { builder } = database.dialect;
  const changes = parts.map((part) =>
    compileQuery(({ by }: { by: number }) =>
      builder.updateTable(`${part}_version`).set((set) => ({ oldest: set('oldest', '+', by) })),
    ),
  );
  function* changeAndChangeBack(): Routine<void> {
    for (const change of changes) {
      yield* change({ by: 1 });
      yield* change({ by: -1 });
    }
  }
  return async () =>
    !database.isDamaged() &&
    database.write(changeAndChangeBack).then(
      () => true,
      (error) => {
        if (error instanceof DatabaseFailure) return false;
        throw error;
      },
    );
}
