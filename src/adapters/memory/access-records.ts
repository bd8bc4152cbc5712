import type { Access, AccessRecords } from '../../application/ports/access-records.ts';
import type { TenantId } from '../../domain/identity.ts';

/** Access records in memory, for tests and embedding. */
export function createMemoryAccessRecords(): AccessRecords {
  const records = new Map<TenantId, Access[]>();
  return {
    async add(tenant, access) {
      records.set(tenant, [...(records.get(tenant) ?? []), access]);
    },
    async list(tenant, urn) {
      const found = records.get(tenant)?.filter(({ customerUrn }) => customerUrn === urn) ?? [];
      return found.sort((one, other) => one.at - other.at);
    },
  };
}
