/** Tombstones are stored with the keys: an old record, a crash or a refused request brings no erased customer back. */
import t from 'tap';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { isAnonymized } from '../../src/domain/anonymization.ts';
import { actor, byExternalId, noon, storedIn, tenantOf, tombstoneMs } from '../support/storage.ts';
import { customersOf, type Place, places, tenant } from './support/places.ts';

const stale = { code: 'STALE_REVISION' } as const;
const jane = { email: 'jane@example.com', firstName: 'Jane' };

/** The customers of a database after a start. */
async function started(place: Place) {
  const [database] = (await place.open(1)) as [SqlDatabase];
  const customers = customersOf(place, database);
  await customers.recovery.recover(tenant);
  return { database, acme: tenantOf(customers.repository, tenant) };
}

/** The same database, which refuses the writes with these indexes. */
function refusing(database: SqlDatabase, ...refused: readonly number[]): SqlDatabase {
  let writes = 0;
  return {
    ...database,
    async write(routine) {
      writes += 1;
      if (refused.includes(writes)) throw new DatabaseFailure(new Error('refused by the test'));
      return database.write(routine);
    },
  };
}

const over = (place: Place, database: SqlDatabase) => tenantOf(customersOf(place, database).repository, tenant);

for (const [name, newPlace] of Object.entries(places)) {
  t.test(`an older backup of the records: ${name}`, async (t) => {
    const place = await newPlace(t);
    const { acme } = await started(place);
    const old = storedIn(await acme.sync('crm-1', jane, { revision: 1 }));
    const backup = await place.backup('data', true);
    t.equal((await acme.erase(byExternalId('crm-1'), { revision: 5 })).code, 'SUCCESS');
    await acme.sync('crm-2', {}, { revision: 2 });
    await acme.erase(byExternalId('crm-2'), { revision: 6 });
    await acme.erase(byExternalId('crm-3'), { revision: 7 });
    await place.end('stop');
    await place.restore(backup);
    const { acme: after } = await started(place);
    t.ok(isAnonymized((await after.find(old.by))?.customer as never));
    for (const [index, externalId] of ['crm-1', 'crm-2', 'crm-3'].entries()) {
      for (const revision of [1, index + 5]) {
        t.strictSame(await after.sync(externalId, jane, { revision }), stale);
        t.strictSame(await after.store(externalId, jane, { revision }), stale);
      }
      const again = await after.sync(externalId, { firstName: 'Joan' }, { revision: index + 6 });
      t.match(again, { outcome: 'created' });
      t.not(storedIn(again).customer.customerUrn, old.customer.customerUrn);
      t.strictSame(await after.sync(externalId, jane, { revision: 1 }), stale);
    }
  });

  t.test(`an erasure that was interrupted between its two steps: ${name}`, async (t) => {
    const place = await newPlace(t);
    const { database, acme } = await started(place);
    await acme.sync('crm-1', jane, { revision: 1 });
    const interrupted = over(place, refusing(database, 2));
    t.equal((await interrupted.erase(byExternalId('crm-1'), { revision: 5 })).code, 'SUCCESS');
    t.equal([...(await place.read()).rows.values()][0]?.erasure, null, 'the record is not anonymized yet');
    t.strictSame(await acme.sync('crm-1', jane, { revision: 4 }), stale, 'before the recovery');
    await place.end('crash');
    const { acme: after } = await started(place);
    t.not([...(await place.read()).rows.values()][0]?.erasure, null);
    t.strictSame(await after.sync('crm-1', jane, { revision: 4 }), stale, 'after it');
    t.match(await after.sync('crm-1', jane, { revision: 6 }), { outcome: 'created' });
    t.strictSame(await after.sync('crm-1', {}, { revision: 4 }), stale);
  });

  t.test(`a request is not acknowledged by the erasure of another one, without its tombstone: ${name}`, async (t) => {
    const place = await newPlace(t);
    const { database, acme } = await started(place);
    const { by } = storedIn(await acme.sync('crm-1', jane, { revision: 1 }));
    const unfinished = over(place, refusing(database, 2));
    t.equal((await unfinished.erase(by)).code, 'SUCCESS');
    const { repository } = customersOf(place, refusing(database, 1));
    const tombstone = { revision: 5, expiresAt: noon + tombstoneMs };
    const request = { ...actor, requestId: 'another', now: noon, tombstone };
    await t.rejects(repository.erase(tenant, byExternalId('crm-1'), request), DatabaseFailure);
    t.equal((await repository.erase(tenant, byExternalId('crm-1'), request)).code, 'SUCCESS');
    t.strictSame(await acme.sync('crm-1', jane, { revision: 4 }), stale);
  });
}
