import type { Customer, CustomerContent } from '../../domain/customer.ts';
import type { Conflict, ConflictCode, CustomerUrn, ExternalId, TenantId } from '../../domain/identity.ts';
import type { Violation } from '../../domain/violations.ts';
import type { MaybePromise } from '../maybe-promise.ts';
import type { Actor } from './actor.ts';
import type { ChangeEvent, FeedEvent } from './change-events.ts';
import type { Erasure, RecoveryReport, Residue } from './erasures.ts';
import type { Tombstone } from './tombstone.ts';

/** The actor and time of a write. */
export interface WriteContext extends Actor {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Present if the request has a source revision: the write is then fenced, and leaves tombstones. */
  readonly tombstone?: Tombstone | undefined;
}

/** The actor and time of an erasure, and what its request asked for. */
export interface ErasureContext extends WriteContext {
  /** The reason not to erase the customer as it is now; undefined to erase it. Absent: always erases. */
  readonly check?:
    | ((current: ErasureCandidate) => 'VERSION_MISMATCH' | 'STALE_REVISION' | 'CUSTOMER_MERGED' | undefined)
    | undefined;
  /** See {@link Erasure.reference}. */
  readonly reference?: string | undefined;
}

/** A customer that is to be erased. */
export interface ErasureCandidate {
  readonly version: number;
  /** Absent if the record has none, or cannot be decrypted. */
  readonly sourceRevision?: number | undefined;
  /** See {@link StoredCustomer.alias}. */
  readonly alias?: Alias | undefined;
}

/** A customer as stored. `version` begins at 1 and grows by one with every change. */
export interface StoredCustomer {
  readonly customer: Customer;
  readonly version: number;
  /** Absent from an anonymized record; its {@link Erasure} has the actor. */
  readonly origin?: Origin;
  /** Present if the customer was found by the ExternalId of another one, which was merged into it. */
  readonly alias?: Alias;
}

/** The ExternalId of a customer that was merged into another one, which it now names. */
export interface Alias {
  readonly externalId: ExternalId;
  /** See {@link Erasure.sourceRevision}. A request with an alias and a revision that is not higher is stale. */
  readonly sourceRevision?: number | undefined;
}

/** The source of a record (GDPR Art. 15(1)(g)): the actors of its first and its last write. */
export interface Origin {
  readonly storedBy: Actor;
  readonly changedBy?: Actor;
}

export type CustomerReference = { readonly urn: CustomerUrn } | { readonly externalId: ExternalId };

/**
 * A customer by one of its contact data. For reads only: an e-mail address or phone number may move to another customer,
 * so no write takes this reference.
 */
export type ContactReference =
  /** In the form of `canonicalEmail`. */
  | { readonly email: string }
  /** E.164. */
  | { readonly phoneNumber: string };

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
  /** `SUCCESS`, or the outcome of a `sync` or of a repeated erasure. */
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
      /** Of a `sync`: its effect. Of an erasure: `unchanged` if the customer was anonymized before. */
      readonly outcome?: SyncOutcome;
      /** Of a `sync` with the outcome `updated`, unless it is replayed: the names of the changed content fields. */
      readonly changedFields?: readonly string[];
    }
  | {
      readonly code: ConflictCode /** At least one; the first has this code. */;
      readonly conflicts: readonly Conflict[];
    }
  | {
      readonly code:
        | 'CUSTOMER_NOT_FOUND'
        | 'CUSTOMER_MERGED'
        | 'VERSION_MISMATCH'
        | RevisionRefusal
        | 'IDEMPOTENCY_KEY_REUSED';
    }
  | { readonly code: 'INVALID_REQUEST'; readonly violations: readonly Violation[] };

/** The effect of a `sync` that is not stale. */
export type SyncOutcome = 'created' | 'updated' | 'unchanged';

/** `STALE_REVISION`: what is stored is newer. `REVISION_CONFLICT`: it has the same revision, but other content. */
export type RevisionRefusal = 'STALE_REVISION' | 'REVISION_CONFLICT';

/** How to change the current record; see {@link CustomerRepository.update}. */
export type Decision =
  | { readonly write: Customer }
  | { readonly leave: 'SUCCESS' | 'VERSION_MISMATCH' | 'CUSTOMER_NOT_FOUND' | RevisionRefusal }
  | { readonly refuse: readonly Violation[] };

/**
 * A decision that can also create the customer, if there is no current record, or refuse to overwrite it, if the
 * ExternalId of the new content is an alias of it.
 */
export type SyncDecision =
  | Decision
  | { readonly create: CustomerContent }
  | { readonly leave: 'CUSTOMER_ALREADY_STORED' };

/** One change of {@link CustomerRepository.exchange}; the members are the arguments of `sync`. */
export interface Exchange {
  readonly by: CustomerReference;
  readonly decide: (current: StoredCustomer | undefined) => SyncDecision;
  readonly context: WriteContext;
}

/**
 * The customers of all tenants. No method reads or affects another tenant's customers. A write is durable (survives a
 * power cut) before its promise resolves. Uniqueness holds across all callers and processes. Every change of a customer
 * also stores one change event, in the same transaction. `test/contract/customer-repository.ts` is the contract suite.
 */
export interface CustomerRepository {
  /**
   * Stores a new customer under a new URN, which the repository chooses and never reuses. Returns SUCCESS, the
   * conflicts with other customers, STALE_REVISION if a tombstone of the ExternalId has the same or a higher revision
   * than `context`, or, with a key, IDEMPOTENCY_KEY_REUSED.
   */
  store(tenant: TenantId, content: CustomerContent, context: WriteContext, key?: IdempotencyKey): Promise<WriteResult>;

  /**
   * The customer; undefined if it does not exist. Finds an anonymized customer, and one whose erasure has begun, only by
   * its URN. The ExternalId of a customer that was merged finds the customer into which it was merged (see
   * {@link StoredCustomer.alias}); so it does in every method that takes a reference. Writes nothing.
   */
  find(tenant: TenantId, by: CustomerReference | ContactReference): MaybePromise<StoredCustomer | undefined>;

  /**
   * The first `limit` customers, or the first after a URN, which need not exist. Ordered by partition, then by sequence
   * as a number; includes anonymized customers. Fewer than `limit` only if there are no more. Writes nothing.
   */
  list(tenant: TenantId, after: CustomerUrn | undefined, limit: number): Promise<readonly StoredCustomer[]>;

  /** Whether `find` finds a customer by this ExternalId. Writes nothing. */
  hasExternalId(tenant: TenantId, externalId: ExternalId): MaybePromise<boolean>;

  /**
   * Reads a customer and applies `decide` to it, atomically. `decide` gets undefined if the customer does not exist, must
   * be pure, and may be called more than once. Returns SUCCESS with the resulting record, the code or violations that
   * `decide` returned, or the conflicts with other customers; with a key also IDEMPOTENCY_KEY_REUSED. Rethrows exceptions of
   * `decide`. Never changes an anonymized record; see {@link CustomerRepository.erase}. A fenced update that changes the
   * ExternalId leaves a tombstone of the old one; STALE_REVISION if a tombstone of the new one has the same or a higher
   * revision.
   */
  update(
    tenant: TenantId,
    by: CustomerReference,
    decide: (current: StoredCustomer | undefined) => Decision,
    context: WriteContext,
    key?: IdempotencyKey,
  ): Promise<WriteResult>;

  /**
   * Like `update`, but `decide` can also create the customer, if it does not exist. SUCCESS has the outcome. Creating has
   * the results of `store`. `by` an ExternalId must be that of the new content.
   */
  sync(
    tenant: TenantId,
    by: CustomerReference,
    decide: (current: StoredCustomer | undefined) => SyncDecision,
    context: WriteContext,
    key?: IdempotencyKey,
  ): Promise<WriteResult>;

  /**
   * Applies several changes of existing customers in one transaction; to create one is CUSTOMER_NOT_FOUND. Uniqueness is
   * judged at its end, so that customers can exchange unique keys. Returns their results if all are SUCCESS; else nothing
   * is stored, and the result is that of the first change that cannot be applied, with its index. Tombstones are left at
   * its end too, and do not forbid its own changes.
   */
  exchange(
    tenant: TenantId,
    changes: readonly Exchange[],
  ): Promise<{ readonly results: readonly WriteResult[] } | { readonly failed: number; readonly result: WriteResult }>;

  /** The highest revision in the unexpired tombstones of an ExternalId; undefined if it has none. */
  findTombstone(tenant: TenantId, externalId: ExternalId, now: number): MaybePromise<number | undefined>;

  /**
   * Erases a customer (GDPR Art. 17). The first step is durable: it makes the data permanently unreadable (an adapter
   * that encrypts destroys the data key) and appends an entry to the erasure log. The second step stores the anonymized
   * record. If the second step fails, reads still return the anonymized record, and `recoverErasures` finishes the
   * erasure. Also erases a record that cannot be decrypted. Returns SUCCESS; SUCCESS with the outcome `unchanged` if the
   * customer is already anonymized; CUSTOMER_NOT_FOUND; what `check` returns for the version that no other write changes
   * until the first step is done; with a key also IDEMPOTENCY_KEY_REUSED. A request with a revision leaves a tombstone of the
   * customer's ExternalId and of its aliases, also of an ExternalId that no customer has; not if it names an erased
   * customer by URN, because nobody knows the ExternalId any more. Frees the aliases. A customer that was merged gives
   * CUSTOMER_MERGED, until the one into which it was merged is erased.
   */
  erase(tenant: TenantId, by: CustomerReference, context: ErasureContext, key?: IdempotencyKey): Promise<WriteResult>;

  /**
   * Erases `from`, in the steps and with the guarantees of `erase`, but keeps its ExternalId as an alias: it finds `into`
   * until that is erased, and no customer can be stored with it. The aliases of `from` become aliases of `into`, whose
   * record does not change. Stores one change event, of `from`. Returns SUCCESS with the record of `into`; SUCCESS
   * without a change if `from` was merged into `into` before; CUSTOMER_NOT_FOUND unless both exist and are not
   * anonymized; STALE_REVISION if `from` has a higher revision than `context`; with a key also IDEMPOTENCY_KEY_REUSED.
   *
   * @param into another customer than `from`
   */
  merge(
    tenant: TenantId,
    from: CustomerUrn,
    into: CustomerUrn,
    context: WriteContext,
    key?: IdempotencyKey,
  ): Promise<WriteResult>;

  /** Finishes the tenant's erasures that were interrupted, in any process. A job calls it for each tenant. */
  recoverErasures(tenant: TenantId): Promise<RecoveryReport>;

  /**
   * Deletes the tenant's idempotency records and tombstones that have expired at `now` (milliseconds since 1970). A job
   * calls it for each tenant.
   */
  deleteExpired(tenant: TenantId, now: number): Promise<void>;

  /** The erasure or the merge of this tenant's customer; undefined if there was none. */
  findErasure(tenant: TenantId, urn: CustomerUrn): Promise<Erasure | undefined>;

  /**
   * The change events of this customer in the order of its versions, one for each version, also after its erasure. Empty
   * if the tenant has no such customer. The event of an erasure is stored in its second step.
   */
  history(tenant: TenantId, urn: CustomerUrn): Promise<readonly ChangeEvent[]>;

  /**
   * The tenant's change events after a position (0: all), in the order of their positions; fewer than `limit` only if there are no
   * more. Every event of a write that was acknowledged before the call has a position. An event never gets a position
   * before one that was returned earlier, even if its transaction began first.
   */
  changes(tenant: TenantId, after: number, limit: number): Promise<readonly FeedEvent[]>;

  /** The position of the tenant's last change event, as `changes` would return it; 0 if there is none. */
  lastChange(tenant: TenantId): Promise<number>;

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

/** The part of a repository that a synchronization uses: the stored customers, or a dry run over them. */
export type SyncRepository = Pick<CustomerRepository, 'sync' | 'exchange' | 'erase'> & {
  find(tenant: TenantId, by: CustomerReference): ReturnType<CustomerRepository['find']>;
};
