/** The contract suites over PostgreSQL, with keys and records in one database and in two. */
import t, { type Test } from 'tap';
import { everyContract } from '../support/contracts.ts';
import { newPlaces } from '../support/postgres.ts';
import { connectPostgres } from '../support/storage.ts';

for (const [name, newPlace] of Object.entries(newPlaces)) {
  /** Makes databases and returns a function that connects to them. */
  const storage = (t: Test) => {
    const place = newPlace(t);
    return async () => connectPostgres(t, await place);
  };

  t.test(name, async (t) => everyContract(t, storage));
}
