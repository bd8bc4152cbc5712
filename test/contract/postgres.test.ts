/** The contracts over PostgreSQL, with keys and records in one database, and each in its own. */
import t, { type Test } from 'tap';
import { everyContract } from '../support/contracts.ts';
import { newPlaces } from '../support/postgres.ts';
import { connectPostgres } from '../support/storage.ts';

for (const [name, newPlace] of Object.entries(newPlaces)) {
  /** Makes databases and gives what connects to them, as often as wanted. */
  const storage = (t: Test) => {
    const place = newPlace(t);
    return async () => connectPostgres(t, await place);
  };

  t.test(name, async (t) => everyContract(t, storage));
}
