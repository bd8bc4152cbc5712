/** Erasures that accept one version, while another process is changing that version. */
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { newPlaces } from '../support/postgres.ts';
import { connectPostgres, overwrite, storedIn, tenantOf } from '../support/storage.ts';

for (const [name, newPlace] of Object.entries(newPlaces)) {
  t.test(`an update that commits first makes it a mismatch: ${name}`, async (t) => {
    const place = await newPlace(t);
    const acme = tenantOf((await connectPostgres(t, place)).repository);
    for (const ends of ['commit', 'rollback']) {
      const { by, stored } = await acme.mustStore(`crm-${ends}`);
      const client = new pg.Client(place.url);
      await client.connect();
      await client.query('begin');
      const number = Number(stored.customer.customerUrn.split('.').at(-1));
      await client.query('update c2a.customers set version = version + 1 where number = $1', [number]);

      let isAnswered = false;
      const erasing = acme.erase(by, { accepts: (version) => version === 1 }).finally(() => {
        isAnswered = true;
      });
      // The erasure waits for the row, and has then locked the head of the log.
      while ((await client.query('select from pg_locks where not granted')).rowCount === 0) t.notOk(isAnswered);
      await client.query(ends);
      await client.end();
      const erased = await erasing;
      if (ends === 'commit') t.strictSame(erased, { code: 'VERSION_MISMATCH' });
      else t.equal(storedIn(erased).customer.status, 'Anonymized');
      // The refused erasure appended nothing, so the next entry follows.
      t.equal((await acme.erase((await acme.mustStore('next')).by)).code, 'SUCCESS');
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
      const erase = one.erase(by, { accepts: (version) => version === 1 });
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
