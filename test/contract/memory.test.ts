/** The contracts over memory. */
import t from 'tap';
import { memoryCustomers, memoryTenants } from '../../src/adapters/memory.ts';
import { world } from '../support/storage.ts';
import { customerRepositoryContract } from './customer-repository.ts';
import { tenantDirectoryContract } from './tenant-directory.ts';

t.test('customers', async (t) => customerRepositoryContract(t, async () => memoryCustomers({ world })));
t.test('tenants', async (t) => tenantDirectoryContract(t, async () => memoryTenants()));
