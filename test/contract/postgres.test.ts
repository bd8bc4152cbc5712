/** The contracts over PostgreSQL, with keys and records in one database, and each in its own. */
import t, { type Test } from 'tap';
import { customerRepositoryContract, sharedCustomersContract } from '../../src/contract/customer-repository.ts';
import { sharedTenantsContract, tenantDirectoryContract } from '../../src/contract/tenant-directory.ts';
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
  const open = (t: Test) => storage(t)();

  t.test(name, async (t) => {
    t.test('customers', async (t) => customerRepositoryContract(t, async (t) => (await open(t)).repository));
    t.test('customers, shared', async (t) => sharedCustomersContract(t, storage));
    t.test('tenants', async (t) => tenantDirectoryContract(t, async (t) => (await open(t)).directory));
    t.test('tenants, shared', async (t) =>
      sharedTenantsContract(t, (t) => {
        const connect = storage(t);
        return async () => (await connect()).directory;
      }),
    );
  });
}
