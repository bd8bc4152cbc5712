/** The contracts over PostgreSQL, with keys and records in one database, and each in its own. */
import t, { type Test } from 'tap';
import { everyContract } from '../support/contracts.ts';
import { newDatabase } from '../support/postgres.ts';
import { connectPostgres } from '../support/storage.ts';

const places = {
  'one database': async (t: Test) => ({ url: await newDatabase(t) }),
  'two databases': async (t: Test) => ({ url: await newDatabase(t), keysUrl: await newDatabase(t) }),
};

for (const [name, newPlace] of Object.entries(places)) {
  /** Makes databases and gives what connects to them, as often as wanted. */
  const storage = (t: Test) => {
    const place = newPlace(t);
    return async () => connectPostgres(t, await place);
  };

  t.test(name, async (t) => everyContract(t, storage));
}
