import type { TenantId } from '../../domain/identity.ts';
import type { LogPosition } from './erasures.ts';

/**
 * A signed statement of which change events a tenant's feed has: the events after those of the checkpoint before, and
 * through it all events so far. `application/audit/checkpoints.ts` defines what is hashed and signed.
 */
export interface Checkpoint {
  /** From 1, without gaps. */
  readonly sequence: number;
  /** The position of its last event. */
  readonly through: number;
  /** The digests of its events in the order of their positions, `digestBytes` each. */
  readonly digests: Uint8Array;
  /** The hash of the checkpoint before, base64url; empty for the first. */
  readonly previous: string;
  /** The last entry of the erasure log when the checkpoint was made. Absent if the log was empty. */
  readonly erasureLog?: LogPosition;
  /** When it was made, in milliseconds since 1970. */
  readonly at: number;
  /** Ed25519, 64 bytes, by the key that signs receipts. */
  readonly signature: Uint8Array;
}

/** The checkpoints of all tenants. `test/contract/checkpoints.ts` is the contract suite. */
export interface Checkpoints {
  /**
   * Stores a checkpoint durably. Returns false, and stores nothing, if the tenant has one of this sequence: another
   * process was first.
   */
  add(tenant: TenantId, checkpoint: Checkpoint): Promise<boolean>;
  /** The checkpoint with the highest sequence; undefined if the tenant has none. */
  last(tenant: TenantId): Promise<Checkpoint | undefined>;
  /** The checkpoints after a sequence, in order; fewer than `limit` only if there are no more. */
  list(tenant: TenantId, after: number, limit: number): Promise<readonly Checkpoint[]>;
}
