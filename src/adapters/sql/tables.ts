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
    /** CustomerContent as JSON, sealed under the customer's data key; null for an anonymised customer. */
    sealed: Buffer | null;
    /** JSON: what outlives deletion (`Remainder`), so that an erasure can be completed when the key is gone. */
    remainder: string;
    created_at: number;
    updated_at: number;
    anonymized_at: number | null;
  };
  /** Answers under an Idempotency-Key. `answer` is null only within the transaction that works on it. */
  kept_answers: {
    tenant: string;
    key_digest: Uint8Array;
    fingerprint: Uint8Array;
    /** JSON: KeptAnswer. */
    answer: string | null;
    expires_at: number;
  };
  /** How many erasures of the ledger were applied to these tables. One row. */
  erasures_applied: { name: string; count: number };
  data_version: SchemaVersion;
}

interface KeyTables {
  root_keys: { name: string; wrapped: Buffer };
  /** Destroying a row erases the customer, wherever copies of the record lie. */
  data_keys: { tenant: string; number: number; wrapped: Buffer; created_at: number };
  /** The ledger: who was erased, as a keyed hash; `sealed` is an `Erasure` as JSON, under a key of the deployment. */
  erasures: { tenant: string; hash: Buffer; sealed: Buffer };
  /** `customer`: the last sequence handed out. `erasure`: how many the ledger holds. */
  sequences: { name: string; last: number };
  keys_version: SchemaVersion;
}

/** Of one part. One row. */
export interface SchemaVersion {
  /** How many migrations were run. */
  version: number;
  /** The oldest version that a program may know to work with these tables. */
  oldest: number;
}
