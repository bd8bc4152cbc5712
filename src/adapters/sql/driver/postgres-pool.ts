import { Client, DatabaseError, Pool, type PoolClient, types } from 'pg';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { SqlRow } from './query.ts';

interface Asked {
  readonly text: string;
  readonly name?: string;
  readonly values?: readonly unknown[];
  readonly counts?: boolean;
}

/** A connection to a server, on loan. */
export interface Session {
  /**
   * The rows of a statement, or how many they are as a row `{ count }`; one with a `name` is prepared once for the
   * connection. Throws `DatabaseFailure`.
   * @param timeoutMs how long to wait for an answer; absent: as long as it takes
   */
  query(statement: Asked, timeoutMs?: number): Promise<readonly SqlRow[]>;
  /**
   * Whether a pooler in between (PgBouncer, …) may give each transaction another connection to the server, on which
   * nothing can be left: no setting, no prepared statement.
   */
  readonly isPooled: boolean;
  /** Whether it is of no use any more: it is closed when it is given back. */
  readonly isBroken: boolean;
}

export interface SessionOptions {
  /** `postgres://user:password@host:5432/database`; several hosts, TLS and more as libpq has them in its URLs. */
  readonly url: string;
  /** Connections at most. */
  readonly poolSize: number;
  /** How long a connection may take, free or new. */
  readonly connectTimeoutMs: number;
  /** Which server will do, unless the URL says (`target_session_attrs`). */
  readonly target: Target;
  /** Settings of every session that is not pooled. */
  readonly settings: Readonly<Record<string, string>>;
  /** Hears of a connection that was lost while nobody used it. */
  readonly onLost: () => void;
}

export interface Sessions {
  /** Lends a session for as long as `use` takes. */
  borrow<Result>(use: (session: Session) => Promise<Result>): Promise<Result>;
  /**
   * Lends a session that others have at the same time, whose statements go to the server one behind the other without
   * waiting for each other's answers (pipelining): for what only reads and is quick, as one that takes long holds up the
   * others. Where the connection is lost, `use` is called again with a session of its own. Behind a pooler, and where there is
   * but one connection, the same as `borrow`.
   */
  share<Result>(use: (session: Session) => Promise<Result>): Promise<Result>;
  /** Lends a session until it is given back. */
  lend(): Promise<Loan>;
  /** Whether a pooler was seen in between; see `Session`. */
  arePooled(): boolean;
  /** Closes all. Nothing may be on loan. */
  close(): Promise<void>;
}

export interface Loan {
  readonly session: Session;
  /** One that is broken, or of no use any more, is closed. */
  giveBack(): void;
}

/** Which server a session may be with, in the words of libpq. */
const targets = {
  any: () => true,
  'read-write': ({ standby, readOnly }: Server) => !standby && !readOnly,
  primary: ({ standby }: Server) => !standby,
  'read-only': ({ standby, readOnly }: Server) => standby || readOnly,
  standby: ({ standby }: Server) => standby,
} as const;
export type Target = keyof typeof targets;
interface Server {
  readonly standby: boolean;
  readonly readOnly: boolean;
  readonly pid: number;
}

const describeServer = `select pg_is_in_recovery() as standby,
  current_setting('default_transaction_read_only') = 'on' as "readOnly", pg_backend_pid() as pid`;

/**
 * A bounded pool of connections to one of the hosts of a URL. Where that host is gone, or is no longer what is asked for,
 * new connections go to the next.
 */
export function openSessions(options: SessionOptions): Sessions {
  const { poolSize, connectTimeoutMs, settings, onLost } = options;
  const { urls, target = options.target } = parseUrl(options.url);
  const known = new WeakMap<object, LentSession>();
  let current = 0;
  let sawPooler = false;

  /** A connection to the host that is in use when it is made. */
  class CurrentClient extends Client {
    constructor({ pipeline = false }: { readonly pipeline?: boolean } = {}) {
      super({
        connectionString: urls[current] as string,
        pipeline,
        fallback_application_name: 'c2a-customers',
        keepAlive: true,
        types: { getTypeParser: numbersAsNumbers },
      });
      // The pool listens only to those that nobody uses; an event that nobody hears would end the process.
      this.on('error', (error) => known.get(this)?.breakOff(error));
    }
  }

  async function prepareSession(client: Client): Promise<void> {
    const [server] = (await client.query<Server>(describeServer)).rows as [Server];
    if (!targets[target](server)) throw new Error(`the server is not ${target}`);
    // A pooler gives out numbers of its own.
    const isPooled = (client as Client & { processID: number }).processID !== server.pid;
    known.set(client, new LentSession(client, isPooled));
    sawPooler ||= isPooled;
    if (isPooled || Object.keys(settings).length === 0) return;
    const calls = Object.keys(settings).map((name, index) => `set_config('${name}', $${index + 1}, false)`);
    await client.query(`select ${calls.join(', ')}`, Object.values(settings));
  }

  function openPool(max: number, pipeline: boolean): Pool {
    const pool = new Pool({
      Client: CurrentClient as new () => Client,
      max,
      pipeline,
      connectionTimeoutMillis: connectTimeoutMs,
      idleTimeoutMillis: 60_000,
      onConnect: (client) => prepareSession(client as Client),
    });
    pool.on('error', onLost);
    return pool;
  }
  const shared = poolSize > 1 ? openPool(1, true) : undefined;
  const own = openPool(shared ? poolSize - 1 : poolSize, false);

  async function connect(pool: Pool): Promise<PoolClient> {
    for (let tried = 1; ; tried += 1) {
      const host = current;
      try {
        return await pool.connect();
      } catch (error) {
        if (tried === urls.length || isExhausted(error)) throw new DatabaseFailure(error);
        if (current === host) current = (current + 1) % urls.length;
      }
    }
  }

  async function lend(pool = own): Promise<Loan & { readonly session: LentSession }> {
    const client = await connect(pool);
    const session = known.get(client) as LentSession;
    return { session, giveBack: () => client.release(session.broken) };
  }

  async function borrow<Result>(use: (session: Session) => Promise<Result>): Promise<Result> {
    const { session, giveBack } = await lend();
    try {
      return await use(session);
    } finally {
      giveBack();
    }
  }

  /** The session that is shared, from when somebody needs one until it is broken. */
  let sharing: ReturnType<typeof lend> | undefined;
  function letGo(of: typeof sharing): boolean {
    if (sharing !== of) return false;
    sharing = undefined;
    return true;
  }
  async function share<Result>(use: (session: Session) => Promise<Result>): Promise<Result> {
    if (shared === undefined || sawPooler) return borrow(use);
    sharing ??= lend(shared);
    const mine = sharing;
    const { session, giveBack } = await mine.catch((error) => {
      letGo(mine);
      throw error;
    });
    try {
      if (!session.isPooled && session.broken === undefined) return await use(session);
    } catch (error) {
      if (session.broken === undefined) throw error;
    }
    if (letGo(mine)) giveBack();
    return borrow(use);
  }

  return {
    lend: () => lend(),
    borrow,
    share,
    arePooled: () => sawPooler,
    async close() {
      if (sharing !== undefined) (await sharing.catch(() => undefined))?.giveBack();
      await own.end();
      await shared?.end();
    },
  };
}

class LentSession implements Session {
  readonly isPooled: boolean;
  readonly #client: Client;
  /** Why it is of no use any more. */
  broken: Error | undefined;

  constructor(client: Client, isPooled: boolean) {
    this.#client = client;
    this.isPooled = isPooled;
  }

  get isBroken(): boolean {
    return this.broken !== undefined;
  }

  breakOff(error: Error): void {
    this.broken ??= error;
  }

  async query({ text, name, values, counts }: Asked, timeoutMs?: number): Promise<readonly SqlRow[]> {
    try {
      const asked = { text, values: values as unknown[], ...(name && { name }), query_timeout: timeoutMs };
      const { rows, rowCount } = await this.#client.query<SqlRow>(asked);
      return counts ? [{ count: rowCount }] : rows;
    } catch (error) {
      if (isBroken(error)) this.breakOff(error as Error);
      throw new DatabaseFailure(error, this.isBroken);
    }
  }
}

/** All our whole numbers are below 2^53. */
const numbersAsNumbers = ((oid: number, format?: 'text') =>
  oid === types.builtins.INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser;

/** The server did not answer, ends, or has become a standby: another connection may fare better. */
function isBroken(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return true;
  const { code = '' } = error;
  return code.startsWith('08') || code.startsWith('57P') || code === readOnlyTransaction;
}
const readOnlyTransaction = '25006';

/** All connections are on loan: nothing is wrong with the host. */
const isExhausted = (error: unknown): boolean =>
  error instanceof Error && error.message === 'timeout exceeded when trying to connect';

/** A URL for each of the hosts, without what is ours to see to. Throws where it is none of PostgreSQL. */
function parseUrl(url: string): { readonly urls: readonly string[]; readonly target?: Target } {
  // More than one host is more than `URL` can read.
  const [, head = '', hosts = '', tail = ''] = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(url) ?? [];
  if (head === '') throw new Error('must begin with postgres://');
  const [path = '', query = ''] = tail.split('?');
  const parameters = new URLSearchParams(query);
  const target = parameters.get('target_session_attrs');
  if (target !== null && !Object.hasOwn(targets, target)) {
    throw new Error(`target_session_attrs must be one of ${Object.keys(targets).join(', ')}`);
  }
  parameters.delete('target_session_attrs');
  const rest = parameters.size === 0 ? path : `${path}?${parameters}`;
  const urls = hosts.split(',').map((host) => head + host + rest);
  if (!urls.every((one) => URL.canParse(one)))
    throw new Error('must look like postgres://user:password@host:5432/database');
  return { urls, ...(target !== null && { target: target as Target }) };
}
