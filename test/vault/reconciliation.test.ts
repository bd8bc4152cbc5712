/** Starts beside processes that erase, over every database: what both sides say adds up, whoever counted. */
import t, { type Test } from 'tap';
import { customerStatements } from '../../src/adapters/sql/customers/queries.ts';
import type { SqlDatabase } from '../../src/adapters/sql/driver/database.ts';
import { runOnce } from '../../src/adapters/sql/driver/query.ts';
import { newPlaces } from '../support/postgres.ts';
import { atOnce, byUrn, connectPostgres, connectSqlite, newFolder, tenantOf } from '../support/storage.ts';

type Connect = () => ReturnType<typeof connectSqlite> | ReturnType<typeof connectPostgres>;
const storages: Record<string, (t: Test) => Connect> = {
  SQLite(t) {
    const path = newFolder(t);
    return () => connectSqlite(t, path);
  },
  ...Object.fromEntries(
    Object.entries(newPlaces).map(([name, newPlace]) => [
      `PostgreSQL, ${name}`,
      (t: Test) => {
        const place = newPlace(t);
        return async () => connectPostgres(t, await place);
      },
    ]),
  ),
};

/** What both sides say that their erasures add up to, what those of the ledger do, and how many are not applied yet. */
function sumsOf(database: SqlDatabase) {
  const run = customerStatements(database.dialect);
  const entries = database.dialect.builder.selectFrom('erasures').select('hash').compile();
  return database.read(function* () {
    const [entered] = yield* run.sequence({ name: 'erasure' });
    const [applied] = yield* run.applied({});
    const weights = (yield* runOnce(entries)).map(({ hash }) => 1 + (hash as Buffer).readUIntBE(0, 3));
    const pending = yield* run.listPending({});
    const weighed = weights.reduce((sum, weight) => sum + weight, 0);
    return { entered: entered?.last, applied: applied?.count, weighed, pending: pending.length };
  });
}

for (const [name, storage] of Object.entries(storages)) {
  t.test(`${name}: starts beside erasures leave the sums as they are`, async (t) => {
    const connect = storage(t);
    const { database, repository } = await connect();
    const acme = tenantOf(repository);
    const customers = await atOnce(60, (index) => acme.has(`crm-${index}`));
    const erased = customers.slice(0, 50).map(({ customer }) => customer.customerUrn);

    let isDone = false;
    const erasing = atOnce(50, (index) => acme.forget(byUrn(erased[index] as string))).then(() => {
      isDone = true;
    });
    let starts = 0;
    const starting = atOnce(2, async () => {
      do {
        const started = await connect();
        await started.repository.reconcile(true);
        await started.close();
        starts += 1;
      } while (!isDone);
    });
    await Promise.all([erasing, starting]);

    const { weighed, ...sums } = await sumsOf(database);
    t.ok(weighed > 0 && starts >= 2);
    t.same(sums, { entered: weighed, applied: weighed, pending: 0 });
    const found = await atOnce(60, (index) => acme.find(byUrn(customers[index]?.customer.customerUrn as string)));
    t.same(
      found.map((stored) => stored?.customer.status),
      [...Array(50).fill('Anonymized'), ...Array(10).fill('Active')],
    );
  });
}
