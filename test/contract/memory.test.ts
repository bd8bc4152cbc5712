/** The contracts over memory. */
import t from 'tap';
import { createMemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryTenants } from '../../src/adapters/memory/tenants.ts';
import { referenceData } from '../support/storage.ts';
import { customerRepositoryContract } from './customer-repository.ts';
import { tenantDirectoryContract } from './tenant-directory.ts';

t.test('customers', async (t) => customerRepositoryContract(t, async () => createMemoryCustomers({ referenceData })));
t.test('tenants', async (t) => tenantDirectoryContract(t, async () => createMemoryTenants()));
