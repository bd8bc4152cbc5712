import { setImmediate as nextTurn } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { DatabaseFailure, type Telemetry } from '../../application/ports.ts';
import type { SqlDatabase } from './database.ts';
import { postgresDialect } from './dialects.ts';
import { openSessions, type Session } from './postgres-sessions.ts';
import type { Bound, Program, SqlRow, Statement } from './statement.ts';

export interface PostgresOptions {
  /** See `SessionOptions`. */
  readonly url: string;
  /** Connections at most. */
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
 */
export function openPostgres(
  { url, poolSize, timeoutMs }: PostgresOptions,
  telemetry: Pick<Telemetry, 'commit' | 'read' | 'connectionLost'>,
): SqlDatabase {
  const settings = {
    statement_timeout: `${timeoutMs}`,
    lock_timeout: `${timeoutMs}`,
    idle_in_transaction_session_timeout: `${timeoutMs + graceMs}`,
  };
  const sessions = openSessions({
    url,
    poolSize,
    connectTimeoutMs: timeoutMs,
    target: 'read-write',
    settings,
    onLost: telemetry.connectionLost,
  });
  /** For sessions that keep no settings. */
  const local = Object.entries(settings).map(([name, value]) => `set local ${name} = '${value}'`);
  const beginPooled = ['begin', ...local].join('; ');
  // Whatever it takes: migrations rewrite tables, and others wait until they are done.
  const beginExclusive = `begin; set local statement_timeout = 0; set local lock_timeout = 0;
    set local idle_in_transaction_session_timeout = 0; select pg_advisory_xact_lock(${exclusiveLock})`;

  const names = new WeakMap<Statement, string>();
  let named = 0;
  function nameOf(statement: Statement): string {
    let name = names.get(statement);
    if (name === undefined) {
      named += 1;
      name = `c2a_${named}`;
      names.set(statement, name);
    }
    return name;
  }

  function execute(session: Session, { statement, values }: Bound, timeoutMs?: number): Promise<readonly SqlRow[]> {
    const { sql: text, once } = statement;
    const name = once || session.isPooled ? undefined : nameOf(statement);
    return session.query({ text, values, ...(name && { name }) }, timeoutMs);
  }

  async function run<Result>(session: Session, program: Program<Result>, timeoutMs?: number): Promise<Result> {
    let step = program.next();
    while (!step.done) step = program.next(await execute(session, step.value, timeoutMs));
    return step.value;
  }

  async function transaction<Result>(
    session: Session,
    program: () => Program<Result>,
    begin: string,
    timeoutMs?: number,
  ): Promise<Result> {
    await session.query({ text: begin });
    let result: Result;
    try {
      result = await run(session, program(), timeoutMs);
    } catch (error) {
      // Where this fails too, the connection is gone, and the transaction with it.
      await session.query({ text: 'rollback' }, timeoutMs).catch(() => undefined);
      throw error;
    }
    await session.query({ text: 'commit' }, timeoutMs);
    return result;
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
  async function commit<Result>(way: (session: Session) => Promise<Result>): Promise<Result> {
    const started = performance.now();
    for (let start = 1; ; start += 1) {
      try {
        const result = await counted(() => sessions.borrow(way));
        telemetry.commit(1, (performance.now() - started) / 1000);
        return result;
      } catch (error) {
        if (start === maxStarts || !isCollision(error)) throw error;
      }
    }
  }

  const within = timeoutMs + graceMs;
  return {
    dialect: postgresDialect,

    async read(program) {
      const started = performance.now();
      try {
        return await counted(() => sessions.borrow((session) => run(session, program(), within)));
      } finally {
        telemetry.read((performance.now() - started) / 1000);
      }
    },

    write: (program) =>
      commit((session) => transaction(session, program, session.isPooled ? beginPooled : 'begin', within)),
    writeEach: (program) => commit((session) => run(session, program(), within)),
    exclusive: (program) => commit((session) => transaction(session, program, beginExclusive)),

    // What the server keeps of deleted rows is not ours to see or to wipe.
    scrub: async () => undefined,
    findInCopies: () => ({}),
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
      await sessions.close();
    },
  };
}

/** Serialisation failure, deadlock, and a unique value that was taken since it was looked for: what others did decides anew. */
const collisions = new Set(['40001', '40P01', '23505']);

const isCollision = (error: unknown): boolean =>
  error instanceof DatabaseFailure && error.cause instanceof DatabaseError && collisions.has(error.cause.code ?? '');
