import type { Routine } from '../driver/query.ts';
import type { appliedQueries } from './applied-positions.ts';
import type { ErasureLog } from './erasure-log.ts';

interface Dependencies {
  readonly applied: ReturnType<typeof appliedQueries>;
  readonly log: ErasureLog;
}

/**
 * The number of the customer that the ExternalId of a merged one finds, locked until the transaction ends. Null if it
 * was erased, or if the records lack it.
 */
export function* lockLast({ applied, log }: Dependencies, tenant: string, into: number): Routine<number | null> {
  const lock = applied.lockVersion ?? applied.findErasure;
  for (let last = yield* log.lastOf(tenant, into); last !== undefined; ) {
    if ((yield* lock({ tenant, number: last })).length === 0) return null;
    // Its erasure may have come while this waited for the lock.
    const still: number | undefined = yield* log.lastOf(tenant, last);
    if (still === last) return last;
    last = still;
  }
  return null;
}
