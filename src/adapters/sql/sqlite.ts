import { closeSync, existsSync, fsyncSync, openSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DatabaseFailure, type Telemetry } from '../../application/ports.ts';
import type { SqlDatabase } from './database.ts';
import { sqliteDialect } from './dialects.ts';
import { type Migrations, migrate } from './migrations.ts';
import type { Bound, Program, Statement } from './statement.ts';
import type { Part } from './tables.ts';

export interface SqliteDatabase extends SqlDatabase {
  /** Writes a consistent copy of a part to a new file (mode 0600, synced), without stopping writers. */
  copy(part: Part, file: string): Promise<void>;
}

/** How many writes share a transaction at most: beyond this, waiting costs more than the sync that is saved. */
const maxBatch = 256;
/** How long a write waits for another process that writes. */
const lockWaitMs = 5_000;
const lockRetryMs = 5;
const scrubRetryMs = 100;
/** SQLite itself waits this long, and blocks the process while it does. */
const busyTimeoutMs = 20;

interface Job {
  readonly program: () => Program<unknown>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  /** When it arrived, in milliseconds of the process. */
  readonly since: number;
  /** Set where the job's batch failed: it then gets a transaction of its own. */
  alone?: true;
}

/** The two files of a data folder. */
export const sqliteFiles = (dataDir: string) => ({
  keys: join(dataDir, 'keys.db'),
  data: join(dataDir, 'customers.db'),
});

/**
 * Opens the SQLite files of a folder, makes them where there are none (mode 0600), and brings their schemas up to date.
 * The keys have a file of their own, so that a copy of the records is not a copy of what opens them.
 *
 * Every commit is synced to disk (`synchronous=FULL`). To make that cheap, writes that arrive in one turn of the event
 * loop share one transaction, each keeping its own answer. Several processes may use one folder.
 */
export async function openSqlite(
  dataDir: string,
  telemetry: Pick<Telemetry, 'commit' | 'read'>,
  migrations?: Migrations,
): Promise<SqliteDatabase> {
  const files = sqliteFiles(dataDir);
  if (!existsSync(files.data) && existsSync(files.keys) && statSync(files.keys).size > 0) {
    throw new Error(`${files.data} is missing, though there are keys for it: put it back, or restore a backup`);
  }
  if (existsSync(files.data) && !existsSync(files.keys)) {
    throw new Error(`${files.keys} is missing, without which ${files.data} cannot be read: put it back`);
  }
  // SQLite gives its own files (WAL, shared memory) the mode of the main file.
  for (const file of Object.values(files)) closeSync(openSync(file, 'a', 0o600));
  const database = new Database(files.keys, { timeout: lockWaitMs });
  try {
    // The keys are the main file: a commit over both files syncs it first.
    database.prepare('ATTACH ? AS data').run(files.data);
    for (const pragma of pragmas) database.pragma(pragma);
    for (const schema of ['main', 'data']) {
      for (const pragma of schemaPragmas) await untilFree(() => database.pragma(`${schema}.${pragma}`));
    }
    database.pragma(`busy_timeout = ${busyTimeoutMs}`);
  } catch (error) {
    database.close();
    if (error instanceof Database.SqliteError) throw new Error(`${dataDir}: ${error.message}`, { cause: error });
    throw error;
  }

  const prepared = new WeakMap<Statement, Database.Statement<unknown[], never>>();
  const begin = database.prepare('BEGIN IMMEDIATE');
  const beginRead = database.prepare('BEGIN');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');

  function execute({ statement, values }: Bound): readonly never[] {
    let ready = prepared.get(statement);
    if (ready === undefined) {
      ready = database.prepare<unknown[], never>(statement.sql);
      prepared.set(statement, ready);
    }
    if (ready.reader) return ready.all(...values);
    ready.run(...values);
    return [];
  }

  function run<Result>(program: Program<Result>): Result {
    let step = program.next();
    while (!step.done) step = program.next(execute(step.value));
    return step.value;
  }

  /**
   * Reads of one turn of the event loop share a snapshot: taking and leaving one costs system calls on both files, more
   * than a read itself. It is left before anything is written, so whoever has written sees it.
   */
  function openSnapshot(): void {
    if (snapshot !== undefined) return;
    beginRead.run();
    snapshot = setImmediate(leaveSnapshot);
  }
  function leaveSnapshot(): void {
    if (snapshot === undefined) return;
    clearImmediate(snapshot);
    snapshot = undefined;
    // Nothing was written, so there is nothing to keep; and this cannot fail, as a commit may on a damaged file.
    if (database.inTransaction) rollback.run();
  }
  let snapshot: NodeJS.Immediate | undefined;

  let waiting: Job[] = [];
  let scheduled = false;
  let drained: (() => void) | undefined;

  function schedule(delayMs: number): undefined {
    scheduled = true;
    if (delayMs > 0) setTimeout(flush, delayMs);
    else setImmediate(flush);
  }

  function flush(): undefined {
    scheduled = false;
    leaveSnapshot();
    const batch = waiting.splice(0, waiting[0]?.alone ? 1 : maxBatch);
    try {
      begin.run();
      settle(batch);
    } catch (error) {
      if (isBusy(error)) {
        const overdue = performance.now() - lockWaitMs;
        waiting = [...batch.filter(({ since }) => since > overdue), ...waiting];
        for (const job of batch) if (job.since <= overdue) job.reject(failure(error));
        if (waiting.length > 0) return schedule(lockRetryMs);
      } else {
        for (const job of batch) job.reject(failure(error));
      }
    }
    if (waiting.length > 0) schedule(0);
    else drained?.();
  }

  /** Runs and commits the jobs in the transaction that was begun. Where one fails, none is stored and all try alone. */
  function settle(jobs: readonly Job[]): void {
    const started = performance.now();
    const results: unknown[] = [];
    try {
      for (const job of jobs) results.push(run(job.program()));
    } catch (error) {
      if (database.inTransaction) rollback.run();
      if (jobs.length === 1) jobs[0]?.reject(failure(error));
      else waiting = [...jobs.map((job) => ({ ...job, alone: true as const })), ...waiting];
      return;
    }
    try {
      commit.run();
    } catch (error) {
      if (database.inTransaction) rollback.run();
      for (const job of jobs) job.reject(failure(error));
      return;
    }
    telemetry.commit(jobs.length, (performance.now() - started) / 1000);
    for (const [index, job] of jobs.entries()) job.resolve(results[index] as never);
  }

  /**
   * Empties the log of a schema: moves it into the file, whose deleted content `secure_delete` has overwritten. Where
   * another process reads from the log, or the disk is full, it is emptied when that is over.
   */
  function logEmptier(schema: 'main' | 'data') {
    let asked: Promise<void> | undefined;
    let again: NodeJS.Timeout | undefined;
    let emptied = true;

    function isEmptied(): boolean {
      try {
        const [{ busy }] = database.pragma(`${schema}.wal_checkpoint(TRUNCATE)`) as [{ busy: number }];
        return busy === 0;
      } catch {
        return false;
      }
    }
    function empty(): void {
      clearTimeout(again);
      leaveSnapshot();
      emptied = isEmptied();
      if (!emptied) again = setTimeout(empty, scrubRetryMs).unref();
    }
    return {
      isEmpty: () => emptied,
      stop: () => clearTimeout(again),
      ask() {
        asked ??= new Promise((resolve) => {
          // What arrives in one turn shares one look at the log.
          setImmediate(() => {
            asked = undefined;
            resolve(empty());
          });
        });
        return asked;
      },
    };
  }
  const logs = { keys: logEmptier('main'), data: logEmptier('data') };

  const write: SqlDatabase['write'] = (program) =>
    new Promise((resolve, reject) => {
      waiting.push({ program, resolve, reject, since: performance.now() });
      if (!scheduled) schedule(0);
    });

  const opened: SqliteDatabase = {
    dialect: sqliteDialect,

    async read(program) {
      const started = performance.now();
      try {
        openSnapshot();
        return run(program());
      } catch (error) {
        throw failure(error);
      } finally {
        telemetry.read((performance.now() - started) / 1000);
      }
    },

    write,
    // A transaction is shared with others anyway, and of all processes one has it.
    writeEach: write,
    exclusive: write,

    scrub: (part) => logs[part].ask(),
    isScrubbed: (part) => logs[part].isEmpty(),

    async copy(part, file) {
      closeSync(openSync(file, 'wx', 0o600));
      try {
        leaveSnapshot();
        // The published types lack `attached`.
        const options: object = {
          attached: part === 'keys' ? 'main' : 'data',
          // In one step: SQLite begins anew where another process writes between two, and under load never ends.
          progress: () => 0x7fffffff,
        };
        await database.backup(file, options as Database.BackupOptions);
        const written = openSync(file, 'r+');
        fsyncSync(written);
        closeSync(written);
      } catch (error) {
        unlinkSync(file);
        throw failure(error);
      }
    },

    async close() {
      while (scheduled) {
        await new Promise<void>((resolve) => {
          drained = resolve;
        });
        // Whoever waited for one write to begin another has its turn.
        await nextTurn();
      }
      for (const log of Object.values(logs)) log.stop();
      try {
        leaveSnapshot();
        database.pragma('wal_checkpoint(TRUNCATE)');
      } finally {
        database.close();
      }
    },
  };
  try {
    await migrate(opened, migrations);
    return opened;
  } catch (error) {
    await opened.close();
    if (error instanceof DatabaseFailure) {
      throw new Error(`${dataDir}: ${(error.cause as Error).message}`, { cause: error.cause });
    }
    throw error;
  }
}

const pragmas = [
  // Sorting must not spill anything into a temporary file.
  'temp_store = MEMORY',
  'trusted_schema = OFF',
];
const schemaPragmas = [
  'journal_mode = WAL',
  // Syncs the log at every commit: NORMAL may lose the last ones on a power cut.
  'synchronous = FULL',
  // Overwrites what is deleted or replaced, so that destroyed keys do not stay in free pages.
  'secure_delete = ON',
  'cache_size = -32000',
];

/** Switching a new file to WAL needs it alone, and SQLite may refuse that at once, whatever its busy_timeout. */
async function untilFree(work: () => void): Promise<void> {
  const since = Date.now();
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || Date.now() - since > lockWaitMs) throw error;
      await delay(lockRetryMs);
    }
  }
}

const isBusy = (error: unknown): boolean =>
  error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');

/** What SQLite refuses is a failure of the database; anything else is a mistake of ours and stays what it is. */
const failure = (error: unknown): unknown =>
  error instanceof Database.SqliteError ? new DatabaseFailure(error) : error;
