/** The contracts over PostgreSQL. */
import t, { type Test } from 'tap';
import { newDatabase } from '../support/postgres.ts';
import { connectPostgres } from '../support/storage.ts';
import { customerRepositoryContract, sharedCustomersContract } from './customer-repository.ts';
import { sharedTenantsContract, tenantDirectoryContract } from './tenant-directory.ts';

/** Makes a database and gives what connects to it, as often as wanted. */
const storage = (t: Test) => {
  const url = newDatabase(t);
  return async () => connectPostgres(t, await url);
};
const open = (t: Test) => storage(t)();

t.test('customers', async (t) => customerRepositoryContract(t, async (t) => (await open(t)).repository));
t.test('customers, shared', async (t) => sharedCustomersContract(t, storage));
t.test('tenants', async (t) => tenantDirectoryContract(t, async (t) => (await open(t)).directory));
t.test('tenants, shared', async (t) =>
  sharedTenantsContract(t, (t) => {
    const connect = storage(t);
    return async () => (await connect()).directory;
  }),
);
