import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Telemetry } from '../../../application/ports/telemetry.ts';
import { drainPollMs, type SqlDatabase } from './database.ts';
import type { Dialect, PostgresLayout } from './dialects.ts';
import { PipelinedPool } from './postgres-pipeline.ts';
import type { SessionPoolOptions } from './postgres-pool.ts';
import { type Replica, watchReplica } from './postgres-replica.ts';
import { inTransaction, runRoutine, type TransactionOptions } from './postgres-transaction.ts';
import type { Target } from './postgres-url.ts';
import { type Part, type Routine, runOnce } from './query.ts';

export interface PostgresOptions {
  /** See `SessionPoolOptions`. */
  readonly url: string;
  /** The database of the keys; absent: they are in the same database as the records. */
  readonly keysUrl?: string;
  /** A replica of the records' database, for short and frequent reads. */
  readonly replicaUrl?: string;
  /** The maximum number of connections to each database. */
  readonly poolSize: number;
  /** How long a query, a lock or a connection may take, in milliseconds. */
  readonly timeoutMs: number;
}

type PostgresTelemetry = Pick<Telemetry, 'commit' | 'read' | 'connectionLost'>;

/** The advisory lock of `exclusive`: "c2a" in ASCII. */
const exclusiveLock = 0x633261;
/** How many times a routine runs before a conflict is an error. Each conflict means that another write succeeded. */
const maxRuns = 50;
/** Added to the client's timeouts, so that the server's expire first: the server's error names the reason. */
const graceMs = 1_000;

/**
 * Opens a PostgreSQL database; further connections are made on demand. Any number of processes may use it. The server's
 * `synchronous_commit` determines how durable commits are.
 *
 * With the keys in a separate database, a write is one transaction in each database, and the keys commit first. After a
 * failed second commit or a crash, there may be a key without a record, or an unfinished erasure.
 *
 * @param dialectOf makes the dialect for the layout that the database has
 */
export async function openPostgres<Tables>(
  dialectOf: (layout: PostgresLayout) => Dialect<Tables>,
  options: PostgresOptions,
  telemetry: PostgresTelemetry,
): Promise<SqlDatabase<Tables>> {
  const pools = openPools(options, () => telemetry.connectionLost());
  try {
    let isCitus = false;
    for (const pool of new Set([pools.data, pools.keys])) {
      const sql = `select 1 from pg_extension where extname = 'citus'`;
      const extensions = await pool.borrow((session) => session.query(sql, options.timeoutMs));
      isCitus ||= extensions.length > 0;
    }
    const layout = { keysApart: pools.keys !== pools.data, isCitus };
    return new Postgres(dialectOf(layout), pools, options.timeoutMs, telemetry);
  } catch (error) {
    await closeAll(pools);
    throw error;
  }
}

/** The pools of both parts: the same one twice if both parts are in one database. */
interface Pools extends Readonly<Record<Part, PipelinedPool>> {
  readonly replica?: PipelinedPool;
}

function openPools(options: PostgresOptions, onLost: () => void): Pools {
  const { url, keysUrl, replicaUrl, poolSize, timeoutMs } = options;
  const settings = settingsFor(options);
  const open = (url: string, target: Target = 'read-write') =>
    new PipelinedPool({ url, poolSize, connectTimeoutMs: timeoutMs, target, settings, onLost });
  const data = open(url);
  const keys = keysUrl === undefined ? data : open(keysUrl);
  return { data, keys, ...(replicaUrl !== undefined && { replica: open(replicaUrl, 'any') }) };
}

const unseen = [
  'dead rows of PostgreSQL (until VACUUM removes them), its log (WAL), replicas and archives: the erased records ' +
    'there can be decrypted only with a key from an old backup of the keys',
];
const unseenOnCitus =
  'what Citus leaves where it copied a table from: on the coordinator until ' +
  'truncate_local_data_after_distributing_table, and on a node whose shard was moved until the shard is cleaned up';

/** The port's methods are fields, so that spreading the object copies them. */
class Postgres<Tables> implements SqlDatabase<Tables> {
  readonly dialect: Dialect<Tables>;
  readonly unseen: readonly string[];
  readonly #telemetry: PostgresTelemetry;
  readonly #pools: Pools;
  readonly #replica: Replica | undefined;
  readonly #exclusive: TransactionOptions;
  readonly #transaction: TransactionOptions;
  /** How long to wait for the answer to a query. */
  readonly #timeoutMs: number;
  #inFlight = 0;

  constructor(dialect: Dialect<Tables>, pools: Pools, timeoutMs: number, telemetry: PostgresTelemetry) {
    this.dialect = dialect;
    this.unseen = dialect.isCitus ? [...unseen, unseenOnCitus] : unseen;
    this.#telemetry = telemetry;
    this.#pools = pools;
    this.#replica = pools.replica && watchReplica(pools.data, pools.replica);
    this.#timeoutMs = timeoutMs + graceMs;
    this.#exclusive = { pools, rollbackTimeoutMs: this.#timeoutMs, isCommitUncertain: dialect.isCitus };
    this.#transaction = { ...this.#exclusive, timeoutMs: this.#timeoutMs };
  }

  read = <Result>(routine: () => Routine<Result>): Promise<Result> => this.#timeRead(() => this.#runEach(routine));

  readShort = <Result>(routine: () => Routine<Result>): Promise<Result> => {
    // On a shared session, a query to a node that does not answer would delay the reads of all tenants.
    if (this.dialect.isCitus) return this.read(routine);
    const readFrom = (records: PipelinedPool) => this.#timeRead(() => this.#runShared(routine, records));
    const replica = this.#replica?.sessions();
    if (replica === undefined) return readFrom(this.#pools.data);
    return readFrom(replica).catch(() => readFrom(this.#pools.data));
  };

  write = <Result>(routine: () => Routine<Result>): Promise<Result> =>
    this.#commit(() => inTransaction(this.#transaction, routine()));

  writeWithoutTransaction = <Result>(routine: () => Routine<Result>): Promise<Result> => {
    // The replica needs the setting `synchronous_commit`, which behind a pooler lasts for one transaction only.
    const needsSettings = this.#replica !== undefined && this.#pools.data.sawPooler;
    // On Citus, a change takes several statements; see `change-writer.ts`.
    return needsSettings || this.dialect.isCitus ? this.write(routine) : this.#commit(() => this.#runEach(routine));
  };

  exclusive = <Result>(routine: () => Routine<Result>): Promise<Result> =>
    this.#commit(() => inTransaction(this.#exclusive, lockedOut(routine, this.dialect.isCitus)));

  // The server manages its log and its dead rows.
  checkpoint = async () => undefined;
  searchCopies = () => ({});
  // Asking the server would cost a round trip.
  epoch = () => undefined;
  isDamaged = () => false;

  close = async (): Promise<void> => {
    while (this.#inFlight > 0) await delay(drainPollMs);
    await this.#replica?.close();
    await closeAll(this.#pools);
  };

  /** Runs a routine without a transaction. */
  #runEach<Result>(routine: () => Routine<Result>): Promise<Result> {
    const { keys, data } = this.#pools;
    if (keys === data) {
      return data.borrow((session) => runRoutine(routine(), (query) => session.execute(query, this.#timeoutMs)));
    }
    // Each query borrows its own session: routines that hold one while they wait for another could block each other.
    return runRoutine(routine(), (query) =>
      this.#pools[query.statement.part].borrow((session) => session.execute(query, this.#timeoutMs)),
    );
  }

  /**
   * Runs a routine without a transaction, on pipelined sessions.
   *
   * @param records the pool for queries of the records: that of the primary or of the replica
   */
  #runShared<Result>(routine: () => Routine<Result>, records: PipelinedPool): Promise<Result> {
    return runRoutine(routine(), (query) => {
      const own = this.#pools[query.statement.part];
      const pool = own === this.#pools.data ? records : own;
      return pool.share((session) => session.execute(query, this.#timeoutMs));
    });
  }

  async #timeRead<Result>(read: () => Promise<Result>): Promise<Result> {
    const started = performance.now();
    this.#inFlight += 1;
    try {
      return await read();
    } finally {
      this.#inFlight -= 1;
      this.#telemetry.read((performance.now() - started) / 1000);
    }
  }

  /** Runs a write, and repeats it after each conflict with another writer. */
  async #commit<Result>(write: () => Promise<Result>): Promise<Result> {
    const started = performance.now();
    this.#inFlight += 1;
    try {
      const result = await withRetries(write);
      this.#telemetry.commit(1, (performance.now() - started) / 1000);
      return result;
    } finally {
      this.#inFlight -= 1;
    }
  }
}

async function closeAll(pools: Pools): Promise<void> {
  for (const pool of new Set<PipelinedPool>(Object.values(pools))) await pool.close();
}

async function withRetries<Result>(write: () => Promise<Result>): Promise<Result> {
  for (let run = 1; ; run += 1) {
    try {
      return await write();
    } catch (error) {
      if (!isConflict(error)) throw error;
      if (run === maxRuns) {
        throw new DatabaseFailure(new Error(`gave up after ${maxRuns} write conflicts`, { cause: error }));
      }
    }
  }
}

/** Runs the routine under the advisory lock, without timeouts, as migrations may rewrite tables. */
function* lockedOut<Result>(routine: () => Routine<Result>, isCitus: boolean): Routine<Result> {
  // The records first, as in every transaction.
  for (const part of ['data', 'keys'] as const) {
    const settings = "select set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)";
    yield* runOnce({ sql: settings, part });
    yield* runOnce({ sql: `select pg_advisory_xact_lock(${exclusiveLock})`, part });
    // Citus otherwise refuses DDL after other statements of a transaction that used several connections to a node.
    if (isCitus) yield* runOnce({ sql: "set local citus.multi_shard_modify_mode = 'sequential'", part });
  }
  return yield* routine();
}

const settingsFor = ({ timeoutMs, replicaUrl }: PostgresOptions): SessionPoolOptions['settings'] => [
  ['statement_timeout', timeoutMs],
  ['lock_timeout', timeoutMs],
  // Applies to exclusive transactions too: other processes must not wait for a suspended process.
  ['idle_in_transaction_session_timeout', timeoutMs + graceMs],
  // An acknowledged write is visible on the replica; see `postgres-replica.ts`.
  ...(replicaUrl === undefined ? [] : [['synchronous_commit', 'remote_apply'] as const]),
];

/** Serialization failure, deadlock, and unique violation (another writer inserted the value after the lookup). */
const conflictCodes = new Set(['40001', '40P01', '23505']);

const isConflict = (error: unknown): boolean =>
  error instanceof DatabaseFailure && error.cause instanceof DatabaseError && conflictCodes.has(error.cause.code ?? '');
