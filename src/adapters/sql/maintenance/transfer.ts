import { isDeepStrictEqual } from 'node:util';
import { type Expression, type SqlBool, sql } from 'kysely';
import { makeFolder } from '../../files.ts';
import { noTelemetry } from '../../telemetry/no-telemetry.ts';
import type { SqlDatabase } from '../driver/database.ts';
import { type Routine, runOnce, type SqlRow } from '../driver/query.ts';
import { openSqlite, sqliteFiles } from '../driver/sqlite.ts';
import { unlockVault } from '../root-keys.ts';
import { migrate } from '../schema/migrations.ts';
import { type Part, parts, type Tables, unfinishedMove } from '../schema/tables.ts';

/** Every table with its primary key, keys before records: a record without its key would be an erasure to be completed. */
const tables = {
  root_keys: ['name'],
  data_keys: ['tenant', 'number'],
  erasures: ['tenant', 'hash'],
  pending_erasures: ['tenant', 'number'],
  sequences: ['name'],
  tenants: ['tenant'],
  api_keys: ['tenant', 'key_id'],
  customers: ['tenant', 'number'],
  kept_answers: ['tenant', 'key_digest'],
  erasures_applied: ['name'],
} as const satisfies Record<Exclude<keyof Tables, `${Part}_version`>, readonly string[]>;
type Table = keyof typeof tables;
const names = Object.keys(tables) as Table[];

/** Rows that are compared, and written, at once. */
const pageSize = 500;

export interface Progress {
  readonly table: string;
  /** Rows of all tables that are the same on both sides by now, and how many there are. */
  readonly done: number;
  readonly total: number;
}

/** One side of a transfer: `sqlite:<data folder>` or `postgres://…`. */
export interface TransferSide {
  readonly url: string;
  /** The keys' database, where they have one of their own. */
  readonly keysUrl?: string | undefined;
}

export interface TransferOptions {
  readonly masterKeyFile: string;
  readonly poolSize: number;
  readonly timeoutMs: number;
}

/**
 * Copies a whole deployment to another place, while all servers are stopped; see `transferTables`. The master key's file
 * stays where it is. @returns the rows of each table, which are the same on both sides
 */
export async function transferDeployment(
  options: TransferOptions,
  from: TransferSide,
  to: TransferSide,
  onProgress: (progress: Progress) => void,
): Promise<Readonly<Record<string, number>>> {
  const { masterKeyFile } = options;
  const source = await openSide(from, options, false);
  try {
    // Checks the master key before anything is created.
    await unlockVault({ database: source, masterKeyFile, mayCreate: false });
    const target = await openSide(to, options, true);
    try {
      await migrate(target, { mayCreate: true, mayBeUnfinished: true });
      const counts = await transferTables(source, target, onProgress);
      await unlockVault({ database: target, masterKeyFile, mayCreate: false });
      return counts;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function openSide(
  { url, keysUrl }: TransferSide,
  { poolSize, timeoutMs }: TransferOptions,
  mayCreate: boolean,
): Promise<SqlDatabase> {
  const [, folder] = /^sqlite:(?:\/\/)?(.+)$/.exec(url) ?? [];
  if (folder !== undefined) {
    if (mayCreate) makeFolder(folder);
    return openSqlite({ files: sqliteFiles(folder), mayCreate, isExclusive: true }, noTelemetry);
  }
  const { openPostgres } = await import('../driver/postgres.ts');
  return openPostgres({ url, ...(keysUrl !== undefined && { keysUrl }), poolSize, timeoutMs }, noTelemetry);
}

/**
 * Makes the tables of one database the same as those of another: customers, tenants, keys, kept answers, erasures, as they
 * are, sealed. What is the same already is left alone, so that a move which was interrupted goes on where it was. At the end
 * everything is compared once more. Nobody else may write to either side meanwhile.
 *
 * Throws, before anything is written, where the target holds another deployment, or the whole of this one and differs: it
 * has gone on by itself, with erasures and customers that the source does not know.
 *
 * @returns how many rows each table has, on both sides
 */
export async function transferTables(
  from: SqlDatabase,
  to: SqlDatabase,
  onProgress: (progress: Progress) => void,
): Promise<Readonly<Record<string, number>>> {
  const deployment = await from.read(() => deploymentOf(from));
  const isWhole = await takeName(deployment, to);
  let total = 0;
  for (const table of names) total += await count(from, table);
  let done = 0;
  for (const table of names) {
    await eachPage(from, table, async (page) => {
      if (!(await isSame(to, table, page))) {
        if (isWhole)
          throw new Error('the target holds all of this deployment, and differs: empty it, if it is the older one');
        await to.write(() => replacePage(to, table, page));
      }
      done += page.rows.length;
      onProgress({ table, done, total });
    });
  }

  const counts: Record<string, number> = {};
  for (const table of names) {
    await eachPage(from, table, async (page) => {
      if (!(await isSame(to, table, page)))
        throw new Error(`${table} differ: somebody has written to one of the sides`);
    });
    counts[table] = await count(from, table);
  }
  await setName(deployment, to);
  return counts;
}

/** The target gets a name that says what it is becoming, where it is none yet. @returns whether it is a whole deployment */
async function takeName(deployment: string, to: SqlDatabase): Promise<boolean> {
  const theirs = await to.read(() => deploymentOf(to));
  if (theirs === deployment) return true;
  const unfinished = deployment + unfinishedMove;
  if (theirs === unfinished) return false;
  for (const table of ['tenants', 'customers', 'data_keys'] as const) {
    if ((await count(to, table)) > 0) throw new Error('the target holds another deployment: it must be empty');
  }
  await setName(unfinished, to);
  return false;
}

const setName = (deployment: string, to: SqlDatabase): Promise<void> =>
  to.write(function* () {
    for (const part of parts) {
      yield* runOnce(to.dialect.builder.updateTable(`${part}_version`).set({ deployment }).compile());
    }
  });

function* deploymentOf({ dialect }: SqlDatabase): Routine<string> {
  const [row] = yield* runOnce(dialect.builder.selectFrom('keys_version').select('deployment').compile());
  return (row as { deployment: string }).deployment;
}

async function count({ dialect, read }: SqlDatabase, table: Table): Promise<number> {
  const query = dialect.builder.selectFrom(table).select(({ fn }) => fn.countAll().as('rows'));
  const [row] = await read(() => runOnce(query.compile()));
  return Number(row?.rows);
}

/** Rows that follow each other by their key. */
interface Page {
  /** Before the first; undefined where the table begins. */
  readonly after: SqlRow | undefined;
  /** The last; undefined where the table ends, with everything that may follow. */
  readonly until: SqlRow | undefined;
  readonly rows: readonly SqlRow[];
}

async function eachPage(from: SqlDatabase, table: Table, use: (page: Page) => Promise<void>): Promise<void> {
  let after: SqlRow | undefined;
  for (;;) {
    const rows = await from.read(() => select(from, table, { after, until: undefined }, pageSize));
    const isLast = rows.length < pageSize;
    await use({ after, until: isLast ? undefined : rows.at(-1), rows });
    if (isLast) return;
    after = rows.at(-1);
  }
}

/** @param limit absent: all */
function* select(
  { dialect }: SqlDatabase,
  table: Table,
  { after, until }: Pick<Page, 'after' | 'until'>,
  limit?: number,
): Routine<readonly SqlRow[]> {
  let query = dialect.builder.selectFrom(table).selectAll();
  for (const condition of within(table, after, until)) query = query.where(condition);
  for (const column of tables[table]) query = query.orderBy(column as never);
  if (limit !== undefined) query = query.limit(limit);
  return yield* runOnce(query.compile());
}

async function isSame(to: SqlDatabase, table: Table, page: Page): Promise<boolean> {
  const present = await to.read(() => select(to, table, page));
  return isDeepStrictEqual(present.map(plain), page.rows.map(plain));
}

/** The same on every database: bytes as such, whatever the prototype of the row. */
const plain = (row: SqlRow): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value) : value]),
  );

function* replacePage({ dialect }: SqlDatabase, table: Table, { after, until, rows }: Page): Routine<void> {
  let deletion = dialect.builder.deleteFrom(table);
  for (const condition of within(table, after, until)) deletion = deletion.where(condition as never) as typeof deletion;
  yield* runOnce(deletion.compile());
  if (rows.length > 0)
    yield* runOnce(
      dialect.builder
        .insertInto(table)
        .values(rows as never)
        .compile(),
    );
}

/** What lies behind one row and not behind another, by the primary key. */
function within(table: Table, after: SqlRow | undefined, until: SqlRow | undefined): Expression<SqlBool>[] {
  const columns = tables[table];
  const key = sql.join(columns.map((column) => sql.ref(column)));
  const values = (row: SqlRow) => sql.join(columns.map((column) => row[column]));
  return [
    ...(after ? [sql<SqlBool>`(${key}) > (${values(after)})`] : []),
    ...(until ? [sql<SqlBool>`(${key}) <= (${values(until)})`] : []),
  ];
}
