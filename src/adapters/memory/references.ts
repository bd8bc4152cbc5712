import { andThen, type MaybePromise } from '../../application/maybe-promise.ts';
import type { CustomerRepository, StoredCustomer } from '../../application/ports/customer-repository.ts';
import type { NewReference, ReferenceRepository, StoredReference } from '../../application/ports/references.ts';
import { isAnonymized } from '../../domain/anonymization.ts';
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import { subscriptionSummary } from '../../domain/references.ts';

/**
 * References in memory, for tests and embedding, beside any repository of customers. Each keeps the URN to which it was
 * bound. The customers are asked for merges at every read, so they need not tell of them; a read takes time for each
 * reference of the tenant.
 */
export function createMemoryReferences(customers: Pick<CustomerRepository, 'find'>): ReferenceRepository {
  const tenants = new Map<TenantId, Map<string, StoredReference>>();

  /** The customer that a URN names after all merges. */
  const holderOf = (tenant: TenantId, urn: CustomerUrn): MaybePromise<StoredCustomer | undefined> =>
    andThen(customers.find(tenant, { urn }), (stored) => {
      const into = stored?.customer.mergedInto;
      return into === undefined ? stored : holderOf(tenant, into);
    });

  /** Whether two URNs name the same customer after all merges. */
  async function areSame(tenant: TenantId, one: CustomerUrn, other: CustomerUrn): Promise<boolean> {
    if (one === other) return true;
    return (await holderOf(tenant, one))?.customer.customerUrn === other;
  }

  /** The references of a customer that was not merged. */
  async function referencesOf(tenant: TenantId, customerUrn: CustomerUrn): Promise<StoredReference[]> {
    const found: StoredReference[] = [];
    for (const one of tenants.get(tenant)?.values() ?? []) {
      if (await areSame(tenant, one.customerUrn, customerUrn)) found.push({ ...one, customerUrn });
    }
    return found.sort(inOrder);
  }

  const list: ReferenceRepository['list'] = async (tenant, urn) => {
    const holder = await holderOf(tenant, urn);
    return holder && referencesOf(tenant, holder.customer.customerUrn);
  };

  return {
    async bind(tenant, wanted, now) {
      const holder = await holderOf(tenant, wanted.customerUrn);
      if (holder === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
      const { customerUrn } = holder.customer;
      const references = tenants.get(tenant) ?? new Map<string, StoredReference>();
      tenants.set(tenant, references);
      const name = nameOf(wanted);
      const present = references.get(name);
      if (present === undefined) {
        if (isAnonymized(holder.customer)) return { code: 'CUSTOMER_ANONYMIZED' };
        const stored = { ...wanted, customerUrn, createdAt: now, updatedAt: now };
        references.set(name, stored);
        return { code: 'SUCCESS', stored };
      }
      if (!(await areSame(tenant, present.customerUrn, customerUrn))) return { code: 'REFERENCE_OF_ANOTHER_CUSTOMER' };
      const { state } = wanted;
      // Another call may have set the state meanwhile.
      const current = references.get(name) as StoredReference;
      const stored = { ...current, customerUrn, ...(current.state !== state && { state, updatedAt: now }) };
      references.set(name, stored);
      return { code: 'SUCCESS', stored };
    },
    list,
    find(tenant, by) {
      return andThen(customers.find(tenant, by), (stored) => {
        if (stored === undefined) return undefined;
        if (tenants.get(tenant) === undefined) return { stored, subscriptions: subscriptionSummary(0, 0) };
        return list(tenant, stored.customer.customerUrn).then((references = []) => {
          const subscriptions = references.filter(({ kind }) => kind === 'subscription');
          const active = subscriptions.filter(({ state }) => state === 'active').length;
          return { stored, subscriptions: subscriptionSummary(subscriptions.length, active) };
        });
      });
    },
  };
}

const nameOf = ({ kind, reference }: NewReference): string => `${kind} ${reference}`;

const inOrder = (one: NewReference, other: NewReference): number => (nameOf(one) < nameOf(other) ? -1 : 1);
