import { Client, Pool, type PoolClient, type QueryConfig, types } from 'pg';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import { Session } from './postgres-session.ts';
import { isTarget, parseUrl, type Target } from './postgres-url.ts';

export interface SessionPoolOptions {
  /** `postgres://user:password@host:5432/database`, with several hosts and parameters as in libpq. */
  readonly url: string;
  /** The maximum number of connections. */
  readonly poolSize: number;
  /** How long to wait for a connection, idle or new. */
  readonly connectTimeoutMs: number;
  /** Which kind of server is accepted, unless the URL specifies it (`target_session_attrs`). */
  readonly target: Target;
  /** Names and values of the settings of every session. */
  readonly settings: readonly (readonly [name: string, value: string | number])[];
  /** Called when an idle connection is lost. */
  readonly onLost: () => void;
  /** Whether queries are sent without waiting for earlier answers. Default: false. */
  readonly pipeline?: boolean;
}

/** A session that is borrowed from the pool. */
export interface Loan {
  readonly session: Session;
  /** Returns the connection to its pool, or closes it if the session has failed. */
  release(): void;
}

const describeServer = `select pg_is_in_recovery() as standby,
  current_setting('default_transaction_read_only') = 'on' as "readOnly", pg_backend_pid() as pid`;

/**
 * A bounded pool of connections to one database, opened on demand. If a host of the URL is down, or is no longer the
 * wanted kind of server, new connections go to the next host.
 */
export class SessionPool {
  /** Whether a session through a pooler was opened; see `Session`. */
  sawPooler = false;
  readonly #settings: SessionPoolOptions['settings'];
  readonly #urls: readonly string[];
  readonly #target: Target;
  readonly #timeoutMs: number;
  readonly #pool: Pool;
  readonly #sessions = new WeakMap<object, Session>();
  #currentUrl = 0;

  constructor({ url, poolSize, connectTimeoutMs, target, settings, onLost, pipeline = false }: SessionPoolOptions) {
    const parsed = parseUrl(url);
    this.#settings = settings;
    this.#urls = parsed.urls;
    this.#timeoutMs = connectTimeoutMs;
    this.#target = parsed.target ?? target;
    this.#pool = new Pool({
      Client: this.#clientClass() as unknown as new () => Client,
      max: poolSize,
      pipeline,
      connectionTimeoutMillis: connectTimeoutMs,
      idleTimeoutMillis: 60_000,
      onConnect: (client) => this.#prepare(client as Client),
    });
    this.#pool.on('error', onLost);
  }

  /** Lends a session until it is released. Throws `DatabaseFailure` if no host accepts a connection. */
  async lend(): Promise<Loan> {
    const client = await this.#connect();
    const session = this.#sessions.get(client) as Session;
    return { session, release: () => client.release(session.error) };
  }

  /** Lends a session until `use` has ended. */
  async borrow<Result>(use: (session: Session) => Promise<Result>): Promise<Result> {
    const { session, release } = await this.lend();
    try {
      return await use(session);
    } finally {
      release();
    }
  }

  /** Closes all connections. No session may be on loan. */
  close(): Promise<void> {
    return this.#pool.end();
  }

  /** Tries each host once. */
  async #connect(): Promise<PoolClient> {
    for (let tried = 1; ; tried += 1) {
      const url = this.#currentUrl;
      try {
        return await this.#pool.connect();
      } catch (error) {
        if (tried === this.#urls.length || isPoolExhausted(error)) throw new DatabaseFailure(inWords(error));
        if (this.#currentUrl === url) this.#currentUrl = (url + 1) % this.#urls.length;
      }
    }
  }

  /** A client class that connects to the host that is current when the client is created. */
  #clientClass() {
    const url = () => this.#urls[this.#currentUrl] as string;
    const sessions = this.#sessions;
    return class extends Client {
      constructor({ pipeline = false }: { readonly pipeline?: boolean } = {}) {
        super({
          connectionString: url(),
          pipeline,
          fallback_application_name: 'c2a-customers',
          keepAlive: true,
          types: { getTypeParser: numbersAsNumbers },
        });
        // The pool listens to idle clients only. An error event without a listener would end the process.
        this.on('error', (error) => {
          const session = sessions.get(this);
          if (session !== undefined) session.error ??= error;
        });
      }

      // The pool leaves a connection open that could not log in, for example without a password.
      override connect(): Promise<Client>;
      override connect(callback: (error: Error | null) => void): void;
      override connect(callback?: (error: Error | null) => void) {
        const connected = super.connect();
        connected.catch(() => this.end());
        if (callback === undefined) return connected;
        connected.then(() => callback(null), callback);
      }
    };
  }

  /** Checks the server of a new connection, and applies the settings. */
  async #prepare(client: Client): Promise<void> {
    // A server may accept the login and then not answer.
    const query = (text: string) => client.query({ text, query_timeout: this.#timeoutMs } as QueryConfig);
    const [server] = (await query(describeServer)).rows as [
      { readonly standby: boolean; readonly readOnly: boolean; readonly pid: number },
    ];
    if (!isTarget(this.#target, server)) throw new Error(`the server is not ${this.#target}`);
    // A pooler reports its own process ids, not the server's.
    const isPooled = (client as Client & { readonly processID: number }).processID !== server.pid;
    this.sawPooler ||= isPooled;
    const settings = (set: string) => this.#settings.map(([name, value]) => `${set} ${name} = '${value}'`).join('; ');
    // A pooled session loses its settings after each transaction, so each transaction sets them.
    this.#sessions.set(client, new Session(client, isPooled, isPooled ? `${begin}; ${settings('set local')}` : begin));
    if (!isPooled) await query(settings('set'));
  }
}

/** At this level, a query that follows a lock sees what was committed before the lock was granted, as the writes expect. */
const begin = 'begin isolation level read committed';

/** Parses int8 as a number: the values in our tables are below 2^53. */
const numbersAsNumbers = ((oid: number, format?: 'text') =>
  oid === types.builtins.INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser;

/** Whether all connections of the pool are in use: another host would not help. */
const isPoolExhausted = (error: unknown): boolean =>
  error instanceof Error && error.message === 'timeout exceeded when trying to connect';

/** What the driver, or a server, says if the server asks for a password and the URL has none. */
const noPassword = /client password must be a string|empty password returned by client/;

const inWords = (error: unknown): unknown =>
  error instanceof Error && noPassword.test(error.message)
    ? new Error('the server asks for a password, and the URL has none', { cause: error })
    : error;
