import type { ApiKey, Tenant, TenantDirectory } from '../../application/ports/tenant-directory.ts';
import type { TenantId } from '../../domain/identity.ts';

/** Tenants and API keys in memory, for tests and embedding. */
export function createMemoryTenants(): TenantDirectory {
  const tenants = new Map<TenantId, Tenant>();
  const keys = new Map<string, ApiKey>();
  function replaceKey(key: ApiKey): ApiKey {
    keys.set(key.id, key);
    return key;
  }

  return {
    async addTenant(tenant) {
      if (tenants.has(tenant.id)) return false;
      tenants.set(tenant.id, tenant);
      return true;
    },
    async setTenant(tenant) {
      const present = tenants.get(tenant.id);
      if (present === undefined) return false;
      tenants.set(tenant.id, { ...tenant, createdAt: present.createdAt });
      return true;
    },
    async findTenant(id) {
      return tenants.get(id);
    },
    async listTenants() {
      return [...tenants.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
    },
    async addKey(key) {
      if (!tenants.has(key.tenant)) return false;
      keys.set(key.id, key);
      return true;
    },
    async listKeys(tenant) {
      return [...keys.values()]
        .filter((key) => tenant === undefined || key.tenant === tenant)
        .sort((one, other) => one.createdAt - other.createdAt || (one.id < other.id ? -1 : 1));
    },
    async revokeKey(id, now) {
      const key = keys.get(id);
      return key && replaceKey({ ...key, revokedAt: key.revokedAt ?? now });
    },
    async expireKey(id, expiresAt) {
      const key = keys.get(id);
      if (key === undefined || key.revokedAt !== undefined || (key.expiresAt ?? Infinity) <= expiresAt) return key;
      return replaceKey({ ...key, expiresAt });
    },
    async recordUse(uses) {
      for (const { tenant, id, requests, lastUsedAt } of uses) {
        const key = keys.get(id);
        if (key?.tenant !== tenant) continue;
        const total = { requests: key.requests + requests, lastUsedAt: Math.max(key.lastUsedAt ?? 0, lastUsedAt) };
        replaceKey({ ...key, ...total });
      }
    },
    async findKey(tenant, digest) {
      const key = [...keys.values()].find((one) => one.tenant === tenant && Buffer.compare(one.digest, digest) === 0);
      return key && { tenant: tenants.get(tenant) as Tenant, key };
    },
  };
}
