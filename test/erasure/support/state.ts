/** What a deployment holds, read with nothing of ours in between. Bytes are hexadecimal digits. */
import Database from 'better-sqlite3';
import pg from 'pg';
import type { Part } from '../../../src/adapters/sql/schema/tables.ts';

export interface Position {
  readonly sequence: number;
  readonly chain: string;
}
interface Entry extends Position {
  readonly hash: string;
  readonly sealed: string;
  readonly key_digest: string | null;
}
interface CustomerRow {
  readonly number: number;
  readonly version: number;
  readonly external_id: string | null;
  readonly email: string | null;
  readonly sealed: string;
  readonly erasure: number | null;
}

/** One tenant's keys and log. */
interface KeysState {
  readonly keys: ReadonlyMap<number, string>;
  readonly log: readonly Entry[];
  readonly head: Position | undefined;
}
/** One tenant's records. */
interface RecordsState {
  readonly rows: ReadonlyMap<number, CustomerRow>;
  readonly position: Position | undefined;
  /** Number by the digest of the Idempotency-Key. */
  readonly idempotency: ReadonlyMap<string, number>;
  readonly events: readonly { readonly number: number; readonly version: number; readonly type: string }[];
}
export interface State extends KeysState, RecordsState {}

type Rows = readonly Record<string, unknown>[];
/** Runs a query on a part: `$tenant` stands for the tenant, `hex(…)` for bytes. */
export type RawQuery = (part: Part, sql: string) => Promise<Rows> | Rows;

const queries = {
  keys: ['keys', 'select number, hex(wrapped) as wrapped from data_keys where tenant = $tenant'],
  log: [
    'keys',
    `select sequence, hex(hash) as hash, hex(sealed) as sealed, hex(chain) as chain, hex(key_digest) as key_digest
      from erasures where tenant = $tenant order by sequence`,
  ],
  head: ['keys', 'select sequence, hex(chain) as chain from erasure_heads where tenant = $tenant'],
  rows: [
    'data',
    `select number, version, hex(external_id) as external_id, hex(email) as email, hex(sealed) as sealed, erasure
      from customers where tenant = $tenant order by number`,
  ],
  position: ['data', 'select sequence, hex(chain) as chain from erasure_positions where tenant = $tenant'],
  idempotency: ['data', 'select hex(key_digest) as key_digest, number from idempotency_records where tenant = $tenant'],
  events: ['data', 'select number, version, body from changes where tenant = $tenant order by number, version'],
} as const;

export async function readState(query: RawQuery): Promise<State> {
  const rows = {} as Record<keyof typeof queries, Rows>;
  for (const [name, [part, sql]] of Object.entries(queries))
    rows[name as keyof typeof queries] = await query(part, sql);
  type Of<Row> = readonly Row[];
  return {
    keys: new Map((rows.keys as Of<{ number: number; wrapped: string }>).map((key) => [key.number, key.wrapped])),
    log: rows.log as unknown as Of<Entry>,
    head: rows.head[0] as unknown as Position | undefined,
    rows: new Map((rows.rows as unknown as Of<CustomerRow>).map((row) => [row.number, row])),
    position: rows.position[0] as unknown as Position | undefined,
    idempotency: new Map(
      (rows.idempotency as Of<{ key_digest: string; number: number }>).map((row) => [row.key_digest, row.number]),
    ),
    events: (rows.events as Of<{ number: number; version: number; body: string }>).map(({ number, version, body }) => ({
      number,
      version,
      type: (JSON.parse(body) as { type: string }).type,
    })),
  };
}

/** Reads SQLite files, which may be replaced between two `reopen`. */
export function rawSqlite(files: Readonly<Record<Part, string>>, tenant: string) {
  const open = new Map<Part, { database: Database.Database; prepared: Map<string, Database.Statement> }>();
  function reopen(): void {
    for (const { database } of open.values()) database.close();
    open.clear();
  }
  const query: RawQuery = (part, sql) => {
    const raw = open.get(part) ?? { database: new Database(files[part]), prepared: new Map() };
    open.set(part, raw);
    const statement = raw.prepared.get(sql) ?? raw.database.prepare(asSqlite(sql));
    raw.prepared.set(sql, statement);
    return statement.all(...(sql.includes('$tenant') ? [{ tenant }] : [])) as Rows;
  };
  return { query, reopen };
}

/** `hex(null)` is an empty text in SQLite. */
const asSqlite = (sql: string): string => sql.replaceAll(/hex\((\w+)\)/g, "lower(nullif(hex($1), ''))");

/** Reads a PostgreSQL database, or two. */
export function rawPostgres(clients: Readonly<Record<Part, pg.Client>>, tenant: string) {
  const schemas = { keys: 'c2a_keys', data: 'c2a' };
  const query: RawQuery = async (part, sql) => {
    const text = sql
      .replaceAll(/hex\((\w+)\)/g, "encode($1, 'hex')")
      .replaceAll(/(from|into|update) (?=[a-z])/g, `$1 ${schemas[part]}.`)
      .replaceAll('$tenant', `'${tenant}'`);
    const { rows } = await clients[part].query<Record<string, unknown>>(text);
    return rows;
  };
  return { query, reopen: () => {} };
}

/** Connects with 64-bit numbers as numbers. */
export async function connectRaw(url: string): Promise<pg.Client> {
  const types = { getTypeParser: (id: number) => (id === 20 ? Number : pg.types.getTypeParser(id)) };
  const client = new pg.Client({ connectionString: url, types: types as never });
  await client.connect();
  return client;
}
