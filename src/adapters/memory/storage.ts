import type { CustomerRepository } from '../../application/ports/customer-repository.ts';
import { ephemeralVault } from '../crypto/vault.ts';
import type { Storage } from '../storage.ts';
import { createMemoryAccessRecords } from './access-records.ts';
import { createMemoryAuditTrail } from './audit-trail.ts';
import { createMemoryCheckpoints } from './checkpoints.ts';
import { createMemoryLeases } from './leases.ts';
import { createMemoryReferences } from './references.ts';
import { createMemoryTenants } from './tenants.ts';
import { createMemoryWebhooks } from './webhooks.ts';

/** Storage that is lost when the process ends. Records are not encrypted; the vault signs, digests, and seals the secrets of webhooks. */
export function openMemoryStorage(repository: CustomerRepository): Storage {
  return {
    repository,
    accessRecords: createMemoryAccessRecords(),
    references: createMemoryReferences(repository),
    directory: createMemoryTenants(),
    leases: createMemoryLeases(),
    checkpoints: createMemoryCheckpoints(),
    trail: createMemoryAuditTrail(repository),
    webhooks: createMemoryWebhooks(),
    vault: ephemeralVault(),
    maintenance: {
      backup: noFiles,
      backupKeys: noFiles,
      compact: noFiles,
      rotateMasterKey: noFiles,
      verifyErasureLog: noFiles,
    },
    canWrite: async () => true,
    recovered: [],
    warnings: [],
    // There is no cache: the storage holds plain objects.
    clearCache: () => {},
    close: async () => {},
  };
}

const noFiles = async (): Promise<never> => {
  throw new Error('memory storage has no files');
};
