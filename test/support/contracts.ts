import type { Test } from 'tap';
import type { AccessRecords } from '../../src/application/ports/access-records.ts';
import type { AuditTrail } from '../../src/application/ports/audit-trail.ts';
import type { Checkpoints } from '../../src/application/ports/checkpoints.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { Leases } from '../../src/application/ports/leases.ts';
import type { ReferenceRepository } from '../../src/application/ports/references.ts';
import type { TenantDirectory } from '../../src/application/ports/tenant-directory.ts';
import type { WebhookDirectory } from '../../src/application/ports/webhooks.ts';
import { accessRecordsContract } from '../contract/access-records.ts';
import { auditTrailContract } from '../contract/audit-trail.ts';
import { checkpointsContract, sharedCheckpointsContract } from '../contract/checkpoints.ts';
import { customerRepositoryContract, sharedCustomersContract } from '../contract/customer-repository.ts';
import { leasesContract, sharedLeasesContract } from '../contract/leases.ts';
import { referencesContract, sharedReferencesContract } from '../contract/references.ts';
import { sharedTenantsContract, tenantDirectoryContract } from '../contract/tenant-directory.ts';
import { sharedWebhooksContract, webhooksContract } from '../contract/webhooks.ts';

interface Connected {
  readonly repository: CustomerRepository;
  readonly accessRecords: AccessRecords;
  readonly references: ReferenceRepository;
  readonly directory: TenantDirectory;
  readonly leases: Leases;
  readonly checkpoints: Checkpoints;
  readonly trail: AuditTrail;
  readonly webhooks: WebhookDirectory;
  close(): Promise<void>;
}

/** Runs every contract suite. @param storage makes an empty storage and returns a function that connects to it */
export function everyContract(t: Test, storage: (t: Test) => () => Promise<Connected>): void {
  const open = (t: Test) => storage(t)();
  t.test('customers', async (t) => customerRepositoryContract(t, async (t) => (await open(t)).repository));
  t.test('customers, shared', async (t) => sharedCustomersContract(t, storage));
  t.test('access records', async (t) => accessRecordsContract(t, async (t) => (await open(t)).accessRecords));
  t.test('references', async (t) => referencesContract(t, open));
  t.test('references, shared', async (t) => sharedReferencesContract(t, storage));
  t.test('tenants', async (t) => tenantDirectoryContract(t, async (t) => (await open(t)).directory));
  t.test('tenants, shared', async (t) =>
    sharedTenantsContract(t, (t) => {
      const connect = storage(t);
      return async () => (await connect()).directory;
    }),
  );
  t.test('leases', async (t) => leasesContract(t, async (t) => (await open(t)).leases));
  t.test('leases, shared', async (t) =>
    sharedLeasesContract(t, (t) => {
      const connect = storage(t);
      return async () => (await connect()).leases;
    }),
  );
  t.test('checkpoints', async (t) => checkpointsContract(t, async (t) => (await open(t)).checkpoints));
  t.test('checkpoints, shared', async (t) =>
    sharedCheckpointsContract(t, (t) => {
      const connect = storage(t);
      return async () => (await connect()).checkpoints;
    }),
  );
  t.test('audit trail', async (t) => auditTrailContract(t, open));
  t.test('webhooks', async (t) => webhooksContract(t, open));
  t.test('webhooks, shared', async (t) => sharedWebhooksContract(t, storage));
}
