/** What the schema must keep, so that it can be split by tenant, over both dialects. */
import t, { type Test } from 'tap';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { tables } from '../../src/adapters/sql/schema/tables.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { connectPostgres, connectSqlite, newFolder, withRawSqlite } from '../support/storage.ts';

/** Tables without a tenant: one row, or a few, for the whole deployment. */
const ofTheDeployment = Object.entries(tables)
  .filter(([, { key }]) => key[0] !== 'tenant')
  .map(([name]) => name);

interface Key {
  readonly table: string;
  readonly columns: readonly string[];
}

function judge(t: Test, keys: readonly Key[], found: readonly string[]): void {
  for (const { table, columns } of keys) {
    if (!ofTheDeployment.includes(table)) t.equal(columns[0], 'tenant', `${table} (${columns.join(', ')})`);
  }
  const keyed = new Set(keys.map(({ table }) => table));
  for (const table of found) {
    t.ok(keyed.has(table) || ofTheDeployment.includes(table), `${table} has a primary key, or is of the deployment`);
  }
  t.ok(found.length >= ofTheDeployment.length + 6, 'they were found');
}

t.test('in PostgreSQL the tenant leads every primary and unique key', async (t) => {
  const url = await newDatabase(t);
  await connectPostgres(t, { url });
  const keys = await withRawPostgres(
    url,
    `select c.relname as table, array_agg(a.attname::text order by k.place) as columns
       from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
       cross join lateral unnest(i.indkey) with ordinality as k(attnum, place)
       join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
      where n.nspname in ('c2a', 'c2a_keys') and i.indisunique group by c.relname, i.indexrelid`,
  );
  const found = await withRawPostgres(
    url,
    `select tablename as table from pg_tables where schemaname in ('c2a', 'c2a_keys')`,
  );
  judge(
    t,
    keys as unknown as Key[],
    found.map(({ table }) => String(table)),
  );
});

t.test('in SQLite too', async (t) => {
  const path = newFolder(t);
  await connectSqlite(t, path);
  for (const file of Object.values(sqliteFiles(path))) {
    withRawSqlite(file, (raw) => {
      const all = raw.prepare<[], { name: string }>(`SELECT name FROM sqlite_schema WHERE type = 'table'`).all();
      for (const { name: table } of all) {
        const indexes = raw.pragma(`index_list(${table})`) as { name: string; unique: number }[];
        for (const { name } of indexes.filter(({ unique }) => unique === 1)) {
          const [first] = raw.pragma(`index_info(${name})`) as { name: string }[];
          if (!ofTheDeployment.includes(table)) t.equal(first?.name, 'tenant', `${table}: ${name}`);
        }
      }
    });
  }
});
