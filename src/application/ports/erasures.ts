/** What a repository reports about erasures: entries of the log, residue, recovery and audit. */
import type { CustomerUrn } from '../../domain/identity.ts';
import type { Actor } from './actor.ts';
import type { Tombstone } from './tombstone.ts';

/**
 * An entry of the erasure log: an erasure, or a merge, which erases the customer that is merged into another. It outlives
 * the backups of the record and contains no personal data.
 */
export interface Erasure extends Actor {
  readonly urn: CustomerUrn;
  /** When the record became unreadable, in milliseconds since 1970. */
  readonly erasedAt: number;
  /** The tenant's own case number, e.g. `DSAR-2026-0042`. Absent if the request had none. */
  readonly reference?: string;
  /** The names of the fields that had a value and were anonymized. Absent if the record could not be decrypted. */
  readonly rewritten?: readonly string[];
  /** The tombstone that the erasure left. Absent if the request had no source revision. */
  readonly tombstone?: Tombstone;
  /** Of a merge: the customer into which this one was merged, as named by the request. Absent for an erasure. */
  readonly mergedInto?: CustomerUrn;
  /** Of a merge: its source revision, or that of the record if the request had none. */
  readonly sourceRevision?: number;
  /** The entry's position in the log. Absent if the adapter keeps no hash chain. */
  readonly position?: LogPosition;
}

/** A position in a tenant's erasure log, and the chain value of all entries up to this position. */
export interface LogPosition {
  /** The number of the entry: from 1, without gaps. */
  readonly sequence: number;
  /** base64url. */
  readonly chain: string;
}

/** The result of a search for data of an erased customer. */
export interface Residue {
  readonly findings: readonly ResidueFinding[];
  /** Descriptions of the places that cannot be searched. */
  readonly unseen: readonly string[];
}

/** Findings of the kinds `data_key`, `keys_log` and `keys_copy` could make the record readable again. */
export const residueKinds = [
  'data_key',
  'keys_log',
  'keys_copy',
  'record',
  'blind_index',
  'records_log',
  'records_copy',
] as const;
export type ResidueKind = (typeof residueKinds)[number];

export interface ResidueFinding {
  readonly kind: ResidueKind;
  /** A description of the place: a table's column, an index, a file. */
  readonly place: string;
  /** The number of such values that are left at the place; 0 after a complete erasure. */
  readonly found: number;
}

/** The result of {@link CustomerRepository.recoverErasures}. */
export interface RecoveryReport {
  /** The number of erasures finished: those that were interrupted, and those that a restored backup had undone. */
  readonly erasedAgain: number;
  readonly findings: readonly RecoveryFinding[];
  /** True if the storage refused a step, for example because a disk is full: the next recovery continues. */
  readonly isUnfinished?: true;
}

export interface RecoveryFinding {
  readonly kind:
    | 'keys_older_than_records' // the log ends before the applied position: an older backup of the keys was restored
    | 'keys_and_records_mismatch' // log and records have different chain values at the applied position
    | 'broken_link' // an entry was changed, removed or inserted
    | 'broken_seal'
    | 'unknown_erasures'; // entries were lost, and no record contains them
  readonly tenant: string;
  /** The sequence of the entry, if the finding concerns one entry. */
  readonly sequence?: number;
  /** The number of entries concerned. */
  readonly count?: number;
}

export interface AuditFinding {
  readonly kind:
    | 'unreadable_log' // the check ended at a value that no program has stored
    | 'broken_link' // an entry was changed, removed or inserted
    | 'broken_seal'
    | 'head_mismatch' // the head of the log does not name the last entry
    | 'position_mismatch' // the log does not contain the applied position of the records
    | 'witness_mismatch' // the log does not contain a position that was recorded elsewhere, e.g. in a receipt
    | 'key_of_erased' // a data key of an erased customer exists
    | 'key_missing' // a customer that was not erased has no data key
    | 'entry_missing' // an anonymized record has no entry
    | 'record_differs_from_entry' // an erased record is not anonymized, or has a copy of another entry
    | 'unreadable_record'; // a record cannot be decrypted with its data key
  readonly tenant: string;
  /** The sequence of the entry, if the finding concerns one entry. */
  readonly sequence?: number;
  /** The customer's number within the storage, if the finding concerns one customer. */
  readonly number?: number;
}
