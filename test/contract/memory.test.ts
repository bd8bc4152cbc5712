/** The contract suites over memory. */
import t from 'tap';
import { createMemoryAccessRecords } from '../../src/adapters/memory/access-records.ts';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryLeases } from '../../src/adapters/memory/leases.ts';
import { createMemoryTenants } from '../../src/adapters/memory/tenants.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { accessRecordsContract } from './access-records.ts';
import { customerRepositoryContract } from './customer-repository.ts';
import { leasesContract } from './leases.ts';
import { tenantDirectoryContract } from './tenant-directory.ts';

const referenceData = createReferenceData();

t.test('customers', async (t) => customerRepositoryContract(t, async () => new MemoryCustomers(referenceData)));
t.test('access records', async (t) => accessRecordsContract(t, async () => createMemoryAccessRecords()));
t.test('leases', async (t) => leasesContract(t, async () => createMemoryLeases()));
t.test('tenants', async (t) => tenantDirectoryContract(t, async () => createMemoryTenants()));
