import type { ScratchRepository } from '../../application/ports/scratch-repository.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { CustomerTable } from './customer-table.ts';
import { MemoryCustomers } from './customers.ts';
import { createSealedEntries } from './sealed-entries.ts';

/** Not the partition of any stored customer: those have two digits. */
const madeUpPartition = 'new';

/** A scratch repository in memory. */
export const openScratch = (referenceData: ReferenceData): ScratchRepository =>
  scratchOf(referenceData, new CustomerTable(referenceData), () => {});

/** A scratch repository of any size; see `createSealedEntries`. */
export function openLargeScratch(referenceData: ReferenceData): ScratchRepository {
  const entries = createSealedEntries();
  // Nobody reads the events.
  const table = new CustomerTable(referenceData, (name) => (name === 'feeds' ? new EmptyMap() : entries.open(name)));
  return scratchOf(referenceData, table, entries.close);
}

/** A map that keeps nothing. */
class EmptyMap<Value> extends Map<string, Value> {
  override set(): this {
    return this;
  }
}

function scratchOf(referenceData: ReferenceData, table: CustomerTable, close: () => void): ScratchRepository {
  const customers = new MemoryCustomers(referenceData, madeUpPartition, table);
  return {
    find: (tenant, by) => customers.find(tenant, by),
    sync: (...request) => customers.sync(...request),
    exchange: (...request) => customers.exchange(...request),
    erase: (...request) => customers.erase(...request),
    findErasure: (...of) => customers.findErasure(...of),
    load: (tenant, stored) => table.load(tenant, stored),
    unload: (tenant, stored) => table.unload(tenant, stored),
    loadTombstone(tenant, externalId, tombstone) {
      table.leaveTombstone(tenant, externalId, { keyId: '', requestId: '', now: tombstone.expiresAt - 1, tombstone });
    },
    isMadeUp: (urn) => urn.startsWith(`cu.${madeUpPartition}.`),
    close,
  };
}
