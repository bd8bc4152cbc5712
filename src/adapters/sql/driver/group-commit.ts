import { setTimeout as delay } from 'node:timers/promises';
import type { Telemetry } from '../../../application/ports/telemetry.ts';
import { drainPollMs } from './database.ts';
import type { Routine } from './query.ts';
import { isBusy, lockRetryMs, lockWaitMs, type SqliteConnection } from './sqlite-connection.ts';

/** With more writes than this in a transaction, waiting costs more than the sync that it saves. */
const maxBatch = 256;
/** A transaction of so many writes is one of an import. */
const bulkBatch = 200;
/** How long a write waits for other writes while requests keep coming, as a multiple of the duration of a commit. */
const patience = 6;
/** Bounds the wait after a commit that took very long. */
const maxPatienceMs = 10;

interface Job {
  readonly routine: () => Routine<unknown>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  /** When the write arrived, in milliseconds of `performance.now()`. */
  readonly since: number;
  /** True after its batch failed: the job then gets a separate transaction. */
  readonly isAlone: boolean;
}

/**
 * Group commit: writes that arrive together share one transaction, and so one sync to disk. Each write keeps its own
 * result. If one of them throws, all are rolled back and run again, each in a separate transaction.
 *
 * While requests keep arriving, a write waits briefly for other writes. At 64 connections each commit then carries some 62
 * stores (docs/performance.md). docs/decisions/0037-commits-are-synced-on-the-event-loop.md says why the event loop waits
 * for the sync.
 */
export class GroupCommit {
  readonly #connection: SqliteConnection;
  readonly #telemetry: Pick<Telemetry, 'commit'>;
  #waiting: Job[] = [];
  #isScheduled = false;
  /** Whether the database was used in this turn of the event loop. */
  #isBusyTurn = false;
  /** Durations of the last two commits. The shorter one is used, as an automatic checkpoint lengthens a commit. */
  #lastCommitsMs: readonly [number, number] = [0, 0];

  constructor(connection: SqliteConnection, telemetry: Pick<Telemetry, 'commit'>) {
    this.#connection = connection;
    this.#telemetry = telemetry;
  }

  /** To be called on each use of the database: after a turn with requests, another such turn is likely. */
  noteUse(): void {
    this.#isBusyTurn = true;
  }

  /** Runs a routine in a transaction. Resolves when the transaction is on disk. */
  write<Result>(routine: () => Routine<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.noteUse();
      this.#waiting.push({ routine, resolve, reject, since: performance.now(), isAlone: false });
      if (!this.#isScheduled) this.#schedule(0);
    });
  }

  /** Waits for all queued writes, and for further writes that their callers start when these resolve. */
  async drain(): Promise<void> {
    while (this.#isScheduled) await delay(drainPollMs);
  }

  #schedule(delayMs: number): void {
    this.#isScheduled = true;
    if (delayMs > 0) setTimeout(() => this.#flush(), delayMs);
    else setImmediate(() => this.#flushWhenQuiet());
  }

  #flushWhenQuiet(): void {
    const waitedMs = performance.now() - (this.#waiting[0]?.since ?? 0);
    const patienceMs = Math.min(patience * Math.min(...this.#lastCommitsMs), maxPatienceMs);
    const isWorthWaiting = this.#isBusyTurn && this.#waiting.length < maxBatch && waitedMs < patienceMs;
    this.#isBusyTurn = false;
    if (isWorthWaiting) this.#schedule(0);
    else this.#flush();
  }

  #flush(): void {
    this.#isScheduled = false;
    const batch = this.#waiting.splice(0, this.#waiting[0]?.isAlone ? 1 : maxBatch);
    let delayMs = 0;
    try {
      this.#connection.begin();
      this.#runAndCommit(batch);
    } catch (error) {
      this.#refused(batch, error);
      delayMs = lockRetryMs;
    }
    if (this.#waiting.length > 0) this.#schedule(delayMs);
  }

  /**
   * Handles a transaction that could not begin. While another process has the lock, jobs return to the queue, each for
   * up to `lockWaitMs` after its arrival. All other jobs are rejected.
   */
  #refused(jobs: readonly Job[], error: unknown): void {
    const overdue = isBusy(error) ? performance.now() - lockWaitMs : Number.POSITIVE_INFINITY;
    this.#putBack(jobs.filter(({ since }) => since > overdue));
    this.#rejectAll(
      jobs.filter(({ since }) => since <= overdue),
      error,
    );
  }

  /** Runs the jobs in the open transaction, and commits it. Never throws: each job gets its result or its error. */
  #runAndCommit(jobs: readonly Job[]): void {
    const connection = this.#connection;
    const started = performance.now();
    const results: unknown[] = [];
    try {
      for (const { routine } of jobs) results.push(connection.run(routine()));
    } catch (error) {
      connection.rollback();
      if (jobs.length === 1) this.#rejectAll(jobs, error);
      else this.#putBack(jobs.map((job) => ({ ...job, isAlone: true })));
      return;
    }
    try {
      connection.commit(jobs.length < bulkBatch ? 'single' : 'bulk');
    } catch (error) {
      connection.rollback();
      this.#rejectAll(jobs, error);
      return;
    }
    const tookMs = performance.now() - started;
    this.#lastCommitsMs = [tookMs, this.#lastCommitsMs[0]];
    this.#telemetry.commit(jobs.length, tookMs / 1000);
    for (const [index, { resolve }] of jobs.entries()) resolve(results[index] as never);
  }

  /** Puts jobs at the head of the queue. */
  #putBack(jobs: readonly Job[]): void {
    this.#waiting = [...jobs, ...this.#waiting];
  }

  #rejectAll(jobs: readonly Job[], error: unknown): void {
    for (const { reject } of jobs) reject(this.#connection.failureOf(error));
  }
}
