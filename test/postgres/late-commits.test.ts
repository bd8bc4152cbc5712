/** The change feed while transactions commit late: no reader passes an event that is committed later. */
import pg from 'pg';
import t from 'tap';
import { newPlaces, withRawPostgres } from '../support/postgres.ts';
import { atOnce, connectPostgres, overwrite, tenantOf } from '../support/storage.ts';

for (const place of ['one database', 'Citus'] as const) {
  t.test(`an event whose transaction commits late comes after those that were read before: ${place}`, async (t) => {
    const { url } = await newPlaces[place](t);
    const acme = tenantOf((await connectPostgres(t, { url })).repository);
    const reader = tenantOf((await connectPostgres(t, { url })).repository);
    const first = await acme.mustStore('first');

    // Another process has written an event with a lower number, and has not committed.
    const late = new pg.Client(url);
    await late.connect();
    t.teardown(() => late.end());
    await late.query('begin');
    await late.query(
      `insert into c2a.changes (tenant, number, version, id, at, body) values ('acme', 0, 1, 'late', 0, '{}')`,
    );
    await acme.update(first.by, overwrite({ firstName: 'Jane' }));
    await atOnce(20, (index) => acme.mustStore(`crm-${index}`));
    const before = await reader.changes();
    t.equal(before.length, 22);
    t.notOk(before.some(({ id }) => id === 'late'));

    await late.query('commit');
    const after = await reader.changes();
    t.strictSame(after.slice(0, 22), before);
    t.strictSame(
      after.slice(22).map(({ id, position }) => [id, position]),
      [['late', 23]],
    );
  });
}

t.test('two readers that assign positions at once do not assign one twice', async (t) => {
  const { url } = await newPlaces['one database'](t);
  const readers = await atOnce(4, async () => tenantOf((await connectPostgres(t, { url })).repository));
  await withRawPostgres(
    url,
    `insert into c2a.changes (tenant, number, version, id, at, body)
       select 'acme', number, 1, number, 0, '{}' from generate_series(1, 9000) as number`,
  );
  const feeds = await Promise.all(readers.map((reader) => reader.changes(0, 10_000)));
  for (const feed of feeds) {
    t.strictSame(
      feed.map(({ position, id }) => [position, id]),
      Array.from({ length: 9_000 }, (_, index) => [index + 1, `${index + 1}`]),
    );
  }
});
