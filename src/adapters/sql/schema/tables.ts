/**
 * The tables. The tenant leads every primary and unique key, so that the schema splits by tenant. What a customer
 * consists of is not repeated here: `sealed` is the record as JSON, sealed; only what is searched has a column.
 * Times are milliseconds since 1970. Personal values are in no column but sealed or as a blind index (`vault.ts`).
 */
export interface Tables extends DataTables, KeyTables {}

/** `data` is what is backed up; `keys` lives apart, and has a backup of its own with another lifetime. */
export type Part = 'data' | 'keys';
export const parts = ['keys', 'data'] as const satisfies readonly Part[];

const partOfTable: Record<keyof DataTables, 'data'> & Record<keyof KeyTables, 'keys'> = {
  tenants: 'data',
  api_keys: 'data',
  customers: 'data',
  kept_answers: 'data',
  erasures_applied: 'data',
  data_version: 'data',
  root_keys: 'keys',
  data_keys: 'keys',
  erasures: 'keys',
  pending_erasures: 'keys',
  sequences: 'keys',
  keys_version: 'keys',
};

/** Undefined where it is none of ours. */
export const partOf = (table: string): Part | undefined =>
  Object.hasOwn(partOfTable, table) ? partOfTable[table as keyof Tables] : undefined;

interface DataTables {
  tenants: {
    tenant: string;
    name: string | null;
    /** JSON: PaymentSettings. */
    payment: string;
    /** JSON: JwtSettings; null where bearer tokens are not used. */
    jwt: string | null;
    created_at: number;
  };
  api_keys: {
    tenant: string;
    key_id: string;
    digest: Uint8Array;
    prefix: string;
    name: string;
    role: string;
    environment: string;
    created_at: number;
    expires_at: number | null;
    revoked_at: number | null;
    last_used_at: number | null;
    requests: number;
  };
  customers: {
    tenant: string;
    /** The URN as one number: partition × 10^13 + sequence. */
    number: number;
    version: number;
    /** Blind indexes of the canonical forms; null for an anonymised customer, and null is never equal to null. */
    external_id: Buffer | null;
    email: Buffer | null;
    phone_number: Buffer | null;
    /** `[CustomerContent, Origin]` as JSON, sealed under the customer's data key; `Remainder`, sealed, once it is erased. */
    sealed: Buffer;
    created_at: number;
    updated_at: number;
    anonymized_at: number | null;
  };
  /** Answers under an Idempotency-Key: see KeptAnswer. */
  kept_answers: {
    tenant: string;
    key_digest: Uint8Array;
    /** Null once the customer was erased. */
    fingerprint: Uint8Array | null;
    /** Null only within the transaction that works on it. */
    code: string | null;
    /** Of the customer; null where the answer names none. */
    number: number | null;
    expires_at: number;
  };
  /** What erasures were applied to these tables, as the sum of their weights (`erasure-ledger.ts`). One row. */
  erasures_applied: { name: string; count: number };
  data_version: SchemaVersion;
}

interface KeyTables {
  root_keys: { name: string; wrapped: Buffer };
  /** Destroying a row erases the customer, wherever copies of the record lie. */
  data_keys: { tenant: string; number: number; wrapped: Buffer; created_at: number };
  /** Customers whose key was destroyed, as long as something of them may be left: the record, or what is in a log. */
  pending_erasures: {
    tenant: string;
    number: number;
    /** Of the Idempotency-Key that the request had, and until when its answer is kept; null where it had none. */
    key_digest: Uint8Array | null;
    expires_at: number | null;
  };
  /** The ledger: who was erased, as a keyed hash; `sealed` is `[Erasure, Remainder]` as JSON, sealed. */
  erasures: { tenant: string; hash: Buffer; sealed: Buffer };
  /** `copy`, `weighed`: see `copyMark`, `weighedMark`. `customer`: the last sequence taken. `erasure`: the sum of the weights of those in the ledger. */
  sequences: { name: string; last: number };
  keys_version: SchemaVersion;
}

/** Of one part. One row. */
export interface SchemaVersion {
  /** How many migrations were run. */
  version: number;
  /** The oldest version that a program may know to work with these tables. */
  oldest: number;
  /** Of which deployment they are: that of the records and that of the keys must be the same. */
  deployment: string;
}

/** What follows the name of a deployment in a place to which it is being moved. */
export const unfinishedMove = ', to which a move is not finished';

/** The name of a sequence that is there in a copy of the keys alone, until it is taken into use: when the copy was made. */
export const copyMark = 'copy';

/** The name of a sequence that is 1 once erasures are counted by weight; at first each counted as one. */
export const weighedMark = 'weighed';
