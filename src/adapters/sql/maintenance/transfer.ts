import { isDeepStrictEqual } from 'node:util';
import { type Expression, type SqlBool, sql } from 'kysely';
import type { TransferProgress, TransferSide } from '../../../application/ports/maintenance.ts';
import type { TenantId } from '../../../domain/identity.ts';
import { makeFolder } from '../../files.ts';
import { noTelemetry } from '../../telemetry/no-telemetry.ts';
import { ChangeFeed } from '../change-feed.ts';
import { type Routine, runOnce, type SqlRow } from '../driver/query.ts';
import { sqliteFiles } from '../driver/sqlite.ts';
import { unlockVault } from '../root-keys.ts';
import { openPostgres, openSqlite, type SqlDatabase } from '../schema/database.ts';
import { migrate, readDeployment } from '../schema/migrate.ts';
import { parts, tables, unfinishedTransfer } from '../schema/tables.ts';

type Table = keyof typeof tables;
/**
 * All tables except the leases, which belong to processes of the source, and the version tables, which have no key. In
 * those, a transfer sets the deployment at its end.
 */
const names = (Object.keys(tables) as Table[]).filter((name) => name !== 'leases' && tables[name].key.length > 0);

/** How many rows are compared, and written, at once. */
const pageSize = 500;

export interface TransferOptions {
  readonly masterKeyFile: string;
  readonly poolSize: number;
  readonly timeoutMs: number;
}

/**
 * Copies a whole deployment to another place, while all servers are stopped; see `transferTables`. The file of the
 * master key stays where it is. @returns how many rows each table has
 */
export async function transferDeployment(
  options: TransferOptions,
  from: TransferSide,
  to: TransferSide,
  onProgress: (progress: TransferProgress) => void,
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
  if (folder === undefined) {
    return openPostgres({ url, ...(keysUrl !== undefined && { keysUrl }), poolSize, timeoutMs }, noTelemetry);
  }
  if (mayCreate) makeFolder(folder);
  return openSqlite({ files: sqliteFiles(folder), mayCreate, isExclusive: true }, noTelemetry);
}

/**
 * Makes the tables of the target equal to those of the source; ciphertext is copied unchanged. Skips pages that are
 * equal already, so an interrupted transfer continues where it stopped. At the end it compares everything again. No
 * other process may write to either side meanwhile.
 *
 * Throws, before it changes a row, if the target holds another deployment, or holds a complete copy of this deployment
 * that differs from the source: the copy may have been used, and then has customers and erasures that the source lacks.
 *
 * @returns how many rows each table has
 */
export async function transferTables(
  from: SqlDatabase,
  to: SqlDatabase,
  onProgress: (progress: TransferProgress) => void,
): Promise<Readonly<Record<string, number>>> {
  const deployment = await readDeployment(from);
  const isWhole = await claimTarget(deployment, to);
  await assignPositions(from);
  let total = 0;
  for (const table of names) total += await count(from, table);
  let done = 0;
  await eachPage(from, async (table, page) => {
    if (!(await isSame(to, table, page))) {
      if (isWhole)
        throw new Error('the target is a complete copy that differs from the source: if it is the older one, empty it');
      await to.write(() => replacePage(to, table, page));
    }
    done += page.rows.length;
    onProgress({ table, done, total });
  });
  const counts: Record<string, number> = {};
  await eachPage(from, async (table, page) => {
    if (!(await isSame(to, table, page)))
      throw new Error(`${table} differ: another process wrote to the source or to the target`);
    counts[table] = (counts[table] ?? 0) + page.rows.length;
  });
  await setDeployment(deployment, to);
  return counts;
}

/** Assigns positions to the events that have none: SQLite does so only with the insert. */
async function assignPositions(from: SqlDatabase): Promise<void> {
  const feed = new ChangeFeed(from);
  const tenants = await from.read(() => runOnce(from.dialect.builder.selectFrom('tenants').select('tenant').compile()));
  for (const { tenant } of tenants) await feed.lastChange(tenant as TenantId);
}

/** Marks the target as unfinished, unless it holds a complete copy. @returns whether it holds a complete copy */
async function claimTarget(deployment: string, to: SqlDatabase): Promise<boolean> {
  const present = await readDeployment(to);
  if (present === deployment) return true;
  const unfinished = deployment + unfinishedTransfer;
  if (present === unfinished) return false;
  for (const table of ['tenants', 'customers', 'data_keys'] as const) {
    if ((await count(to, table)) > 0) throw new Error('the target holds another deployment: it must be empty');
  }
  await setDeployment(unfinished, to);
  return false;
}

const setDeployment = (deployment: string, { dialect, write }: SqlDatabase): Promise<void> =>
  write(function* () {
    for (const part of parts) {
      yield* runOnce(dialect.builder.updateTable(`${part}_version`).set({ deployment }).compile());
    }
  });

async function count({ dialect, read }: SqlDatabase, table: Table): Promise<number> {
  const query = dialect.builder.selectFrom(table).select(({ fn }) => fn.countAll().as('rows'));
  const [row] = await read(() => runOnce(query.compile()));
  return Number(row?.rows);
}

/** The rows of a range of primary keys. */
interface Page {
  /** The last row before the range; undefined at the start of the table. */
  readonly after: SqlRow | undefined;
  /** The last row of the range; undefined for the last page, which also covers all further rows of the target. */
  readonly until: SqlRow | undefined;
  readonly rows: readonly SqlRow[];
}

/** Reads all tables, page by page. */
async function eachPage(from: SqlDatabase, use: (table: Table, page: Page) => Promise<void>): Promise<void> {
  for (const table of names) {
    let after: SqlRow | undefined;
    do {
      const start = after;
      const rows = await from.read(() => select(from, table, { after: start, until: undefined }, pageSize));
      after = rows.length < pageSize ? undefined : rows.at(-1);
      await use(table, { after: start, until: after, rows });
    } while (after !== undefined);
  }
}

/** @param limit absent: all rows of the range */
function* select(
  { dialect }: SqlDatabase,
  table: Table,
  range: Omit<Page, 'rows'>,
  limit?: number,
): Routine<readonly SqlRow[]> {
  let query = dialect.builder.selectFrom(table).selectAll().where(isWithin(table, range));
  for (const column of tables[table].key) query = query.orderBy(column as never);
  return yield* runOnce((limit === undefined ? query : query.limit(limit)).compile());
}

async function isSame(to: SqlDatabase, table: Table, page: Page): Promise<boolean> {
  const present = await to.read(() => select(to, table, page));
  return isDeepStrictEqual(present.map(plain), page.rows.map(plain));
}

/** A row in the same form on every database: drivers differ in its prototype and in the class of byte arrays. */
const plain = (row: SqlRow): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value) : value]),
  );

function* replacePage({ dialect }: SqlDatabase, table: Table, page: Page): Routine<void> {
  const { builder } = dialect;
  yield* runOnce(
    builder
      .deleteFrom(table)
      .where(isWithin(table, page) as never)
      .compile(),
  );
  if (page.rows.length > 0)
    yield* runOnce(
      builder
        .insertInto(table)
        .values(page.rows as never)
        .compile(),
    );
}

/** The condition for the rows of a range. */
function isWithin(table: Table, { after, until }: Omit<Page, 'rows'>): Expression<SqlBool> {
  const columns = tables[table].key;
  const key = sql.join(columns.map((column) => sql.ref(column)));
  const values = (row: SqlRow) => sql.join(columns.map((column) => row[column]));
  const isAfter = after ? sql`(${key}) > (${values(after)})` : sql`1 = 1`;
  return until ? sql`${isAfter} and (${key}) <= (${values(until)})` : (isAfter as Expression<SqlBool>);
}
