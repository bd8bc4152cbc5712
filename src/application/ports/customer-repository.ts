import type { Customer, CustomerContent } from '../../domain/customer.ts';
import type { Conflict, CustomerUrn, ExternalId, TenantId } from '../../domain/identity.ts';
import type { Violation } from '../../domain/violations.ts';
import type { MaybePromise } from '../maybe-promise.ts';

/** Who asked for a write: the API key, and the request by which the log knows it. */
export interface Actor {
  readonly keyId: string;
  readonly requestId: string;
}

/** On what occasion a write is made. */
export interface WriteContext extends Actor {
  /** See {@link Clock}. */
  readonly now: number;
}

/** A customer as it is stored. `version` begins at 1 and grows by one with every change. */
export interface StoredCustomer {
  readonly customer: Customer;
  readonly version: number;
  /** Where the record came from (GDPR Art. 15(1)(g)); absent from an anonymised one, whose erasure says who asked for it. */
  readonly origin?: Origin;
}

/** Who asked for the record to be stored, and for its last change where there was one. */
export interface Origin {
  readonly storedBy: Actor;
  readonly changedBy?: Actor;
}

/** The origin of a record that is changed. */
export const changedBy = (origin: Origin | undefined, { keyId, requestId }: Actor): Origin => {
  const asker = { keyId, requestId };
  return { storedBy: origin?.storedBy ?? asker, changedBy: asker };
};

export type CustomerReference = { readonly urn: CustomerUrn } | { readonly externalId: ExternalId };

/**
 * An Idempotency-Key as it is kept: digests alone, so that neither the key nor the request, both of which may be
 * personal, can be read back.
 */
export interface IdempotencyKey {
  /** Digest of tenant and key: 32 bytes. */
  readonly digest: Uint8Array;
  /** Digest of key and request: 32 bytes. */
  readonly requestDigest: Uint8Array;
  /** When the key may be used anew; see {@link Clock}. */
  readonly expiresAt: number;
}

/** The answer to a write. With a `RequestKey` it is kept in the same transaction, save INVALID_REQUEST and REUSED. */
export type WriteResult = (
  | { readonly code: 'SUCCESS'; readonly stored: StoredCustomer }
  | { readonly code: Conflict | 'CUSTOMER_NOT_FOUND' | 'VERSION_MISMATCH' }
  | { readonly code: 'INVALID_REQUEST'; readonly violations: readonly Violation[] }
  | { readonly code: 'IDEMPOTENCY_KEY_REUSED' }
) & {
  /** True where the answer is that of an earlier request with the same key, given with the record as it is now. */
  readonly replayed?: true;
};

/** What is kept of an answer under a `RequestKey`: nothing personal. With SUCCESS, the record is read anew by its URN. */
export interface KeptAnswer {
  readonly code: Exclude<WriteResult['code'], 'INVALID_REQUEST' | 'IDEMPOTENCY_KEY_REUSED'>;
  readonly urn?: CustomerUrn;
}

/** What is to be kept of an answer; undefined where nothing is: the request may be sent again, corrected. */
export function keptAnswer(answer: WriteResult): KeptAnswer | undefined {
  if (answer.code === 'INVALID_REQUEST' || answer.code === 'IDEMPOTENCY_KEY_REUSED') return undefined;
  return answer.code === 'SUCCESS'
    ? { code: answer.code, urn: answer.stored.customer.customerUrn }
    : { code: answer.code };
}

/** What the ledger says of one erasure. It outlives the record's backups and holds nothing personal. */
export interface Erasure extends Actor {
  readonly urn: CustomerUrn;
  /** When the record became unreadable; see {@link Clock}. */
  readonly erasedAt: number;
  /**
   * Names of the fields that had a value and were rewritten or removed; absent where that is not known any more: the
   * record could not be read, or the entry was made anew from what was left of it.
   */
  readonly rewritten?: readonly string[];
}

/** What a look for a customer that was erased found. */
interface Residue {
  readonly findings: readonly ResidueFinding[];
  /** Places that are out of our sight, in words. */
  readonly unseen: readonly string[];
}

/** What was found in one place: a table's column, an index, a store. */
export interface ResidueFinding {
  readonly place: string;
  /** How many values are left that lead to the person; 0 after a complete erasure. */
  readonly found: number;
}

/** What to do with the record that was found; see {@link CustomerRepository.update}. */
export type Decision =
  | { readonly write: Customer }
  | { readonly leave: 'SUCCESS' | 'VERSION_MISMATCH' | 'CUSTOMER_NOT_FOUND' }
  | { readonly refuse: readonly Violation[] };

/**
 * The customers of all tenants. No method sees or affects another tenant's. Whatever a write answers is durable
 * (power cut included) before its promise resolves, and uniqueness holds over any number of callers and processes.
 */
export interface CustomerRepository extends ErasureRecords {
  /**
   * Stores a new customer under a URN that was never handed out before; the repository sets `customerUrn`.
   * Answers SUCCESS, the first conflict in the domain's order of precedence, or, with a key, IDEMPOTENCY_KEY_REUSED.
   */
  store(tenant: TenantId, content: CustomerContent, occasion: WriteContext, key?: IdempotencyKey): Promise<WriteResult>;

  /** The customer, or undefined. An anonymised one is found by its URN alone. */
  find(tenant: TenantId, by: CustomerReference): MaybePromise<StoredCustomer | undefined>;

  /** Whether a customer has that ExternalId. An anonymised one has none. */
  hasExternalId(tenant: TenantId, externalId: ExternalId): MaybePromise<boolean>;

  /**
   * Reads a customer and does with it what `decide` says, as one atomic step: no other change comes between.
   * `decide` gets undefined where there is none, must be pure, and may be called more than once. Answers SUCCESS
   * with the record as it is afterwards, what `decide` said, or a conflict with another customer; with a key also
   * IDEMPOTENCY_KEY_REUSED. It never writes an anonymised record; see `erase`.
   */
  update(
    tenant: TenantId,
    by: CustomerReference,
    decide: (current: StoredCustomer | undefined) => Decision,
    occasion: WriteContext,
    key?: IdempotencyKey,
  ): Promise<WriteResult>;

  /**
   * Erases a customer: first makes its data unreadable for good (where it is sealed: destroys its key) and enters that
   * in the ledger, durably; then puts the anonymised record (`deletion.ts`) in its place. Whatever fails in between,
   * nothing is readable from the first step on, and the next touch, tidying or start completes the rest. A record that cannot be
   * read any more is erased as well. What is kept under Idempotency-Keys of its requests is reduced to code and URN: a
   * repeat gets the answer whatever else it says. Answers SUCCESS, also for one that was erased before, which stays as it
   * is; CUSTOMER_NOT_FOUND; with a key also IDEMPOTENCY_KEY_REUSED.
   */
  erase(tenant: TenantId, by: CustomerReference, occasion: WriteContext, key?: IdempotencyKey): Promise<WriteResult>;

  /**
   * Removes answers whose time is over, of all tenants, and what is kept in memory of customers that nobody asks for. To be
   * called every few seconds.
   */
  deleteExpired(now: number): Promise<void>;
}

/** The part of {@link CustomerRepository} that answers for erasures. */
interface ErasureRecords {
  /** What the ledger says; undefined where this tenant's customer was never erased. */
  findErasure(tenant: TenantId, urn: CustomerUrn): Promise<Erasure | undefined>;
  /** Answers under an Idempotency-Key that name the customer: their codes, and until when they are kept. */
  findIdempotencyRecords(tenant: TenantId, urn: CustomerUrn): Promise<readonly { code: string; expiresAt: number }[]>;
  /** Looks, now, through every place of ours where something of the customer could be left. */
  findResidue(tenant: TenantId, urn: CustomerUrn): Promise<Residue>;
}
