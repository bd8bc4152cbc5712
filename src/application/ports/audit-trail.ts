import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import type { LogPosition } from './erasures.ts';

/** A change event as stored. */
export interface StoredEvent {
  readonly position: number;
  readonly customerUrn: CustomerUrn;
  readonly version: number;
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The text of its `EventBody`, which may be damaged. */
  readonly body: string;
}

/** What the storage has of one customer: a record, events, or both. */
export interface CustomerTrail {
  readonly customerUrn: CustomerUrn;
  readonly record?: { readonly version: number; readonly isAnonymized: boolean };
  readonly events?: {
    readonly count: number;
    readonly firstVersion: number;
    readonly lastVersion: number;
    /** How many have no position, so that the feed lacks them. On PostgreSQL also those that are not numbered yet. */
    readonly unnumbered: number;
    /** Whether the event of the last version is that of an erasure or a merge. */
    readonly isAnonymizing: boolean;
  };
}

/** An entry of the erasure log. */
interface ErasureEntry extends LogPosition {
  /** Absent if the entry is damaged. */
  readonly customerUrn?: CustomerUrn;
}

/**
 * What an audit reads: stored data as it is, without decrypting records. Nothing is written. `test/contract/audit-trail.ts`
 * is the contract suite.
 */
export interface AuditTrail {
  /** The events after a position, in order; fewer than `limit` only if there are no more. */
  events(tenant: TenantId, after: number, limit: number): Promise<readonly StoredEvent[]>;
  /** The highest position of an event; 0 if there is none. The feed itself may say otherwise: see `lastChange`. */
  lastPosition(tenant: TenantId): Promise<number>;
  /** The last customer with a record or an event, in the order of `CustomerRepository.list`; undefined if there is none. */
  lastCustomer(tenant: TenantId): Promise<CustomerUrn | undefined>;
  /** Some customers after a URN up to another one, in this order; none only if there are no more. */
  customers(
    tenant: TenantId,
    after: CustomerUrn | undefined,
    until: CustomerUrn,
    limit: number,
  ): Promise<readonly CustomerTrail[]>;
  /** One customer; undefined if there is neither a record nor an event. */
  customer(tenant: TenantId, urn: CustomerUrn): Promise<CustomerTrail | undefined>;
  /** The last entry of the erasure log; undefined if it is empty, or if the adapter keeps no hash chain. */
  lastErasure(tenant: TenantId): Promise<LogPosition | undefined>;
  /** The sequence up to which all erasures are finished. */
  finishedErasures(tenant: TenantId): Promise<number>;
  /** The entries of the erasure log after a sequence, in order; none only if there are no more. */
  erasures(tenant: TenantId, after: number, limit: number): Promise<readonly ErasureEntry[]>;
  /** Whether the erasure log has this entry, with this chain value. */
  hasErasureAt(tenant: TenantId, position: LogPosition): Promise<boolean>;
  /** Whether the erasure log has an entry of the customer, sound or damaged. */
  hasErasure(tenant: TenantId, urn: CustomerUrn): Promise<boolean>;
}
