/** An erasure that accepts one version, while another transaction is changing that version. */
import pg from 'pg';
import t from 'tap';
import { newPlaces } from '../support/postgres.ts';
import { connectPostgres, storedIn, tenantOf } from '../support/storage.ts';

for (const [name, newPlace] of Object.entries(newPlaces)) {
  t.test(name, async (t) => {
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
}
