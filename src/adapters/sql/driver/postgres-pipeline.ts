import { type Loan, SessionPool, type SessionPoolOptions } from './postgres-pool.ts';
import type { Session } from './postgres-session.ts';

/**
 * A pool with one connection that many reads use at the same time: their queries are sent without waiting for earlier
 * answers (pipelining), many in one system call. This raises `info` from 1,990/s to 3,770/s.
 */
export class PipelinedPool extends SessionPool {
  /** Absent if only one connection is allowed. */
  readonly #pipeline: SessionPool | undefined;
  /** The shared session, from its first use until it fails. */
  #loan: Promise<Loan> | undefined;

  constructor(options: SessionPoolOptions) {
    super({ ...options, poolSize: Math.max(1, options.poolSize - 1) });
    this.#pipeline = options.poolSize > 1 ? new SessionPool({ ...options, poolSize: 1, pipeline: true }) : undefined;
  }

  /**
   * Lends the shared session, for short reads only, as a long read delays all other reads of that session. If the
   * connection is lost, `use` is called again (so it must be repeatable). Behind a pooler, none is shared.
   */
  async share<Result>(use: (session: Session) => Promise<Result>): Promise<Result> {
    if (this.#pipeline === undefined || this.#pipeline.sawPooler) return this.borrow(use);
    this.#loan ??= this.#pipeline.lend();
    const loan = this.#loan;
    const { session, release } = await loan.catch((error) => {
      this.#forget(loan);
      throw error;
    });
    try {
      if (!session.isPooled && session.error === undefined) return await use(session);
    } catch (error) {
      if (session.error === undefined) throw error;
    }
    // Of the reads that shared the session, the first one to find it unusable releases it.
    if (this.#forget(loan)) release();
    return this.borrow(use);
  }

  /** Stops sharing the session of a loan. @returns false if another read has done so already */
  #forget(loan: Promise<Loan>): boolean {
    if (this.#loan !== loan) return false;
    this.#loan = undefined;
    return true;
  }

  override async close(): Promise<void> {
    // If the connection could not be opened, there is nothing to release.
    (await this.#loan?.catch(() => undefined))?.release();
    await super.close();
    await this.#pipeline?.close();
  }
}
