/** What a start costs that has nothing to recover: so many queries for each tenant, however many erasures there are. */
import t from 'tap';
import type { Routine } from '../../src/adapters/sql/driver/query.ts';
import { recoverAtStart } from '../../src/adapters/sql/recover-at-start.ts';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import { createSqlTenants } from '../../src/adapters/sql/tenants.ts';
import { byUrn, noon, storedIn, tenantId, tenantOf } from '../support/storage.ts';
import { customersOf, places } from './support/places.ts';

/** A database that counts the queries and the rows that they return, by the kind of the transaction. */
function counting(database: SqlDatabase) {
  const counts = { queries: 0, rows: 0, writes: 0 };
  function* counted<Result>(routine: Routine<Result>): Routine<Result> {
    let next = routine.next();
    while (!next.done) {
      counts.queries += 1;
      const rows = yield next.value;
      counts.rows += rows.length;
      next = routine.next(rows);
    }
    return next.value;
  }
  const wrapped: SqlDatabase = {
    ...database,
    read: (routine) => database.read(() => counted(routine())),
    write(routine) {
      counts.writes += 1;
      return database.write(() => counted(routine()));
    },
    exclusive(routine) {
      counts.writes += 1;
      return database.exclusive(() => counted(routine()));
    },
  };
  return { counts, database: wrapped };
}

const sizes = [
  { tenants: 1, erasures: 0 },
  { tenants: 1, erasures: 500 },
  { tenants: 100, erasures: 0 },
  { tenants: 100, erasures: 500 },
];

for (const name of ['SQLite', 'PostgreSQL, one database'] as const) {
  const newPlace = places[name];
  t.test(name, { timeout: 0 }, async (t) => {
    const queries = new Set<number>();
    for (const { tenants, erasures } of sizes) {
      const place = await newPlace(t);
      const [database] = (await place.open(1)) as [SqlDatabase];
      const { repository, recovery } = customersOf(place, database);
      const directory = createSqlTenants(database);
      const names = Array.from({ length: tenants }, (_, index) => tenantId(index === 0 ? 'acme' : `tenant${index}`));
      for (const id of names) {
        await directory.addTenant({ id, payment: { channels: [] }, createdAt: noon } as never);
        const one = tenantOf(repository, id);
        const share = erasures / tenants;
        const results = await Promise.all(Array.from({ length: share }, (_, index) => one.store(`crm-${index}`)));
        await Promise.all(results.map((result) => one.erase(byUrn(storedIn(result).customer.customerUrn))));
      }
      for (const id of names) await recovery.recover(id);

      const { counts, database: counted } = counting(database);
      t.same(await recoverAtStart(customersOf(place, counted), counted, noon), []);
      // Whether the keys are a backup, and the list of tenants.
      queries.add((counts.queries - 2) / tenants);
      t.equal(counts.writes, 0, `${tenants} tenants, ${erasures} erasures`);
      // Its id, its head, its position, the highest sequence of its rows, the highest number, and the URN sequence.
      t.ok(counts.rows <= 6 * tenants + 1, `${counts.rows} rows for ${tenants} tenants`);
    }
    t.same([...queries], [5], 'queries for each tenant');
  });
}
