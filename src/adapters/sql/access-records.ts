import { randomUUID } from 'node:crypto';
import type { Access, AccessRecords } from '../../application/ports/access-records.ts';
import { toNumber } from './customers/urns.ts';
import { compileQuery, compileWrite } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

export function accessQueries({ builder }: Dialect) {
  return {
    insert: compileWrite(({ tenant, number, at, id, body }: Tables['access_records']) =>
      builder.insertInto('access_records').values({ tenant, number, at, id, body }),
    ),
    listOf: compileQuery((of: { tenant: string; number: number }) =>
      builder
        .selectFrom('access_records')
        .select(['at', 'body'])
        .where('tenant', '=', of.tenant)
        .where('number', '=', of.number)
        .orderBy('at')
        .orderBy('id'),
    ),
  };
}

/** Access records in SQL. */
export function createSqlAccessRecords({ dialect, read, writeWithoutTransaction }: SqlDatabase): AccessRecords {
  const run = accessQueries(dialect);
  return {
    async add(tenant, { customerUrn, at, ...body }) {
      const row = { tenant, number: toNumber(customerUrn) as number, at, id: randomUUID(), body: JSON.stringify(body) };
      await writeWithoutTransaction(() => run.insert(row));
    },
    async list(tenant, customerUrn) {
      const number = toNumber(customerUrn);
      const rows = number === undefined ? [] : await read(() => run.listOf({ tenant, number }));
      return rows.map(({ at, body }) => ({
        customerUrn,
        at,
        ...(JSON.parse(body) as Omit<Access, 'customerUrn' | 'at'>),
      }));
    },
  };
}
