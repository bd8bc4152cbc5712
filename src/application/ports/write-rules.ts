/** Rules that every adapter of `CustomerRepository` follows in its writes. */
import { changedFields } from '../../domain/events.ts';
import { externalIdConflict } from '../../domain/identity.ts';
import type { Actor } from './actor.ts';
import type {
  CustomerReference,
  Exchange,
  Origin,
  StoredCustomer,
  SyncDecision,
  SyncOutcome,
  WriteResult,
} from './customer-repository.ts';
import type { Tombstone } from './tombstone.ts';

/** The origin of a record after a change by `actor`. */
export const changedBy = (origin: Origin | undefined, { keyId, requestId }: Actor): Origin => ({
  storedBy: origin?.storedBy ?? { keyId, requestId },
  changedBy: { keyId, requestId },
});

/** The result of a decision that stores nothing; undefined for one that writes or creates. */
export function resultWithoutWrite(
  decision: SyncDecision,
  current: StoredCustomer | undefined,
): WriteResult | undefined {
  if ('refuse' in decision) return { code: 'INVALID_REQUEST', violations: decision.refuse };
  if ('leave' in decision && decision.leave === 'CUSTOMER_ALREADY_STORED') {
    const { customerUrn } = (current as StoredCustomer).customer;
    return { code: decision.leave, conflicts: [externalIdConflict(customerUrn)] };
  }
  if ('leave' in decision && decision.leave !== 'SUCCESS') return { code: decision.leave };
  if ('create' in decision === (current !== undefined)) {
    throw new Error('decide must create a customer that does not exist, and only such a customer');
  }
  return 'leave' in decision ? { code: 'SUCCESS', stored: current as StoredCustomer } : undefined;
}

/** How an exchange decides: it creates no customer. */
export const onlyExisting =
  (decide: Exchange['decide']): Exchange['decide'] =>
  (current) => {
    const decision = decide(current);
    return current === undefined && 'create' in decision ? { leave: 'CUSTOMER_NOT_FOUND' } : decision;
  };

/**
 * The reference to a customer of an exchange whose unique keys may be released: then it is no longer found by its
 * ExternalId, but still by its aliases.
 */
export const referenceAfterRelease = (by: CustomerReference, current: StoredCustomer | undefined): CustomerReference =>
  current === undefined || current.alias !== undefined ? by : { urn: current.customer.customerUrn };

/** The effect of a `sync` that replaced `before` by `after`; `before` is undefined for a new customer. */
export function syncEffect(before: StoredCustomer | undefined, after: StoredCustomer) {
  if (before === undefined) return { outcome: 'created' } as const;
  if (before.version === after.version) return { outcome: 'unchanged' } as const;
  return { outcome: 'updated', changedFields: changedFields(before.customer, after.customer) } as const;
}

/** The replayed result of a request that was recorded under its Idempotency-Key with this code. */
export const replayOf = (stored: StoredCustomer, code: string): WriteResult => ({
  code: 'SUCCESS',
  stored,
  replayed: true,
  ...(code !== 'SUCCESS' && { outcome: code as SyncOutcome }),
});

/** The code under which a SUCCESS is recorded for its Idempotency-Key. */
export const idempotencyCode = ({ outcome }: { readonly outcome?: SyncOutcome }): string => outcome ?? 'SUCCESS';

/**
 * What an erasure leaves for an alias. A message that the merge fences off must not bring the customer back either.
 *
 * @param mergedAt the source revision of the merge; see `Alias`
 */
export function forAlias<Fence extends { readonly tombstone?: Tombstone | undefined }>(
  fence: Fence,
  mergedAt: number | undefined,
): Fence {
  const { tombstone } = fence;
  if (tombstone === undefined || mergedAt === undefined || mergedAt <= tombstone.revision) return fence;
  return { ...fence, tombstone: { ...tombstone, revision: mergedAt } };
}
