import { type Client, DatabaseError } from 'pg';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { BoundQuery, CompiledQuery, SqlRow } from './query.ts';

/** A connection to a server. */
export class Session {
  /** Whether a pooler may give each transaction another connection: settings and prepared statements are then lost. */
  readonly isPooled: boolean;
  /** The error that made the session unusable; undefined while it works. The pool closes an unusable session. */
  error: Error | undefined;
  readonly #client: Client;
  readonly #begin: string;

  /** @param begin the SQL that begins a transaction */
  constructor(client: Client, isPooled: boolean, begin: string) {
    this.#client = client;
    this.isPooled = isPooled;
    this.#begin = begin;
  }

  begin(timeoutMs?: number): Promise<unknown> {
    return this.query(this.#begin, timeoutMs);
  }

  /** Rolls back the transaction. If the rollback fails, the session becomes unusable. */
  async rollback(timeoutMs: number): Promise<void> {
    await this.query('rollback', timeoutMs).catch((error) => {
      this.error ??= error as Error;
    });
  }

  /**
   * Runs SQL without parameters.
   *
   * @param timeoutMs how long to wait for the answer; absent: without limit
   */
  query(text: string, timeoutMs?: number): Promise<readonly SqlRow[]> {
    return this.#send({ text }, undefined, timeoutMs);
  }

  /** Runs a compiled query. A query is prepared once per connection, unless it is `once` or the session is pooled. */
  execute({ statement, values }: BoundQuery, timeoutMs?: number): Promise<readonly SqlRow[]> {
    const { sql: text, once, gives } = statement;
    const name = once || this.isPooled ? undefined : nameOf(statement);
    return this.#send({ text, values: values as unknown[], ...(name && { name }) }, gives, timeoutMs);
  }

  async #send(
    query: { readonly text: string; readonly values?: unknown[]; readonly name?: string },
    gives: CompiledQuery['gives'],
    timeoutMs: number | undefined,
  ): Promise<readonly SqlRow[]> {
    try {
      // `query_timeout` is missing in the types of pg.
      const config = { ...query, query_timeout: timeoutMs };
      const { rows, rowCount } = await this.#client.query<SqlRow>(config);
      return gives === 'count' ? [{ count: rowCount }] : rows;
    } catch (error) {
      const code = error instanceof DatabaseError ? (error.code ?? '') : undefined;
      // Undefined: the connection was lost, or the server did not answer in time. 25006: the server became a standby.
      const isBroken = code === undefined || code === '25006';
      const isLost = lostConnection.test(code ?? '');
      if (isBroken || (isLost && !(await this.#answers(timeoutMs)))) this.error ??= error as Error;
      throw new DatabaseFailure(error, isLost || this.error !== undefined);
    }
  }

  /** Whether the server still answers, after an error that may have ended the session. */
  #answers(timeoutMs: number | undefined): Promise<boolean> {
    const nothing = { text: '', query_timeout: timeoutMs };
    return this.#client.query(nothing).then(
      () => true,
      () => false,
    );
  }
}

/**
 * SQLSTATEs of a lost connection (08) and of a server that shuts down (57P). Usually it is this session's server, and
 * the session has ended. But Citus also reports the lost connection to one of its nodes so: then the session goes on,
 * and tenants on other nodes are served. Either way, the statement may have been carried out.
 */
const lostConnection = /^(08|57P)/;

const names = new WeakMap<CompiledQuery, string>();
let named = 0;

/** The name under which a query is prepared on every connection. */
function nameOf(statement: CompiledQuery): string {
  let name = names.get(statement);
  if (name === undefined) {
    named += 1;
    name = `c2a_${named}`;
    names.set(statement, name);
  }
  return name;
}
