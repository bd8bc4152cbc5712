import { setImmediate as nextTurn } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Telemetry } from '../../../application/ports/telemetry.ts';
import { type Part, parts } from '../schema/tables.ts';
import type { SqlDatabase } from './database.ts';
import { partOfStatement, postgresApartDialect, postgresDialect } from './dialects.ts';
import { type Loan, openSessions, type Session, type Sessions, type Target } from './postgres-pool.ts';
import { watchReplica } from './postgres-replica.ts';
import type { BoundQuery, CompiledQuery, Routine, SqlRow } from './query.ts';

export interface PostgresOptions {
  /** See `SessionOptions`. */
  readonly url: string;
  /** Of the database of the keys, where they have one of their own. */
  readonly keysUrl?: string;
  /** Of a replica of the records' database, which answers what callers ask for most. */
  readonly replicaUrl?: string;
  /** Connections to each database at most. */
  readonly poolSize: number;
  /** How long a statement, a lock or a connection may take. */
  readonly timeoutMs: number;
}

/** How often a program is started where others have come between. Each time one of the others has succeeded. */
const maxStarts = 50;
/** The lock of `exclusive`: "c2a" in ASCII. */
const exclusiveLock = 0x633261;
/** The server should give up first: it says why. */
const graceMs = 1_000;

/**
 * A PostgreSQL database, to which connections are made as they are needed. Any number of processes may use it. A commit is
 * durable by the server's own settings (`synchronous_commit`), and commits that arrive together share a sync.
 *
 * Where the keys have a database of their own, a transaction is one on each, and the keys are committed first. If the records
 * then fail, there is a key without a record, or an erasure that is not applied yet: both are what a crash may leave, and are
 * mended like that.
 */
export function openPostgres(
  { url, keysUrl, replicaUrl, poolSize, timeoutMs }: PostgresOptions,
  telemetry: Pick<Telemetry, 'commit' | 'read' | 'connectionLost'>,
): SqlDatabase {
  const settings = {
    statement_timeout: `${timeoutMs}`,
    lock_timeout: `${timeoutMs}`,
    idle_in_transaction_session_timeout: `${timeoutMs + graceMs}`,
    // What is acknowledged is visible on the replica; see `postgres-replica.ts`.
    ...(replicaUrl !== undefined && { synchronous_commit: 'remote_apply' }),
  };
  const open = (url: string, target: Target = 'read-write'): Sessions =>
    openSessions({ url, poolSize, connectTimeoutMs: timeoutMs, target, settings, onLost: telemetry.connectionLost });
  const records = open(url);
  const keys = keysUrl === undefined ? records : open(keysUrl);
  const isApart = keys !== records;
  const replica = replicaUrl === undefined ? undefined : watchReplica(records, open(replicaUrl, 'any'));

  /** For sessions that keep no settings. */
  const local = Object.entries(settings).map(([name, value]) => `set local ${name} = '${value}'`);
  const begin = ({ isPooled }: Session) => (isPooled ? ['begin', ...local].join('; ') : 'begin');
  // Whatever it takes: migrations rewrite tables, and others wait until they are done. Only silence is limited, so that nobody
  // waits for a process that was stopped.
  const beginExclusive = (session: Session) =>
    `${begin(session)}; set local statement_timeout = 0; set local lock_timeout = 0; select pg_advisory_xact_lock(${exclusiveLock})`;

  const names = new WeakMap<CompiledQuery, string>();
  let named = 0;
  function nameOf(statement: CompiledQuery): string {
    let name = names.get(statement);
    if (name === undefined) {
      named += 1;
      name = `c2a_${named}`;
      names.set(statement, name);
    }
    return name;
  }

  /** How a statement comes to a part: `use` gets a session of it. */
  type Way = <Result>(part: Part, use: (session: Session) => Promise<Result>) => Promise<Result>;

  function execute(
    session: Session,
    { statement, values }: BoundQuery,
    timeoutMs?: number,
  ): Promise<readonly SqlRow[]> {
    const { sql: text, once, gives } = statement;
    const name = once || session.isPooled ? undefined : nameOf(statement);
    return session.query({ text, values, ...(name && { name }), counts: gives === 'count' }, timeoutMs);
  }

  async function run<Result>(way: Way, program: Routine<Result>, timeoutMs?: number): Promise<Result> {
    let step = program.next();
    while (!step.done) {
      const bound = step.value;
      const part = isApart ? partOfStatement(bound.statement.sql) : 'data';
      step = program.next(await way(part, (session) => execute(session, bound, timeoutMs)));
    }
    return step.value;
  }

  async function transaction<Result>(
    program: () => Routine<Result>,
    begin: (session: Session) => string,
    timeoutMs?: number,
  ): Promise<Result> {
    const lent = new Map<Part, Loan>();
    const begun = new Map<Part, Session>();
    async function borrow(part: Part, from: Sessions): Promise<Session> {
      const loan = lent.get(part) ?? (await from.lend());
      lent.set(part, loan);
      return loan.session;
    }
    async function to(part: Part): Promise<Session> {
      // Whoever has a session with the keys has one with the records: else each could wait for the other's.
      const data = await borrow('data', records);
      const session = part === 'data' ? data : await borrow('keys', keys);
      if (!begun.has(part)) {
        begun.set(part, session);
        await session.query({ text: begin(session) });
      }
      return session;
    }
    try {
      // The records first: the lock of `exclusive` is there.
      if (begin === beginExclusive) await to('data');
      const result = await run(async (part, use) => use(await to(part)), program(), timeoutMs);
      for (const part of parts) await begun.get(part)?.query({ text: 'commit' }, timeoutMs);
      return result;
    } catch (error) {
      // Whoever gets these sessions next must not be in a transaction: not in one that could not be begun or committed
      // either. After a commit this does nothing. A broken one is closed, and its transaction ends with it.
      for (const session of begun.values()) {
        if (!session.isBroken) await session.query({ text: 'rollback' }, within).catch(() => undefined);
      }
      throw error;
    } finally {
      for (const loan of lent.values()) loan.giveBack();
    }
  }

  let running = 0;
  let drained: (() => void) | undefined;
  async function counted<Result>(work: () => Promise<Result>): Promise<Result> {
    running += 1;
    try {
      return await work();
    } finally {
      running -= 1;
      if (running === 0) drained?.();
    }
  }

  /** Runs a program in a way, again where others have come between, and tells how long it took. */
  async function commit<Result>(way: () => Promise<Result>): Promise<Result> {
    const started = performance.now();
    for (let start = 1; ; start += 1) {
      try {
        const result = await counted(way);
        telemetry.commit(1, (performance.now() - started) / 1000);
        return result;
      } catch (error) {
        if (start === maxStarts || !isCollision(error)) throw error;
      }
    }
  }

  const within = timeoutMs + graceMs;
  /** Without a transaction. Of two databases each statement gets a session anew, so that none is held while one is waited for. */
  const each = <Result>(program: () => Routine<Result>) =>
    isApart
      ? run((part, use) => (part === 'keys' ? keys : records).borrow(use), program(), within)
      : records.borrow((session) => run((_, use) => use(session), program(), within));
  /** For what only reads and is quick: each statement by a session that others use too. */
  const quick = <Result>(program: () => Routine<Result>, from: Sessions) =>
    run((part, use) => (part === 'keys' ? keys : from).share(use), program(), within);
  async function read<Result>(work: () => Promise<Result>): Promise<Result> {
    const started = performance.now();
    try {
      return await counted(work);
    } finally {
      telemetry.read((performance.now() - started) / 1000);
    }
  }

  return {
    dialect: isApart ? postgresApartDialect : postgresDialect,

    read: (program) => read(() => each(program)),
    readShort(program) {
      const current = replica?.sessions();
      const ofPrimary = () => read(() => quick(program, records));
      // Where the replica fails, the primary knows.
      return current === undefined ? ofPrimary() : read(() => quick(program, current)).catch(ofPrimary);
    },

    write: (program) => commit(() => transaction(program, begin, within)),
    // A session that keeps no settings has them in a transaction alone.
    writeWithoutTransaction: (program) =>
      commit(() => (replica && records.arePooled() ? transaction(program, begin, within) : each(program))),
    exclusive: (program) => commit(() => transaction(program, beginExclusive)),

    // What the server keeps of deleted rows is not ours to see or to wipe.
    checkpoint: async () => undefined,
    retryCheckpoint: async () => undefined,
    searchCopies: () => ({}),
    // To ask would be a trip of its own.
    epoch: () => undefined,
    isDamaged: () => false,
    unseen: [
      'dead rows of PostgreSQL until they are vacuumed, its log (WAL), replicas and archives: what was sealed in them opens ' +
        'under no key that is left, save one in an old copy of the keys',
    ],

    async close() {
      while (running > 0) {
        await new Promise<void>((resolve) => {
          drained = resolve;
        });
        // Whoever waited for one write to begin another has its turn.
        await nextTurn();
      }
      await replica?.close();
      await records.close();
      if (isApart) await keys.close();
    },
  };
}

/** Serialisation failure, deadlock, and a unique value that was taken since it was looked for: what others did decides anew. */
const collisions = new Set(['40001', '40P01', '23505']);

const isCollision = (error: unknown): boolean =>
  error instanceof DatabaseFailure && error.cause instanceof DatabaseError && collisions.has(error.cause.code ?? '');
