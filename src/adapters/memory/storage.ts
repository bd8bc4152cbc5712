import type { CustomerRepository } from '../../application/ports/customer-repository.ts';
import type { Maintenance } from '../../application/ports/maintenance.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { ephemeralVault } from '../crypto/vault.ts';
import type { Storage } from '../storage.ts';
import { createMemoryCustomers } from './customers.ts';
import { createMemoryTenants } from './tenants.ts';

export interface MemoryStorageOptions {
  /** Two digits, the second part of every CustomerUrn. */
  readonly partition: string;
  /** Replaces the built-in repository. */
  readonly repository?: CustomerRepository | undefined;
}

/** Storage that ends with the process. Records are not sealed; the vault's keys sign receipts and digest. */
export function openMemoryStorage(
  { partition, repository }: MemoryStorageOptions,
  { referenceData }: { readonly referenceData: ReferenceData },
): Storage {
  return {
    repository: repository ?? createMemoryCustomers({ partition, referenceData }),
    directory: createMemoryTenants(),
    vault: ephemeralVault(),
    maintenance: { backup: noFiles, backupKeys: noFiles, compact: noFiles, rotateMasterKey: noFiles },
    canWrite: async () => true,
    recovered: [],
    warnings: [],
    close: async () => {},
  };
}

const noFiles: Maintenance['compact'] = async () => {
  throw new Error('memory storage has no files');
};
