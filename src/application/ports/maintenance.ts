import type { TenantId } from '../../domain/identity.ts';
import type { AuditFinding, LogPosition } from './erasures.ts';

/** Operations on a running deployment. In memory all throw; on PostgreSQL `backup`, `backupKeys` and `compact`. */
export interface Maintenance {
  /** Writes a consistent backup of the records, which contains no key, to a new file. Throws if the file exists. */
  backup(file: string): Promise<void>;
  /** Writes a backup of the keys and the erasure log. Replaces an earlier backup and overwrites its bytes. */
  backupKeys(file: string): Promise<void>;
  /** Rewrites the records' file so that no deleted bytes remain in unused pages. Writers wait, and time out after 5 s. */
  compact(): Promise<void>;
  /** Wraps the root keys with a new master key, which replaces the old one in its file. */
  rotateMasterKey(): Promise<void>;
  /**
   * Checks a tenant's whole erasure log and compares it with the records. Returns all mismatches.
   * @param witnesses positions that were recorded elsewhere, e.g. in receipts: the log must still contain them
   */
  verifyErasureLog(tenant: TenantId, witnesses: readonly LogPosition[]): Promise<AuditReport>;
}

/** The result of checking an erasure log. */
export interface AuditReport {
  /** The number of entries in the log. */
  readonly entries: number;
  readonly findings: readonly AuditFinding[];
}

/** The result of a restore. */
export interface Restored {
  /** The number of erased customers that the backup contained and that were erased again. */
  readonly erasedAgain: number;
  /** The findings of the recovery, one sentence per finding. */
  readonly findings: readonly string[];
  /** The number of records that cannot be decrypted with the present keys. */
  readonly unreadable: number;
  /** True if tenants and API keys are still those from before the restore; false if they are those of the backup. */
  readonly keptKeys: boolean;
  /** The file that contains the replaced data; absent if there was none. */
  readonly replaced?: string | undefined;
}

/** One side of a transfer: `sqlite:<data folder>` or `postgres://…`. */
export interface TransferSide {
  readonly url: string;
  /** The database of the keys, if it is a separate one. */
  readonly keysUrl?: string | undefined;
}

export interface TransferProgress {
  readonly table: string;
  /** The number of rows that are already identical on both sides, over all tables. */
  readonly done: number;
  /** The number of rows to transfer, over all tables. */
  readonly total: number;
}
