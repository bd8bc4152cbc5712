/**
 * What the use cases need from the outside. Each method's comment states every answer it may give; an adapter that
 * cannot give one of them throws `DatabaseFailure`. `src/contract` proves an adapter.
 */
import type { Customer, CustomerContent } from '../domain/customer.ts';
import type { Conflict, CustomerUrn, ExternalId, TenantId } from '../domain/identity.ts';
import type { Problem } from '../domain/problems.ts';
import type { PaymentSettings } from '../domain/snapshot.ts';

/**
 * The storage refused or lost an operation. Nothing of it was stored, unless it `mayBeStored`: nobody heard how it ended. The
 * cause is for the log alone.
 */
export class DatabaseFailure extends Error {
  readonly mayBeStored: boolean;

  constructor(cause: unknown, mayBeStored = false) {
    super('database failure', { cause });
    this.name = 'DatabaseFailure';
    this.mayBeStored = mayBeStored;
  }
}

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Clock = () => number;

/** Who asked for a write: the API key, and the request by which the log knows it. */
export interface Asker {
  readonly keyId: string;
  readonly requestId: string;
}

/** On what occasion a write is made. */
export interface Occasion extends Asker {
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
  readonly storedBy: Asker;
  readonly changedBy?: Asker;
}

/** The origin of a record that is changed. */
export const changedBy = (origin: Origin | undefined, { keyId, requestId }: Asker): Origin => {
  const asker = { keyId, requestId };
  return { storedBy: origin?.storedBy ?? asker, changedBy: asker };
};

/** What may be known at once, and else once it was waited for: a promise for each read costs more than many a read. */
export type Soon<Value> = Value | Promise<Value>;

/** Goes on with what is known soon: at once where it is known. */
export const whenKnown = <Value, Result>(value: Soon<Value>, then: (value: Value) => Result): Soon<Awaited<Result>> =>
  (isPromise(value) ? value.then(then) : then(value)) as Soon<Awaited<Result>>;

/** By what it can do: an adapter may have promises of its own kind. */
const isPromise = <Value>(value: Soon<Value>): value is Promise<Value> =>
  typeof (value as Promise<Value> | undefined | null)?.then === 'function';

export type CustomerReference = { readonly urn: CustomerUrn } | { readonly externalId: ExternalId };

/**
 * An Idempotency-Key as it is kept: digests alone, so that neither the key nor the request, both of which may be
 * personal, can be read back.
 */
export interface RequestKey {
  /** Digest of tenant and key: 32 bytes. */
  readonly digest: Uint8Array;
  /** Digest of key and request: 32 bytes. */
  readonly fingerprint: Uint8Array;
  /** When the key may be used anew; see {@link Clock}. */
  readonly expiresAt: number;
}

/** The answer to a write. With a `RequestKey` it is kept in the same transaction, save INVALID_REQUEST and REUSED. */
export type WriteAnswer = (
  | { readonly code: 'SUCCESS'; readonly stored: StoredCustomer }
  | { readonly code: Conflict | 'CUSTOMER_NOT_FOUND' | 'VERSION_MISMATCH' }
  | { readonly code: 'INVALID_REQUEST'; readonly problems: readonly Problem[] }
  | { readonly code: 'IDEMPOTENCY_KEY_REUSED' }
) & {
  /** True where the answer is that of an earlier request with the same key, given with the record as it is now. */
  readonly repeated?: true;
};

/** What is kept of an answer under a `RequestKey`: nothing personal. With SUCCESS, the record is read anew by its URN. */
export interface KeptAnswer {
  readonly code: Exclude<WriteAnswer['code'], 'INVALID_REQUEST' | 'IDEMPOTENCY_KEY_REUSED'>;
  readonly urn?: CustomerUrn;
}

/** What is to be kept of an answer; undefined where nothing is: the request may be sent again, corrected. */
export function keptAnswer(answer: WriteAnswer): KeptAnswer | undefined {
  if (answer.code === 'INVALID_REQUEST' || answer.code === 'IDEMPOTENCY_KEY_REUSED') return undefined;
  return answer.code === 'SUCCESS'
    ? { code: answer.code, urn: answer.stored.customer.customerUrn }
    : { code: answer.code };
}

/** What the ledger says of one erasure. It outlives the record's backups and holds nothing personal. */
export interface Erasure extends Asker {
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

/** What to do with the record that was found; see {@link CustomerRepository.change}. */
export type Decision =
  | { readonly write: Customer }
  | { readonly leave: 'SUCCESS' | 'VERSION_MISMATCH' | 'CUSTOMER_NOT_FOUND' }
  | { readonly refuse: readonly Problem[] };

/**
 * The customers of all tenants. No method sees or affects another tenant's. Whatever a write answers is durable
 * (power cut included) before its promise resolves, and uniqueness holds over any number of callers and processes.
 */
export interface CustomerRepository extends ErasureRecords {
  /**
   * Stores a new customer under a URN that was never handed out before; the repository sets `customerUrn`.
   * Answers SUCCESS, the first conflict in the domain's order of precedence, or, with a key, IDEMPOTENCY_KEY_REUSED.
   */
  add(tenant: TenantId, content: CustomerContent, occasion: Occasion, key?: RequestKey): Promise<WriteAnswer>;

  /** The customer, or undefined. An anonymised one is found by its URN alone. */
  find(tenant: TenantId, by: CustomerReference): Soon<StoredCustomer | undefined>;

  /** Whether a customer has that ExternalId. An anonymised one has none. */
  holds(tenant: TenantId, externalId: ExternalId): Soon<boolean>;

  /**
   * Reads a customer and does with it what `decide` says, as one atomic step: no other change comes between.
   * `decide` gets undefined where there is none, must be pure, and may be called more than once. Answers SUCCESS
   * with the record as it is afterwards, what `decide` said, or a conflict with another customer; with a key also
   * IDEMPOTENCY_KEY_REUSED. It never writes an anonymised record; see `erase`.
   */
  change(
    tenant: TenantId,
    by: CustomerReference,
    decide: (current: StoredCustomer | undefined) => Decision,
    occasion: Occasion,
    key?: RequestKey,
  ): Promise<WriteAnswer>;

  /**
   * Erases a customer: first makes its data unreadable for good (where it is sealed: destroys its key) and enters that
   * in the ledger, durably; then puts the anonymised record (`deletion.ts`) in its place. Whatever fails in between,
   * nothing is readable from the first step on, and the next touch, tidying or start completes the rest. A record that cannot be
   * read any more is erased as well. What is kept under Idempotency-Keys of its requests is reduced to code and URN: a
   * repeat gets the answer whatever else it says. Answers SUCCESS, also for one that was erased before, which stays as it
   * is; CUSTOMER_NOT_FOUND; with a key also IDEMPOTENCY_KEY_REUSED.
   */
  erase(tenant: TenantId, by: CustomerReference, occasion: Occasion, key?: RequestKey): Promise<WriteAnswer>;

  /**
   * Removes answers whose time is over, of all tenants, and what is kept in memory of customers that nobody asks for. To be
   * called every few seconds.
   */
  forgetExpired(now: number): Promise<void>;
}

/** The part of {@link CustomerRepository} that answers for erasures. */
interface ErasureRecords {
  /** What the ledger says; undefined where this tenant's customer was never erased. */
  findErasure(tenant: TenantId, urn: CustomerUrn): Promise<Erasure | undefined>;
  /** Answers under an Idempotency-Key that name the customer: their codes, and until when they are kept. */
  findKeptAnswers(tenant: TenantId, urn: CustomerUrn): Promise<readonly { code: string; expiresAt: number }[]>;
  /** Looks, now, through every place of ours where something of the customer could be left. */
  findResidue(tenant: TenantId, urn: CustomerUrn): Promise<Residue>;
}

/** Signs what a deployment asserts, so that it can be shown to others (Ed25519, RFC 8032). */
export interface Signer {
  sign(text: string): Uint8Array;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

export const environments = ['sandbox', 'live'] as const;
/** Keys of one environment are worthless in the other. */
export type Environment = (typeof environments)[number];

export const roles = ['full', 'read'] as const;
export type Role = (typeof roles)[number];

/** How a tenant's bearer tokens are proved (RFC 7519, RFC 8725). The algorithm is pinned here, never by the token. */
export interface JwtSettings {
  /** What `iss` must be. */
  readonly issuer: string;
  /** What `aud` must hold. */
  readonly audience: string;
  readonly algorithm: JwtAlgorithm;
  /** The claim that must equal the tenant. */
  readonly tenantClaim: string;
  /** Where the issuer publishes its keys (https), or its one public key in PEM. */
  readonly keys: { readonly jwksUri: string } | { readonly publicKeyPem: string };
}

/** Signatures by a private key alone: with a shared secret, who can check a token could make one. */
export const jwtAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;
export type JwtAlgorithm = (typeof jwtAlgorithms)[number];

export interface Tenant {
  readonly id: TenantId;
  readonly name?: string;
  readonly payment: PaymentSettings;
  /** Where there is one, every request needs a bearer token of this issuer beside its API key. */
  readonly jwt?: JwtSettings;
  /** See {@link Clock}. */
  readonly createdAt: number;
}

/** An API key as it is kept: its digest, never the key. Times: see {@link Clock}. */
export interface ApiKey {
  readonly id: string;
  readonly tenant: TenantId;
  /** SHA-256 of the key. The key has enough entropy to need no slow hash. */
  readonly digest: Uint8Array;
  /** The first characters of the key, by which a person recognises it. */
  readonly prefix: string;
  readonly name: string;
  readonly role: Role;
  readonly environment: Environment;
  readonly createdAt: number;
  /** When it stops to work by itself; absent: never. */
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  /** Counted in memory and written every few seconds: a crash may lose the last of it. */
  readonly lastUsedAt?: number;
  readonly requests: number;
}

/** How often a key was used since it was last recorded. */
export interface KeyUse {
  readonly tenant: TenantId;
  readonly id: string;
  readonly requests: number;
  readonly lastUsedAt: number;
}

/** Tenants and their API keys. */
export interface TenantDirectory {
  /** False where the tenant exists already. */
  addTenant(tenant: Tenant): Promise<boolean>;
  /** Replaces name and settings. False where there is no such tenant. */
  setTenant(tenant: Tenant): Promise<boolean>;
  findTenant(id: TenantId): Promise<Tenant | undefined>;
  /** All tenants, by id. */
  listTenants(): Promise<readonly Tenant[]>;
  /** False where the tenant does not exist. */
  addKey(key: ApiKey): Promise<boolean>;
  /** Keys of one tenant, or of all, oldest first, revoked ones included. */
  listKeys(tenant?: TenantId): Promise<readonly ApiKey[]>;
  /** The key as it is afterwards; one that was revoked before keeps its time. Undefined where there is no such key. */
  revokeKey(id: string, now: number): Promise<ApiKey | undefined>;
  /** Brings the end of a key forward; one that ends earlier, or was revoked, stays as it is. As `revokeKey` answers. */
  expireKey(id: string, expiresAt: number): Promise<ApiKey | undefined>;
  /** Adds to the counts of keys; those that do not exist are passed over. */
  recordUse(uses: readonly KeyUse[]): Promise<void>;
  /** The tenant and its key with this digest, revoked or not; undefined where the tenant has no such key. */
  findKey(tenant: TenantId, digest: Uint8Array): Promise<{ readonly tenant: Tenant; readonly key: ApiKey } | undefined>;
}

/** Proves bearer tokens. */
export interface TokenVerifier {
  /**
   * Whether the token is signed by a key of the tenant's issuer with the pinned algorithm, is within its time (`exp`
   * required, 30 s of skew), has the issuer and audience that are set, and claims this tenant. Never throws, and never waits
   * for the issuer's host: the keys that are known count, and newer ones are fetched in the background.
   */
  proves(token: string, tenant: TenantId, settings: JwtSettings): Promise<boolean>;
  /** Gets what is needed to prove tokens of an issuer, unless it is known. Resolves when that was tried; never rejects. */
  prepare(settings: JwtSettings): Promise<void>;
}

/** What is counted for operators. Nothing here names a tenant or a person. */
export interface Telemetry {
  /** One answered request. `route` is its pattern, `code` its messageCode or HTTP status. */
  request(route: string, code: string, seconds: number): void;
  /** One transaction: how many writes shared it, and how long it took. */
  commit(writes: number, seconds: number): void;
  /** One read from the database. */
  read(seconds: number): void;
  /** A connection to the database that was lost while nobody used it. */
  connectionLost(): void;
  /** Lines of the log that could not be written. */
  logLost(lines: number): void;
  /** Whether a key was known without a look-up. */
  keyLookup(cached: boolean): void;
  /** Why somebody was not let in, which the caller is not told. */
  notAuthenticated(reason: AuthenticationFailure): void;
}

/** What may be wrong with a credential. `unreadable_key`: mistyped, or of the other environment. */
export type AuthenticationFailure =
  | 'no_credentials'
  | 'unreadable_key'
  | 'not_a_key_of_the_tenant'
  | 'revoked_key'
  | 'expired_key'
  | 'bearer_token';

/** What can be done with the files of a deployment while it runs. All throw where the storage has no files. */
export interface Maintenance {
  /** Writes a consistent copy of the records, without any key, to a new file. */
  backup(file: string): Promise<void>;
  /** Writes a copy of the keys and the ledger of erasures, in place of the previous copy, which is overwritten. */
  backupKeys(file: string): Promise<void>;
  /** Rewrites the file of the records, so that nothing is left in its gaps. Writers wait meanwhile, and fail where it takes long. */
  compact(): Promise<void>;
  /** Wraps the keys by a new master key. */
  rotateMasterKey(): Promise<void>;
}

/** What putting a copy back has come to. */
export interface Restored {
  /** How many were erased again, because the ledger knows of it. */
  readonly erasedAgain: number;
  /** How many records cannot be read with the keys that there are now. */
  readonly unreadable: number;
  /** Whether tenants and API keys are those of now; else they are the backup's. */
  readonly keptKeys: boolean;
  /** The file under which is kept what was there before; absent where nothing was. */
  readonly replaced?: string | undefined;
}

/** Makes and reads secrets; nothing here is stored. */
export interface Secrets {
  /** A new API key: prefix of the environment, at least 190 bits of chance, checksum. */
  newApiKey(environment: Environment): string;
  /** The digest of a well-formed key of this environment; undefined for anything else, a typing error included. */
  apiKeyDigest(key: string, environment: Environment): Uint8Array | undefined;
  /** A short random identifier, fit for logs. */
  newId(): string;
}

/** A digest over parts that cannot run into each other: 32 bytes. Keyed, wherever it is kept. */
export type Digest = (...parts: readonly string[]) => Uint8Array;
