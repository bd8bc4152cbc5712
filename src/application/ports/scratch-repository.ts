import type { CustomerUrn, ExternalId, TenantId } from '../../domain/identity.ts';
import type { CustomerRepository, StoredCustomer } from './customer-repository.ts';
import type { Tombstone } from './tombstone.ts';

/**
 * A repository for one dry run: it holds copies of the customers that the run touches, and what the run would store. Its
 * writes take effect before the call returns.
 */
export interface ScratchRepository extends Pick<CustomerRepository, 'sync' | 'exchange' | 'erase' | 'findErasure'> {
  find(...request: Parameters<CustomerRepository['find']>): StoredCustomer | undefined;
  /** Adds a copy of a stored customer. Returns false, and does nothing, if the customer is there already. */
  load(tenant: TenantId, stored: StoredCustomer): boolean;
  /** Removes a copy, unless the run has changed it. */
  unload(tenant: TenantId, stored: StoredCustomer): void;
  /** Adds a copy of a tombstone, unless the ExternalId has one. */
  loadTombstone(tenant: TenantId, externalId: ExternalId, tombstone: Tombstone): void;
  /** Whether a CustomerUrn is of a customer that the run would create: no stored customer has it. */
  isMadeUp(urn: CustomerUrn): boolean;
  /** Deletes everything. The repository must not be used afterwards. */
  close(): void;
}
