/** The contracts over memory. */
import t from 'tap';
import { memoryCustomers, memoryTenants } from '../../src/adapters/memory.ts';
import { customerRepositoryContract } from '../../src/contract/customer-repository.ts';
import { tenantDirectoryContract } from '../../src/contract/tenant-directory.ts';
import { world } from '../support/storage.ts';

t.test('customers', async (t) => customerRepositoryContract(t, async () => memoryCustomers({ world })));
t.test('tenants', async (t) => tenantDirectoryContract(t, async () => memoryTenants()));
