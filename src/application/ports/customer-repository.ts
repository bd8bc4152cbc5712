import type { Customer, CustomerContent } from '../../domain/customer.ts';
import type { Conflict, ConflictCode, CustomerUrn, ExternalId, TenantId } from '../../domain/identity.ts';
import type { Violation } from '../../domain/violations.ts';
import type { MaybePromise } from '../maybe-promise.ts';
import type { Actor } from './actor.ts';
import type { Erasure, RecoveryReport, Residue } from './erasures.ts';

/** The actor and time of a write. */
export interface WriteContext extends Actor {
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** The actor and time of an erasure, and what its request asked for. */
export interface ErasureContext extends WriteContext {
  /** Whether to erase the customer at this version. Absent: at every version. */
  readonly accepts?: ((version: number) => boolean) | undefined;
  /** See {@link Erasure.reference}. */
  readonly reference?: string | undefined;
}

/** A customer as stored. `version` begins at 1 and grows by one with every change. */
export interface StoredCustomer {
  readonly customer: Customer;
  readonly version: number;
  /** Absent from an anonymized record; its {@link Erasure} has the actor. */
  readonly origin?: Origin;
}

/** The source of a record (GDPR Art. 15(1)(g)): the actors of its first and its last write. */
export interface Origin {
  readonly storedBy: Actor;
  readonly changedBy?: Actor;
}

/** The origin of a record after a change by `actor`. */
export const changedBy = (origin: Origin | undefined, { keyId, requestId }: Actor): Origin => ({
  storedBy: origin?.storedBy ?? { keyId, requestId },
  changedBy: { keyId, requestId },
});

export type CustomerReference = { readonly urn: CustomerUrn } | { readonly externalId: ExternalId };

/** An Idempotency-Key and its request as digests, because both may contain personal data. */
export interface IdempotencyKey {
  /** Digest of tenant and key: 32 bytes. */
  readonly keyDigest: Uint8Array;
  /** Digest of key and request: 32 bytes. Equal digests mean the same request. */
  readonly requestDigest: Uint8Array;
  /** When the key may be used for another request, in milliseconds since 1970. */
  readonly expiresAt: number;
}

/** The stored result of a successful write with an Idempotency-Key. */
export interface IdempotencyRecord {
  readonly code: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/**
 * The result of a write. With an {@link IdempotencyKey}, a SUCCESS is recorded in the same transaction. No other result
 * is recorded, so the retry of a refused write is evaluated again.
 */
export type WriteResult =
  | {
      readonly code: 'SUCCESS';
      readonly stored: StoredCustomer;
      /** True if an earlier request with the same Idempotency-Key made the change. `stored` is the current record. */
      readonly replayed?: true;
    }
  | {
      readonly code: ConflictCode /** At least one; the first has this code. */;
      readonly conflicts: readonly Conflict[];
    }
  | { readonly code: 'CUSTOMER_NOT_FOUND' | 'VERSION_MISMATCH' | 'IDEMPOTENCY_KEY_REUSED' }
  | { readonly code: 'INVALID_REQUEST'; readonly violations: readonly Violation[] };

/** How to change the current record; see {@link CustomerRepository.update}. */
export type Decision =
  | { readonly write: Customer }
  | { readonly leave: 'SUCCESS' | 'VERSION_MISMATCH' | 'CUSTOMER_NOT_FOUND' }
  | { readonly refuse: readonly Violation[] };

/**
 * The customers of all tenants. No method reads or affects another tenant's customers. A write is durable (survives a
 * power cut) before its promise resolves. Uniqueness holds across all callers and processes. Every change of a customer
 * also stores one change event, in the same transaction. `test/contract/customer-repository.ts` is the contract suite.
 */
export interface CustomerRepository {
  /**
   * Stores a new customer under a new URN, which the repository chooses and never reuses. Returns SUCCESS, the
   * conflicts with other customers, or, with a key, IDEMPOTENCY_KEY_REUSED.
   */
  store(tenant: TenantId, content: CustomerContent, context: WriteContext, key?: IdempotencyKey): Promise<WriteResult>;

  /** The customer; undefined if it does not exist. Finds an anonymized customer only by its URN. Writes nothing. */
  find(tenant: TenantId, by: CustomerReference): MaybePromise<StoredCustomer | undefined>;

  /** Whether a customer has this ExternalId. An anonymized customer has none. Writes nothing. */
  hasExternalId(tenant: TenantId, externalId: ExternalId): MaybePromise<boolean>;

  /**
   * Reads a customer and applies `decide` to it, atomically. `decide` gets undefined if the customer does not exist, must
   * be pure, and may be called more than once. Returns SUCCESS with the resulting record, the code or violations that
   * `decide` returned, or the conflicts with other customers; with a key also IDEMPOTENCY_KEY_REUSED. Rethrows exceptions of
   * `decide`. Never changes an anonymized record; see {@link CustomerRepository.erase}.
   */
  update(
    tenant: TenantId,
    by: CustomerReference,
    decide: (current: StoredCustomer | undefined) => Decision,
    context: WriteContext,
    key?: IdempotencyKey,
  ): Promise<WriteResult>;

  /**
   * Erases a customer (GDPR Art. 17). The first step is durable: it makes the data permanently unreadable (an adapter
   * that encrypts destroys the data key) and appends an entry to the erasure log. The second step stores the anonymized
   * record. If the second step fails, reads still return the anonymized record, and `recoverErasures` finishes the
   * erasure. Also erases a record that cannot be decrypted. Returns SUCCESS; SUCCESS without a change if the customer
   * is already erased; CUSTOMER_NOT_FOUND; VERSION_MISMATCH if `accepts` rejects the version, which no other write
   * changes until the first step is done; with a key also IDEMPOTENCY_KEY_REUSED.
   */
  erase(tenant: TenantId, by: CustomerReference, context: ErasureContext, key?: IdempotencyKey): Promise<WriteResult>;

  /** Finishes the tenant's erasures that were interrupted, in any process. A job calls it for each tenant. */
  recoverErasures(tenant: TenantId): Promise<RecoveryReport>;

  /**
   * Deletes the tenant's idempotency records that have expired at `now` (milliseconds since 1970). A job calls it for
   * each tenant.
   */
  deleteExpired(tenant: TenantId, now: number): Promise<void>;

  /** The erasure of this tenant's customer; undefined if it was never erased. */
  findErasure(tenant: TenantId, urn: CustomerUrn): Promise<Erasure | undefined>;

  /** The idempotency records of this customer, including expired ones. */
  findIdempotencyRecords(tenant: TenantId, urn: CustomerUrn): Promise<readonly IdempotencyRecord[]>;

  /** Searches every place of this storage that could still contain data of the customer. */
  findResidue(tenant: TenantId, urn: CustomerUrn): Promise<Residue>;

  /**
   * The number of the tenant's customers. A customer whose erasure is not finished may count as not anonymized. For
   * operators: its time may grow with the number of customers.
   */
  countCustomers(tenant: TenantId): Promise<CustomerCount>;
}

/** The number of a tenant's customers. */
export interface CustomerCount {
  /** Without the anonymized ones. */
  readonly customers: number;
  readonly anonymized: number;
}
