/** Erasures while another process changes the record: of one version, or of any. */
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import type { Customer } from '../../src/domain/customer.ts';
import { newPlaces } from '../support/postgres.ts';
import { connectPostgres, onlyAt, overwrite, storedIn, tenantId, tenantOf } from '../support/storage.ts';

/** The sessions of this database that wait for a lock; tests of other databases of the server run at the same time. */
const waitingSessions = `select from pg_locks where not granted and pid in (
  select pid from pg_locks where database = (select oid from pg_database where datname = current_database()))`;

const numberOf = ({ customerUrn }: Customer): number => Number(customerUrn.split('.').at(-1));

for (const [name, newPlace] of Object.entries(newPlaces)) {
  t.test(`an update that commits first makes it a mismatch: ${name}`, async (t) => {
    const place = await newPlace(t);
    const acme = tenantOf((await connectPostgres(t, place)).repository);
    for (const ends of ['commit', 'rollback']) {
      const { by, stored } = await acme.mustStore(`crm-${ends}`);
      const client = new pg.Client(place.url);
      await client.connect();
      await client.query('begin');
      await client.query('update c2a.customers set version = version + 1 where number = $1', [
        numberOf(stored.customer),
      ]);

      let isAnswered = false;
      const erasing = acme.erase(by, { check: onlyAt(1) }).finally(() => {
        isAnswered = true;
      });
      // The erasure waits for the row, and has then locked the head of the log.
      while ((await client.query(waitingSessions)).rowCount === 0) t.notOk(isAnswered);
      await client.query(ends);
      await client.end();
      const erased = await erasing;
      if (ends === 'commit') t.strictSame(erased, { code: 'VERSION_MISMATCH' });
      else t.equal(storedIn(erased).customer.status, 'Anonymized');
      // The refused erasure appended nothing, so the next entry follows.
      t.equal((await acme.erase((await acme.mustStore('next')).by)).code, 'SUCCESS');
    }
  });

  t.test(`an erasure that waits for an update erases what the update wrote: ${name}`, async (t) => {
    const place = await newPlace(t);
    const [one, other] = [await connectPostgres(t, place), await connectPostgres(t, place)];
    const acme = tenantOf(one.repository);
    for (const check of [undefined, onlyAt(2)]) {
      const { by, customer } = await acme.mustStore('crm-1');
      const client = new pg.Client(place.url);
      await client.connect();
      const waiting = async () => (await client.query(waitingSessions)).rowCount;
      await client.query('begin');
      await client.query('select from c2a.customers where number = $1 for update', [numberOf(customer)]);
      const change = { email: 'jane@example.com', claimedRegion: { countryCode: 'AT', languageCode: 'de' } };
      const updating = tenantOf(other.repository).update(by, overwrite(change));
      while ((await waiting()) === 0);
      // It has read the record when it waits too. PostgreSQL grants a lock in the order of requests.
      const erasing = acme.erase(by, { check });
      while ((await waiting()) === 1);
      await client.query('commit');
      await client.end();
      t.equal((await updating).code, 'SUCCESS');
      t.match(await erasing, { stored: { version: 3, customer: { claimedRegion: change.claimedRegion } } });
      const erasure = await one.repository.findErasure(tenantId('acme'), customer.customerUrn);
      t.ok(erasure?.rewritten?.includes('email'));
    }
  });

  t.test(`an update and an erasure of the same version never both succeed: ${name}`, async (t) => {
    const place = await newPlace(t);
    const [one, other] = [await connectPostgres(t, place), await connectPostgres(t, place)].map(({ repository }) =>
      tenantOf(repository),
    ) as [ReturnType<typeof tenantOf>, ReturnType<typeof tenantOf>];
    const outcomes: Record<string, number> = {};
    for (let round = 0; round < 200; round += 1) {
      const { by } = await one.mustStore(`crm-${round}`);
      const erase = one.erase(by, { check: onlyAt(1) });
      // Long enough for the erasure to be anywhere between its first and its last statement.
      if (round % 4 > 0) await setTimeout((round % 4) - 0.5);
      const results = await Promise.all([erase, other.update(by, overwrite({ firstName: 'Jane' }))]);
      const codes = results.map(({ code }) => code).join(' ');
      outcomes[codes] = (outcomes[codes] ?? 0) + 1;
    }
    t.comment(outcomes);
    t.same(Object.keys(outcomes).sort(), ['SUCCESS CUSTOMER_NOT_FOUND', 'VERSION_MISMATCH SUCCESS']);
  });
}
