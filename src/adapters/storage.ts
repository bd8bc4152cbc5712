import type { AccessRecords } from '../application/ports/access-records.ts';
import type { AuditTrail } from '../application/ports/audit-trail.ts';
import type { Checkpoints } from '../application/ports/checkpoints.ts';
import type { CustomerRepository } from '../application/ports/customer-repository.ts';
import type { Leases } from '../application/ports/leases.ts';
import type { Maintenance } from '../application/ports/maintenance.ts';
import type { ReferenceRepository } from '../application/ports/references.ts';
import type { TenantDirectory } from '../application/ports/tenant-directory.ts';
import type { WebhookDirectory } from '../application/ports/webhooks.ts';
import type { Vault } from './crypto/vault.ts';

/** One opened storage: every port that keeps data, over the same files, database or memory. */
export interface Storage {
  readonly repository: CustomerRepository;
  readonly accessRecords: AccessRecords;
  readonly references: ReferenceRepository;
  readonly directory: TenantDirectory;
  readonly leases: Leases;
  readonly checkpoints: Checkpoints;
  readonly trail: AuditTrail;
  readonly webhooks: WebhookDirectory;
  readonly vault: Vault;
  readonly maintenance: Maintenance;
  /** Whether the storage accepts writes now. */
  readonly canWrite: () => Promise<boolean>;
  /** The changes that recovery made when the storage was opened, one sentence each. Later starts do not repeat them. */
  readonly recovered: readonly string[];
  /** Conditions that an operator should correct, one sentence each, reported at every start. */
  readonly warnings: readonly string[];
  /** Removes decrypted records from memory. A job calls it, so that no record stays for more than a few seconds. */
  readonly clearCache: () => void;
  /** Finishes operations in flight, then closes. */
  close(): Promise<void>;
}
