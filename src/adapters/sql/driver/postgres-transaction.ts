import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Loan, SessionPool } from './postgres-pool.ts';
import type { Session } from './postgres-session.ts';
import { type BoundQuery, type Part, parts, type Routine, type SqlRow } from './query.ts';

export interface TransactionOptions {
  /** The pool of each part: the same one twice if both parts are in one database. */
  readonly pools: Readonly<Record<Part, SessionPool>>;
  /** How long to wait for the answer to a query; absent: without limit. */
  readonly timeoutMs?: number;
  /** How long to wait for the answer to a rollback. */
  readonly rollbackTimeoutMs: number;
  /** Whether a commit may have been carried out although the server answers with an error, as on Citus. */
  readonly isCommitUncertain: boolean;
}

/** Runs a routine in one transaction for each database, begun at its first use. The keys commit first. */
export async function inTransaction<Result>(
  { pools, timeoutMs, rollbackTimeoutMs, isCommitUncertain }: TransactionOptions,
  routine: Routine<Result>,
): Promise<Result> {
  const loans = new Map<SessionPool, Loan>();
  const begun = new Map<SessionPool, Session>();

  async function borrow(pool: SessionPool): Promise<Session> {
    const loan = loans.get(pool) ?? (await pool.lend());
    loans.set(pool, loan);
    return loan.session;
  }
  async function execute(query: BoundQuery): Promise<readonly SqlRow[]> {
    const pool = pools[query.statement.part];
    // Every transaction borrows a session for the records first: two that borrow in different orders could deadlock.
    await borrow(pools.data);
    const session = await borrow(pool);
    if (!begun.has(pool)) {
      begun.set(pool, session);
      await session.begin(timeoutMs);
    }
    return session.execute(query, timeoutMs);
  }

  async function commit(pool: SessionPool): Promise<void> {
    await begun
      .get(pool)
      ?.query('commit', timeoutMs)
      .catch((error) => {
        throw isCommitUncertain ? new DatabaseFailure((error as Error).cause, true) : error;
      });
  }

  try {
    const result = await runRoutine(routine, execute);
    for (const pool of new Set(parts.map((part) => pools[part]))) await commit(pool);
    return result;
  } catch (error) {
    // The next borrower must not get a session in a transaction, not even after a failed begin or commit. After a
    // commit, the rollback has no effect. A failed session is closed, and the server ends its transaction.
    for (const session of begun.values()) {
      if (session.error === undefined) await session.rollback(rollbackTimeoutMs);
    }
    throw error;
  } finally {
    for (const loan of loans.values()) loan.release();
  }
}

/** Runs a routine, one query after the other. */
export async function runRoutine<Result>(
  routine: Routine<Result>,
  execute: (query: BoundQuery) => Promise<readonly SqlRow[]>,
): Promise<Result> {
  let step = routine.next();
  while (!step.done) step = routine.next(await execute(step.value));
  return step.value;
}
