import type { AuditTrail, CustomerTrail } from '../../application/ports/audit-trail.ts';
import type { FeedEvent } from '../../application/ports/change-events.ts';
import type { CustomerRepository, StoredCustomer } from '../../application/ports/customer-repository.ts';
import { isAnonymized } from '../../domain/anonymization.ts';
import { isAnonymizing } from '../../domain/events.ts';
import type { TenantId } from '../../domain/identity.ts';

/** The audit trail of a repository that keeps no hash chain of its erasures. */
export function createMemoryAuditTrail(repository: CustomerRepository): AuditTrail {
  async function trailOf(tenant: TenantId, { customer, version }: StoredCustomer): Promise<CustomerTrail> {
    const { customerUrn } = customer;
    const events = await repository.history(tenant, customerUrn);
    const last = events.at(-1);
    return {
      customerUrn,
      record: { version, isAnonymized: isAnonymized(customer) },
      ...(last !== undefined && {
        events: {
          count: events.length,
          firstVersion: events[0]?.version ?? 0,
          lastVersion: last.version,
          unnumbered: 0,
          isAnonymizing: isAnonymizing(last.type),
        },
      }),
    };
  }
  return {
    async events(tenant, after, limit) {
      return (await repository.changes(tenant, after, limit)).map(storedEvent);
    },
    lastPosition: (tenant) => repository.lastChange(tenant),
    async lastCustomer(tenant) {
      return (await repository.list(tenant, undefined, Number.MAX_SAFE_INTEGER)).at(-1)?.customer.customerUrn;
    },
    async customers(tenant, after, until, limit) {
      const found = await repository.list(tenant, after, limit);
      const end = found.findIndex(({ customer }) => customer.customerUrn === until);
      return Promise.all((end < 0 ? found : found.slice(0, end + 1)).map((stored) => trailOf(tenant, stored)));
    },
    async customer(tenant, urn) {
      const stored = await repository.find(tenant, { urn });
      return stored && trailOf(tenant, stored);
    },
    lastErasure: async () => undefined,
    finishedErasures: async () => 0,
    erasures: async () => [],
    hasErasureAt: async () => false,
    async hasErasure(tenant, urn) {
      return (await repository.findErasure(tenant, urn)) !== undefined;
    },
  };
}

const storedEvent = ({ position, customerUrn, version, id, at, ...body }: FeedEvent) => ({
  position,
  customerUrn,
  version,
  id,
  at,
  body: JSON.stringify(body),
});
