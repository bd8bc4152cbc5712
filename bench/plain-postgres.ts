import pg from 'pg';
import { type PlainRow, type PlainStore, type StoredRow, statements, valuesOf } from './plain-table.ts';

/** Opens the tables of the plain service, with at least the given rows, and one API key. They have their own schema. */
export async function openPlainPostgres(
  connectionString: string,
  digest: Buffer,
  tenant: string,
  rows: Iterable<PlainRow>,
): Promise<PlainStore> {
  const pool = new pg.Pool({ connectionString, max: 10, options: '-c search_path=plain' });
  await pool.query('create schema if not exists plain');
  await pool.query(statements.createCustomers('bigint generated always as identity'));
  await pool.query(statements.createApiKeys('bytea'));
  await pool.query(statements.addApiKey, [digest, tenant]);

  /** Rolls back and rethrows when `work` throws. */
  async function transaction<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const client = await pool.connect();
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }
  type Statement = 'hasApiKey' | 'id' | 'external_id' | 'insert' | 'replace';
  async function run(
    client: pg.Pool | pg.PoolClient,
    name: Statement,
    values: unknown[],
  ): Promise<StoredRow | undefined> {
    const result = await client.query({ name, text: statements[name], values });
    return result.rows[0] as StoredRow | undefined;
  }
  const { rows: counted } = await pool.query(statements.count);
  if (Number(counted[0].count) === 0) {
    await transaction(async (client) => {
      for (const row of rows) await run(client, 'insert', valuesOf(row));
    });
  }
  return {
    hasApiKey: async (tenant, digest) => (await run(pool, 'hasApiKey', [digest, tenant])) !== undefined,
    find: (tenant, column, value) => run(pool, column, [tenant, value]),
    async insert(row) {
      try {
        return await transaction(async (client) => (await run(client, 'insert', valuesOf(row)))?.id);
      } catch (error) {
        if (error instanceof pg.DatabaseError && error.code === '23505') return undefined;
        throw error;
      }
    },
    change: (tenant, id, change) =>
      transaction(async (client) => {
        const row = await run(client, 'id', [tenant, id]);
        return row && (await run(client, 'replace', [...valuesOf(change(row)), id]));
      }),
  };
}
