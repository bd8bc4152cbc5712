import Database from 'better-sqlite3';
import { type PlainRow, type PlainStore, type StoredRow, statements, valuesOf } from './plain-table.ts';

/** Opens the file of the plain service, with at least the given rows, and one API key. */
export function openPlainSqlite(file: string, digest: Buffer, tenant: string, rows: Iterable<PlainRow>): PlainStore {
  const database = new Database(file);
  const prepare = (sql: string) => database.prepare<unknown[]>(sql.replaceAll(/\$\d+/g, '?'));
  database.exec(statements.createCustomers('integer'));
  database.exec(statements.createApiKeys('blob'));
  prepare(statements.addApiKey).run(digest, tenant);
  const insert = prepare(statements.insert);
  const insertRow = database.transaction((row: PlainRow) => (insert.get(...valuesOf(row)) as { id: number }).id);
  if ((prepare(statements.count).get() as { count: number }).count === 0) {
    for (const pragma of ['journal_mode = OFF', 'synchronous = OFF', 'cache_size = -2000000']) database.pragma(pragma);
    database.transaction(() => {
      for (const row of rows) insert.get(...valuesOf(row));
    })();
  }
  for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'cache_size = -32000']) database.pragma(pragma);

  const find = { id: prepare(statements.id), external_id: prepare(statements.external_id) };
  const replace = prepare(statements.replace);
  const hasApiKey = prepare(statements.hasApiKey);
  const changeRow = database.transaction((tenant: string, id: number, change: (row: StoredRow) => PlainRow) => {
    const row = find.id.get(tenant, id) as StoredRow | undefined;
    return row && (replace.get(...valuesOf(change(row)), id) as StoredRow);
  });
  return {
    hasApiKey: (tenant, digest) => hasApiKey.get(digest, tenant) !== undefined,
    find: (tenant, column, value) => find[column].get(tenant, value) as StoredRow | undefined,
    insert(row) {
      try {
        return insertRow.immediate(row);
      } catch (error) {
        if (error instanceof Database.SqliteError && error.code === 'SQLITE_CONSTRAINT_UNIQUE') return undefined;
        throw error;
      }
    },
    change: (tenant, id, change) => changeRow.immediate(tenant, id, change),
  };
}
