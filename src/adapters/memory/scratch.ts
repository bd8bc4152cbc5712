import type { ScratchRepository } from '../../application/ports/scratch-repository.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { CustomerTable, type NewEntries } from './customer-table.ts';
import { MemoryCustomers } from './customers.ts';

/** Not the partition of any stored customer: those have two digits. */
const madeUpPartition = 'new';

/** A scratch repository. @param newEntries makes maps for what the dry run changes. Default: in memory */
export function openScratch(referenceData: ReferenceData, newEntries?: NewEntries): ScratchRepository {
  const table = new CustomerTable(referenceData, newEntries);
  const customers = new MemoryCustomers(referenceData, madeUpPartition, table);
  return {
    find: (tenant, by) => customers.find(tenant, by),
    sync: (...request) => customers.sync(...request),
    exchange: (...request) => customers.exchange(...request),
    erase: (...request) => customers.erase(...request),
    load: (tenant, stored) => table.load(tenant, stored),
    unload: (tenant, stored) => table.unload(tenant, stored),
    loadTombstone(tenant, externalId, tombstone) {
      table.leaveTombstone(tenant, externalId, { keyId: '', requestId: '', now: tombstone.expiresAt - 1, tombstone });
    },
    isMadeUp: (urn) => urn.startsWith(`cu.${madeUpPartition}.`),
  };
}
