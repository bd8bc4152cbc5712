import { type Part, parts } from '../driver/query.ts';

/**
 * The tables. In tables with a tenant, every primary and unique key begins with the tenant, so that they can be
 * distributed by tenant. Times are milliseconds since 1970. Personal values exist only encrypted (`sealed`) or as blind
 * indexes (`crypto/vault.ts`). Of a customer's content, only the fields that are searched have columns.
 */
export interface Tables extends RecordTables, KeyTables {}

export { type Part, parts };

/**
 * Every table, its part and its primary key, in the order of a transfer: records after the keys that they need. On
 * Citus, a `distributed` table is split by tenant over the nodes; the others stay on the coordinator, because they are
 * small, and a start, an authentication and the list of tenants must not need every node.
 */
export const tables = {
  root_keys: { part: 'keys', key: ['name'], distributed: false },
  data_keys: { part: 'keys', key: ['tenant', 'number'], distributed: true },
  erasures: { part: 'keys', key: ['tenant', 'sequence'], distributed: true },
  erasure_heads: { part: 'keys', key: ['tenant'], distributed: true },
  tombstones: { part: 'keys', key: ['tenant', 'digest'], distributed: true },
  key_copies_used: { part: 'keys', key: ['made_at'], distributed: false },
  sequences: { part: 'keys', key: ['name'], distributed: false },
  keys_version: { part: 'keys', key: [], distributed: false },
  tenants: { part: 'data', key: ['tenant'], distributed: false },
  api_keys: { part: 'data', key: ['tenant', 'key_id'], distributed: false },
  customers: { part: 'data', key: ['tenant', 'number'], distributed: true },
  changes: { part: 'data', key: ['tenant', 'number', 'version'], distributed: true },
  feeds: { part: 'data', key: ['tenant'], distributed: true },
  access_records: { part: 'data', key: ['tenant', 'number', 'at', 'id'], distributed: true },
  flow_references: { part: 'data', key: ['tenant', 'kind', 'reference'], distributed: true },
  checkpoints: { part: 'data', key: ['tenant', 'sequence'], distributed: true },
  idempotency_records: { part: 'data', key: ['tenant', 'key_digest'], distributed: true },
  erasure_positions: { part: 'data', key: ['tenant'], distributed: true },
  webhooks: { part: 'data', key: ['tenant', 'id'], distributed: false },
  leases: { part: 'data', key: ['name'], distributed: false },
  data_version: { part: 'data', key: [], distributed: false },
} as const satisfies Record<keyof RecordTables, TableOf<'data'>> & Record<keyof KeyTables, TableOf<'keys'>>;

interface TableOf<P extends Part> {
  readonly part: P;
  readonly key: readonly string[];
  readonly distributed: boolean;
}

/** The part of a table; undefined for a name that is no table. */
export const partOf = (table: string): Part | undefined =>
  Object.hasOwn(tables, table) ? tables[table as keyof Tables].part : undefined;

interface RecordTables {
  tenants: {
    tenant: string;
    name: string | null;
    /** JSON: PaymentSettings. */
    payment: string;
    /** JSON: JwtSettings; null if the tenant does not use bearer tokens. */
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
    /** Blind indexes of the unique keys: null for an absent value, and all null after an erasure. A merge keeps the first. */
    external_id: Buffer | null;
    email: Buffer | null;
    phone_number: Buffer | null;
    /** `[CustomerContent, Origin]` as JSON, encrypted with the data key. After an erasure: its log entry's `sealed`. */
    sealed: Buffer;
    created_at: number;
    updated_at: number;
    /** The sequence of the customer's entry in the erasure log; null if the row is not anonymized. */
    erasure: number | null;
    /**
     * The number of the customer that this one's ExternalId finds since a merge: that into which it was merged, or into
     * which that one was merged later. Null if it was not merged, and when that customer is erased.
     */
    merged_into: number | null;
  };
  /** Change events: one for each version of a customer. An event names the changed fields and contains no values. */
  changes: {
    tenant: string;
    number: number;
    version: number;
    /** The event's position in the tenant's feed: from 1, without gaps. Null on PostgreSQL until it is assigned. */
    position: number | null;
    id: string;
    at: number;
    /** JSON: type, changedFields, actor. */
    body: string;
  };
  /** The last position of each tenant's feed; no row before the first. PostgreSQL locks it while it assigns positions. */
  feeds: { tenant: string; last: number };
  /** Who looked at a person; see `application/ports/access-records.ts`. `body` is JSON: operation, actor, reference. */
  access_records: { tenant: string; number: number; at: number; id: string; body: string };
  /** What flows have bound to customers; see `application/ports/references.ts`. */
  flow_references: {
    tenant: string;
    kind: string;
    reference: string;
    /** The customer that has it: after a merge, the one that stays. */
    number: number;
    state: string;
    created_at: number;
    updated_at: number;
  };
  /** Signed hashes of the change events; see `application/ports/checkpoints.ts`. */
  checkpoints: {
    tenant: string;
    sequence: number;
    through: number;
    digests: Uint8Array;
    previous: string;
    /** Null if the erasure log was empty. */
    erasure_sequence: number | null;
    erasure_chain: Uint8Array | null;
    at: number;
    signature: Uint8Array;
  };
  /** Idempotency records: one for each successful write with an Idempotency-Key. */
  idempotency_records: {
    tenant: string;
    key_digest: Uint8Array;
    request_digest: Uint8Array;
    code: string;
    number: number;
    expires_at: number;
  };
  /** The position up to which the records have applied the tenant's erasure log; no row before the first entry. */
  erasure_positions: { tenant: string; sequence: number; chain: Buffer };
  /** Endpoints of tenants, with the state of their deliveries; see `application/ports/webhooks.ts`. */
  webhooks: {
    tenant: string;
    id: string;
    url: string;
    description: string | null;
    created_at: number;
    /** The secrets as JSON, encrypted with a root key. */
    sealed_secrets: Uint8Array;
    /** The position and the id of the last delivered event; 0 and null if there is none. */
    position: number;
    event_id: string | null;
    /** Null if the last attempt succeeded, and 0 failures. */
    first_failure_at: number | null;
    failures: number;
    next_attempt_at: number | null;
    last_error: string | null;
    last_success_at: number | null;
    /** Null if the webhook is enabled. */
    disabled_reason: string | null;
    revision: number;
  };
  /** Which process does some work at present; see `application/ports/leases.ts`. */
  leases: { name: string; holder: string; expires_at: number };
  data_version: SchemaVersion;
}

interface KeyTables {
  root_keys: { name: string; wrapped: Buffer };
  /** Deleting a row makes every copy of the customer's record unreadable. */
  data_keys: { tenant: string; number: number; wrapped: Buffer };
  /** The erasure log: an ordered, hash-chained list for each tenant, without gaps. */
  erasures: {
    tenant: string;
    sequence: number;
    /** Keyed hash of the URN. */
    hash: Buffer;
    /** `LogContent` as JSON, encrypted with a root key. */
    sealed: Buffer;
    /** MAC over the previous chain value and this entry's `sequence`, `hash` and `sealed`. */
    chain: Buffer;
    /** Digests of Idempotency-Key and request; null if the request had no key, or after an expired key was removed. */
    key_digest: Uint8Array | null;
    request_digest: Uint8Array | null;
    expires_at: number | null;
  };
  /** The last entry of each tenant's log; no row before the first entry. Locked while an entry is appended. */
  erasure_heads: { tenant: string; sequence: number; chain: Buffer };
  /** The ExternalIds that a write with a source revision freed; see `tombstones.ts`. */
  tombstones: { tenant: string; digest: Buffer; revision: number; expires_at: number };
  /** Backups of the keys, each with a row for itself. Its first start sets `taken_at`. Rows are never deleted. */
  key_copies_used: { made_at: number; taken_at: number | null };
  /** The row `customer` has the last URN sequence that was taken. */
  sequences: { name: string; last: number };
  keys_version: SchemaVersion;
}

/** The schema version of one part; one row. */
export interface SchemaVersion {
  /** How many migrations were applied. */
  version: number;
  /** How many migrations a program must know to use these tables. */
  oldest: number;
  /** The id of the deployment, the same in both parts. */
  deployment: string;
}

/** The suffix of the deployment id in the target of an unfinished transfer. */
export const unfinishedTransfer = ', to which a move is not finished';
