/** Erasures whose second step the database has refused: another request finishes them, wholly or not at all. */
import t from 'tap';
import { newPlaces, withRawPostgres } from '../support/postgres.ts';
import { byExternalId, connectPostgres, tenantOf } from '../support/storage.ts';

/** Makes the database refuse to commit updates of records. */
const refuseCommits = `
  create or replace function c2a.refuse() returns trigger language plpgsql as
    $$ begin raise exception 'refused'; end $$;
  create constraint trigger refuse after update on c2a.customers deferrable initially deferred
    for each row execute function c2a.refuse()`;

/** Makes the database refuse updates of records. @param when a condition on the rows `old` and `new` */
const refuse = (when: string) => `
  create or replace function c2a.refuse() returns trigger language plpgsql as
    $$ begin raise exception 'refused'; end $$;
  create or replace trigger refuse before update on c2a.customers
    for each row when (${when}) execute function c2a.refuse()`;

for (const name of ['one database', 'two databases'] as const) {
  t.test(name, async (t) => {
    const place = await newPlaces[name](t);
    const acme = tenantOf((await connectPostgres(t, place)).repository);
    const email = 'jane@example.com';
    const from = await acme.mustStore('from');
    const into = await acme.mustStore('into', { email });
    await acme.merge(from.by, into.by);
    await withRawPostgres(place.url, refuse('new.erasure is distinct from old.erasure'));
    t.equal((await acme.erase(into.by)).code, 'SUCCESS', 'irrevocable, but its record is not anonymized');

    await withRawPostgres(place.url, refuse('old.erasure is not null'));
    await t.rejects(acme.store('next', { email }), 'the alias cannot be freed');
    await withRawPostgres(place.url, 'drop trigger refuse on c2a.customers');
    t.equal((await acme.store('next', { email })).code, 'SUCCESS');
    t.equal(await acme.hasExternalId('from'), false);
    t.equal((await acme.sync('from', {}, { revision: 1 })).code, 'SUCCESS');
    t.match(await acme.find(byExternalId('from')), { version: 1 });
  });
}

t.test('an erasure by the alias of a customer whose merge is not finished', async (t) => {
  const place = await newPlaces['two databases'](t);
  const acme = tenantOf((await connectPostgres(t, place)).repository);
  const [first, second, last] = [await acme.mustStore('a'), await acme.mustStore('b'), await acme.mustStore('c')];
  await acme.merge(first.by, second.by);
  await withRawPostgres(place.url, refuseCommits);
  await t.rejects(acme.merge(second.by, last.by), 'the keys have it, the records have not');
  await withRawPostgres(place.url, 'drop trigger refuse on c2a.customers');
  t.match(await acme.erase(byExternalId('a')), {
    code: 'SUCCESS',
    stored: { customer: { customerUrn: last.customer.customerUrn } },
  });
  for (const name of ['a', 'b', 'c']) t.equal(await acme.hasExternalId(name), false);
});
