import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import type { ReferenceKind, ReferenceState, SubscriptionSummary } from '../../domain/references.ts';
import type { MaybePromise } from '../maybe-promise.ts';
import type { ContactReference, CustomerReference, StoredCustomer } from './customer-repository.ts';

/** What a flow binds to a customer. A tenant has one of each kind and reference. */
export interface NewReference {
  readonly customerUrn: CustomerUrn;
  readonly kind: ReferenceKind;
  /** Visible ASCII. */
  readonly reference: string;
  readonly state: ReferenceState;
}

/** A reference as stored. `customerUrn` is the customer that has it now: after a merge, the one that stays. */
export interface StoredReference extends NewReference {
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** When the state changed last, in milliseconds since 1970. */
  readonly updatedAt: number;
}

export type BindResult =
  | { readonly code: 'SUCCESS'; readonly stored: StoredReference }
  | { readonly code: 'CUSTOMER_NOT_FOUND' | 'CUSTOMER_ANONYMIZED' | 'REFERENCE_OF_ANOTHER_CUSTOMER' };

/** A customer, and the summary of the references that it has at the same time. */
export interface SummarizedCustomer {
  readonly stored: StoredCustomer;
  readonly subscriptions: SubscriptionSummary;
}

/**
 * What flows have bound to the customers of all tenants. No method reads or affects another tenant's references. They
 * stay when their customer is erased. After a merge they are those of the customer that stays, also if it is erased or
 * merged later; a URN that was merged names that customer in every method. If the second step of a merge has failed
 * (see `CustomerRepository.merge`), the references move when `recoverErasures` finishes it. Nothing here is personal data.
 * `test/contract/references.ts` is the contract suite.
 */
export interface ReferenceRepository {
  /**
   * Binds a reference to a customer, or sets the state of one that it has; durable when the promise resolves. Of several
   * calls at once, each sees the effect of those before it. A call that changes nothing leaves `updatedAt` alone. Returns
   * SUCCESS with the reference as stored; CUSTOMER_NOT_FOUND; CUSTOMER_ANONYMIZED if the customer was erased and has no
   * such reference; REFERENCE_OF_ANOTHER_CUSTOMER.
   *
   * @param now milliseconds since 1970
   */
  bind(tenant: TenantId, reference: NewReference, now: number): Promise<BindResult>;

  /** The references of a customer, ordered by kind and reference as ASCII. Undefined if the tenant has no such customer. */
  list(tenant: TenantId, urn: CustomerUrn): Promise<readonly StoredReference[] | undefined>;

  /** The customer as `CustomerRepository.find` finds it, with its summary. Undefined if there is none. Writes nothing. */
  find(tenant: TenantId, by: CustomerReference | ContactReference): MaybePromise<SummarizedCustomer | undefined>;
}
