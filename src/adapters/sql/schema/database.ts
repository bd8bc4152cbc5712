/** The SQL driver with its types bound to the tables of this program. */
import type { Telemetry } from '../../../application/ports/telemetry.ts';
import type { SqlDatabase as Database } from '../driver/database.ts';
import {
  createPostgresDialect,
  createSqliteDialect,
  type Dialect as DriverDialect,
  type PostgresLayout,
} from '../driver/dialects.ts';
import type { PostgresOptions } from '../driver/postgres.ts';
import * as sqlite from '../driver/sqlite.ts';
import { partOf, type Tables } from './tables.ts';

export type Dialect = DriverDialect<Tables>;
export type SqlDatabase = Database<Tables>;
export type SqliteDatabase = sqlite.SqliteDatabase<Tables>;

export const sqliteDialect: Dialect = createSqliteDialect(partOf);
export const postgresDialect = (layout: PostgresLayout): Dialect => createPostgresDialect(partOf, layout);

export const openSqlite = (
  options: sqlite.SqliteOptions,
  telemetry: Pick<Telemetry, 'commit' | 'read'>,
): Promise<SqliteDatabase> => sqlite.openSqlite(sqliteDialect, options, telemetry);

/** Opens PostgreSQL. Its client library is loaded only here, so that a start with SQLite does not load it. */
export async function openPostgres(
  options: PostgresOptions,
  telemetry: Pick<Telemetry, 'commit' | 'read' | 'connectionLost'>,
): Promise<SqlDatabase> {
  const driver = await import('../driver/postgres.ts');
  return driver.openPostgres(postgresDialect, options, telemetry);
}
