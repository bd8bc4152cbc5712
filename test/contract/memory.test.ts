/** The contract suites over memory. */
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { createMemoryAccessRecords } from '../../src/adapters/memory/access-records.ts';
import { createMemoryAuditTrail } from '../../src/adapters/memory/audit-trail.ts';
import { createMemoryCheckpoints } from '../../src/adapters/memory/checkpoints.ts';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryLeases } from '../../src/adapters/memory/leases.ts';
import { createMemoryReferences } from '../../src/adapters/memory/references.ts';
import { createMemoryTenants } from '../../src/adapters/memory/tenants.ts';
import { createMemoryWebhooks } from '../../src/adapters/memory/webhooks.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { accessRecordsContract } from './access-records.ts';

import { auditTrailContract } from './audit-trail.ts';
import { checkpointsContract } from './checkpoints.ts';
import { customerRepositoryContract } from './customer-repository.ts';
import { leasesContract } from './leases.ts';
import { referencesContract } from './references.ts';
import { tenantDirectoryContract } from './tenant-directory.ts';
import { webhooksContract } from './webhooks.ts';

const referenceData = createReferenceData();

function memoryWithReferences() {
  const repository = new MemoryCustomers(referenceData);
  return { repository, references: createMemoryReferences(repository) };
}

t.test('customers', async (t) => customerRepositoryContract(t, async () => new MemoryCustomers(referenceData)));
t.test('access records', async (t) => accessRecordsContract(t, async () => createMemoryAccessRecords()));
t.test('leases', async (t) => leasesContract(t, async () => createMemoryLeases()));
t.test('references', async (t) => referencesContract(t, async () => memoryWithReferences()));
t.test('references beside a repository that answers later', async (t) =>
  referencesContract(t, async () => {
    const { repository } = memoryWithReferences();
    const find: CustomerRepository['find'] = async (...of) => {
      await setImmediate();
      return MemoryCustomers.prototype.find.apply(repository, of);
    };
    return { repository, references: createMemoryReferences({ find }) };
  }),
);
t.test('tenants', async (t) => tenantDirectoryContract(t, async () => createMemoryTenants()));
t.test('checkpoints', async (t) => checkpointsContract(t, async () => createMemoryCheckpoints()));
t.test('audit trail', async (t) =>
  auditTrailContract(t, async () => {
    const repository = new MemoryCustomers(referenceData);
    return { repository, trail: createMemoryAuditTrail(repository) };
  }),
);
t.test('webhooks', async (t) =>
  webhooksContract(t, async () => ({
    webhooks: createMemoryWebhooks(),
    repository: new MemoryCustomers(referenceData),
  })),
);
