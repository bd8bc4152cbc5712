import { closeSync, fsyncSync, openSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Telemetry } from '../../../application/ports/telemetry.ts';
import { wipe } from '../../files.ts';
import type { Part } from '../schema/tables.ts';
import { copyMark } from '../schema/tables.ts';
import type { SqlDatabase } from './database.ts';
import { sqliteDialect } from './dialects.ts';
import type { BoundQuery, CompiledQuery, Routine, SqlRow } from './query.ts';

export interface SqliteDatabase extends SqlDatabase {
  /**
   * Writes a consistent copy of a part to a new file (mode 0600, synced), without stopping writers. It is written anew row
   * by row: nothing that was deleted is in its gaps.
   */
  copy(part: Part, file: string): Promise<void>;
  /** Rewrites the file of the records, so that nothing is left in its gaps. Writers wait meanwhile. */
  compact(): Promise<void>;
  /** Lets go of the file of the records, which is then whole by itself. The keys stay ours until `close`. */
  detachRecords(): void;
}

export interface SqliteOptions {
  /** Whether files are made where there are none; else that is an error. */
  readonly mayCreate: boolean;
  readonly files: Readonly<Record<Part, string>>;
  /** Whether nobody else may have the files open, now and until `close`. */
  readonly isExclusive?: boolean;
}

export const inUse = 'a server or another command has the data open: stop it first';

/** The two files of a data folder. */
export const sqliteFiles = (dataDir: string): Record<Part, string> => ({
  keys: join(dataDir, 'keys.db'),
  data: join(dataDir, 'customers.db'),
});

/** Copies of a file that a restore has put aside, or left where it was interrupted. */
const putAside = (file: string): string[] =>
  readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${basename(file)}.`) && /\.(replaced-.+|restoring)$/.test(name))
    .filter((name) => !/-(wal|shm|journal)$/.test(name))
    .map((name) => join(dirname(file), name));

/** How many writes share a transaction at most: beyond this, waiting costs more than the sync that is saved. */
const maxBatch = 256;
/** How long a write waits for others while requests keep coming, in times of what a commit takes. */
const patience = 6;
/** One commit that took very long must not make the next one late. */
const maxPatienceMs = 10;
/** How long a write waits for another process that writes. */
const lockWaitMs = 5_000;
const lockRetryMs = 5;
const scrubRetryMs = 100;
/** How long damage that was met keeps the database from being called ready: who asks for it meets it again. */
const damageRememberedMs = 10_000;
/** SQLite itself waits this long, and blocks the process while it does. */
const busyTimeoutMs = 20;

interface Job {
  readonly program: () => Routine<unknown>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  /** When it arrived, in milliseconds of the process. */
  readonly since: number;
  /** Set where the job's batch failed: it then gets a transaction of its own. */
  alone?: true;
}

/**
 * Opens the SQLite files of a deployment, and makes them where there are none (mode 0600). The keys have a file of their
 * own, so that a copy of the records is not a copy of what opens them.
 *
 * Every commit is synced to disk (`synchronous=FULL`). To make that cheap, writes that arrive together share one
 * transaction, each keeping its own answer; while requests keep coming, they wait a little for more. Several processes may
 * use the same files.
 */
export async function openSqlite(
  { files, mayCreate, isExclusive = false }: SqliteOptions,
  telemetry: Pick<Telemetry, 'commit' | 'read'>,
): Promise<SqliteDatabase> {
  // Where a folder may not be looked into, that is what is wrong, and not that nothing is there.
  const stat = (file: string) => statSync(file, { throwIfNoEntry: false });
  const has = (file: string) => (stat(file)?.size ?? 0) > 0;
  if (stat(files.data) === undefined && has(files.keys)) {
    throw new Error(`${files.data} is missing, though there are keys for it: put it back, or restore a backup`);
  }
  if (has(files.data) && !has(files.keys)) {
    throw new Error(`${files.keys} is missing, without which ${files.data} cannot be read: put it back`);
  }
  if (!mayCreate && stat(files.data) === undefined) throw new Error(`there is no data in ${dirname(files.data)}`);
  // SQLite gives its own files (WAL, shared memory) the mode of the main file.
  for (const file of Object.values(files)) closeSync(openSync(file, 'a', 0o600));
  const database = new Database(files.keys, { timeout: isExclusive ? 0 : lockWaitMs });
  try {
    for (const pragma of pragmas) database.pragma(pragma);
    // The keys are the main file: a commit over both files syncs it first. And it is opened first, so that whoever holds
    // it for a restore has the records for itself.
    if (isExclusive) database.pragma('main.locking_mode = EXCLUSIVE');
    for (const pragma of schemaPragmas) await untilFree(() => database.pragma(`main.${pragma}`), isExclusive);
    if (isExclusive) database.exec('BEGIN EXCLUSIVE; COMMIT');
    database.prepare('ATTACH ? AS data').run(files.data);
    for (const pragma of schemaPragmas) await untilFree(() => database.pragma(`data.${pragma}`), isExclusive);
    database.pragma(`busy_timeout = ${busyTimeoutMs}`);
  } catch (error) {
    database.close();
    if (isExclusive && isBusy(error)) {
      throw new Error(inUse, { cause: error });
    }
    if (error instanceof Database.SqliteError) {
      throw new Error(`${dirname(files.keys)}: ${error.message} (${error.code})`, { cause: error });
    }
    throw error;
  }

  // What is written to a file that was removed, or has another in its place, is lost with this process.
  const inodes = Object.values(files).map((file) => [file, statSync(file).ino] as const);
  const areInPlace = () => inodes.every(([file, inode]) => stat(file)?.ino === inode);

  // Damage is not seen by those who find their pages in memory: it is remembered.
  let damagedAt = Number.NEGATIVE_INFINITY;
  /** What SQLite refuses is a failure of the database; anything else is a mistake of ours and stays what it is. */
  function failure(error: unknown): unknown {
    if (!(error instanceof Database.SqliteError)) return error;
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) damagedAt = performance.now();
    return new DatabaseFailure(error);
  }

  const prepared = new WeakMap<CompiledQuery, Database.Statement<unknown[], SqlRow>>();
  const begin = database.prepare('BEGIN IMMEDIATE');
  const beginRead = database.prepare('BEGIN');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');

  function execute({ statement, values }: BoundQuery): readonly SqlRow[] {
    let ready = prepared.get(statement);
    if (ready === undefined) {
      ready = database.prepare<unknown[], SqlRow>(statement.sql);
      prepared.set(statement, ready);
    }
    if (statement.gives === 'one') {
      const row = ready.get(...values);
      return row === undefined ? [] : [row];
    }
    if (ready.reader) return ready.all(...values);
    const { changes } = ready.run(...values);
    return statement.gives === 'count' ? [{ count: changes }] : [];
  }

  function run<Result>(program: Routine<Result>): Result {
    let step = program.next();
    while (!step.done) step = program.next(execute(step.value));
    return step.value;
  }

  /**
   * Reads that are asked for together (see `http/stages.ts`) share a snapshot: taking and leaving one costs system calls on
   * both files, more than a read itself. It is left when they are done, before anything else happens in this process: whoever
   * was told of a write, by whichever process, and asks then, sees it.
   */
  function openSnapshot(): void {
    if (isSnapshotOpen) return;
    isBusyTurn = true;
    beginRead.run();
    isSnapshotOpen = true;
    process.nextTick(leaveSnapshot);
    const versions = dataVersions.map((version) => version.get());
    if (versions.some((version, index) => version !== seenVersions[index])) epoch += 1;
    seenVersions = versions;
  }
  function leaveSnapshot(): void {
    if (!isSnapshotOpen) return;
    isSnapshotOpen = false;
    // Nothing was written, so there is nothing to keep; and this cannot fail, as a commit may on a damaged file.
    if (database.inTransaction) rollback.run();
  }
  let isSnapshotOpen = false;
  /** Of each file; they change with what other connections commit. */
  const dataVersions = ['main', 'data'].map((schema) => database.prepare(`PRAGMA ${schema}.data_version`).pluck());
  let seenVersions: readonly unknown[] = [];
  let epoch = 0;

  let waiting: Job[] = [];
  let scheduled = false;
  let drained: (() => void) | undefined;

  function schedule(delayMs: number): undefined {
    scheduled = true;
    if (delayMs > 0) setTimeout(flush, delayMs);
    else setImmediate(flushWhenQuiet);
  }

  /** A turn that brings requests is likely followed by another: it may bring more to share the commit. */
  function flushWhenQuiet(): undefined {
    const waitedMs = performance.now() - (waiting[0]?.since ?? 0);
    const patienceMs = Math.min(patience * Math.min(...lastCommitsMs), maxPatienceMs);
    const isWorthWaiting = isBusyTurn && waiting.length < maxBatch && waitedMs < patienceMs;
    isBusyTurn = false;
    if (isWorthWaiting) setImmediate(flushWhenQuiet);
    else flush();
  }
  /** Whether something was read or written in this turn of the event loop. */
  let isBusyTurn = false;
  /** What the last two commits took. Now and then one also moves the log into the file, which says nothing of the next. */
  let lastCommitsMs: readonly [number, number] = [0, 0];

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
    const tookMs = performance.now() - started;
    lastCommitsMs = [tookMs, lastCommitsMs[0]];
    telemetry.commit(jobs.length, tookMs / 1000);
    for (const [index, job] of jobs.entries()) job.resolve(results[index] as never);
  }

  /**
   * Empties the log of a schema: moves it into the file, whose deleted content `secure_delete` has overwritten. Where
   * another process reads from the log, or the disk is full, it is emptied when that is over.
   */
  function logEmptier(schema: 'main' | 'data') {
    let asked: Promise<boolean> | undefined;
    let again: NodeJS.Timeout | undefined;

    function isEmptied(): boolean {
      try {
        const [{ busy }] = database.pragma(`${schema}.wal_checkpoint(TRUNCATE)`) as [{ busy: number }];
        return busy === 0;
      } catch {
        return false;
      }
    }
    function empty(untilDone: boolean): boolean {
      leaveSnapshot();
      const isEmpty = isEmptied();
      if (isEmpty || untilDone) clearTimeout(again);
      if (!isEmpty && untilDone) again = setTimeout(empty, scrubRetryMs, true).unref();
      return isEmpty;
    }
    return {
      stop: () => clearTimeout(again),
      ask() {
        asked ??= new Promise((resolve) => {
          // What arrives in one turn shares one look at the log.
          setImmediate(() => {
            asked = undefined;
            resolve(empty(true));
          });
        });
        return asked;
      },
      askOnce: () => empty(false),
    };
  }
  const logs = { keys: logEmptier('main'), data: logEmptier('data') };

  const write: SqlDatabase['write'] = (program) =>
    new Promise((resolve, reject) => {
      isBusyTurn = true;
      waiting.push({ program, resolve, reject, since: performance.now() });
      if (!scheduled) schedule(0);
    });

  function readNow<Result>(program: () => Routine<Result>): Result {
    const started = performance.now();
    try {
      openSnapshot();
      return run(program());
    } catch (error) {
      throw failure(error);
    } finally {
      telemetry.read((performance.now() - started) / 1000);
    }
  }

  const opened: SqliteDatabase = {
    dialect: sqliteDialect,
    read: async (program) => readNow(program),
    readShort: readNow,

    write,
    // A transaction is shared with others anyway, and of all processes one has it.
    writeWithoutTransaction: write,
    exclusive: write,

    epoch() {
      try {
        openSnapshot();
        return epoch;
      } catch {
        // Whoever asks the database then hears of it.
        return undefined;
      }
    },

    checkpoint: (part) => logs[part].ask(),
    async retryCheckpoint() {
      logs.keys.askOnce();
    },

    searchCopies: (tenant, number) => ({
      ...findIn(putAside(files.data), 'customers WHERE anonymized_at IS NULL AND', tenant, number),
      ...findIn(putAside(files.keys), 'data_keys WHERE', tenant, number),
    }),

    unseen: [
      'unused gaps in the pages of customers.db, which may hold a blind index until the file is rewritten (c2a compact)',
      'copies that were made of the files: backups, snapshots, replicas',
    ],

    isDamaged: () => performance.now() - damagedAt < damageRememberedMs || !areInPlace(),

    async copy(part, file) {
      // An empty file is one that SQLite may write to, and it keeps its mode.
      closeSync(openSync(file, 'wx', 0o600));
      try {
        leaveSnapshot();
        database.prepare(`VACUUM ${part === 'keys' ? 'main' : 'data'} INTO ?`).run(resolve(file));
        if (part === 'keys') markAsCopy(file);
        const written = openSync(file, 'r+');
        fsyncSync(written);
        closeSync(written);
      } catch (error) {
        wipe(file);
        throw failure(error);
      }
    },

    async compact() {
      leaveSnapshot();
      try {
        await untilFree(() => database.exec('VACUUM data'), false);
        await untilFree(() => {
          const [{ busy }] = database.pragma('data.wal_checkpoint(TRUNCATE)') as [{ busy: number }];
          if (busy !== 0)
            throw new Database.SqliteError('another process reads from the log: run it again', 'SQLITE_BUSY');
        }, false);
      } catch (error) {
        throw failure(error);
      }
    },

    detachRecords() {
      leaveSnapshot();
      database.pragma('data.journal_mode = DELETE');
      database.exec('DETACH data');
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
      leaveSnapshot();
      // SQLite writes the logs back into the files with the last connection. Where it cannot, they are read at the next start.
      database.close();
    },
  };
  return opened;
}

/** Whoever begins to work with a copy of the keys has to know that it is one, and how old it is; see `takeUpCopy`. */
function markAsCopy(file: string): void {
  const copy = new Database(file);
  try {
    copy.prepare('INSERT OR REPLACE INTO sequences (name, last) VALUES (?, ?)').run(copyMark, Date.now());
  } finally {
    copy.close();
  }
}

/** How often a customer is found in each of these copies, which may be damaged. @param where what of a query follows FROM */
const findIn = (copies: readonly string[], where: string, tenant: string, number: number) =>
  Object.fromEntries(
    copies.map((copy): [string, number | undefined] => {
      let database: Database.Database | undefined;
      try {
        database = new Database(copy, { readonly: true });
        const count = database.prepare(`SELECT count(*) FROM ${where} tenant = ? AND number = ?`).pluck();
        return [basename(copy), count.get(tenant, number) as number];
      } catch (error) {
        if (!(error instanceof Database.SqliteError)) throw error;
        return [basename(copy), undefined];
      } finally {
        database?.close();
      }
    }),
  );

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
async function untilFree(work: () => void, isExclusive: boolean): Promise<void> {
  const since = isExclusive ? 0 : Date.now();
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
