import type { TenantId } from '../../domain/identity.ts';
import type { PaymentSettings } from '../../domain/payment-options.ts';

export const environments = ['sandbox', 'live'] as const;
/** API keys of one environment are not accepted in the other. */
export type Environment = (typeof environments)[number];

export const roles = ['full', 'read'] as const;
export type Role = (typeof roles)[number];

/** How a tenant's bearer tokens are verified (RFC 7519, RFC 8725). The algorithm is set here, never by the token. */
export interface JwtSettings {
  /** The required `iss`. */
  readonly issuer: string;
  /** The required member of `aud`. */
  readonly audience: string;
  readonly algorithm: JwtAlgorithm;
  /** The claim that must equal the tenant's id. */
  readonly tenantClaim: string;
  /** The https URL where the issuer publishes its keys, or its one public key in PEM. */
  readonly keys: { readonly jwksUri: string } | { readonly publicKeyPem: string };
}

/** Only asymmetric signatures: with a shared secret, whoever can verify a token could also make one. */
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
  /** Where present, every request needs a bearer token of this issuer beside its API key. */
  readonly jwt?: JwtSettings;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** A stored API key: its digest, never the key itself. Times are milliseconds since 1970. */
export interface ApiKey {
  readonly id: string;
  readonly tenant: TenantId;
  /** SHA-256 of the key, which has enough entropy to need no slow hash. */
  readonly digest: Uint8Array;
  /** The first characters of the key, by which people recognise it. */
  readonly prefix: string;
  readonly name: string;
  readonly role: Role;
  readonly environment: Environment;
  readonly createdAt: number;
  /** When the key stops working by itself; absent: never. */
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  /** Counted in memory and stored every few seconds, so a crash may lose the latest uses. */
  readonly lastUsedAt?: number;
  readonly requests: number;
}

/** The uses of an API key since they were last stored. */
export interface KeyUse {
  readonly tenant: TenantId;
  readonly id: string;
  readonly requests: number;
  readonly lastUsedAt: number;
}

/** Tenants and their API keys. `test/contract/tenant-directory.ts` is the contract suite. */
export interface TenantDirectory {
  /** False where the tenant exists already. */
  addTenant(tenant: Tenant): Promise<boolean>;
  /** Replaces name and settings. False where there is no such tenant. */
  setTenant(tenant: Tenant): Promise<boolean>;
  findTenant(id: TenantId): Promise<Tenant | undefined>;
  /** All tenants, ordered by id. */
  listTenants(): Promise<readonly Tenant[]>;
  /** False where the tenant does not exist. */
  addKey(key: ApiKey): Promise<boolean>;
  /** The API keys of one tenant, or of all, oldest first, revoked ones included. */
  listKeys(tenant?: TenantId): Promise<readonly ApiKey[]>;
  /** The API key after the call; one that was revoked before keeps its time. Undefined where there is no such key. */
  revokeKey(id: string, now: number): Promise<ApiKey | undefined>;
  /** Sets the key's expiry, unless it was revoked or expires earlier. The key after the call, or undefined. */
  expireKey(id: string, expiresAt: number): Promise<ApiKey | undefined>;
  /** Adds to the counts of API keys. Ignores keys that do not exist. */
  recordUse(uses: readonly KeyUse[]): Promise<void>;
  /** The tenant and its API key with this digest, revoked or not; undefined where the tenant has no such key. */
  findKey(tenant: TenantId, digest: Uint8Array): Promise<{ readonly tenant: Tenant; readonly key: ApiKey } | undefined>;
}
