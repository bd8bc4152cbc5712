import type { TenantId } from '../../domain/identity.ts';
import type { PaymentSettings } from '../../domain/payment-options.ts';

export const environments = ['sandbox', 'live'] as const;
/** API keys of one environment are not accepted in the other. */
export type Environment = (typeof environments)[number];

/** `flow`: of a flow behind the service, which binds references to customers. `src/http/routes` has the roles of each route. */
export const roles = ['full', 'read', 'flow'] as const;
export type Role = (typeof roles)[number];

/** The rules for a tenant's bearer tokens (RFC 7519, RFC 8725). The token's header never chooses the algorithm. */
export interface JwtSettings {
  /** The required `iss`. */
  readonly issuer: string;
  /** The required member of `aud`. */
  readonly audience: string;
  readonly algorithm: JwtAlgorithm;
  /** The claim that must equal the tenant's id: the name of a claim, or a path such as `org.id`. */
  readonly tenantClaim: string;
  /** The https URL where the issuer publishes its keys, or its one public key in PEM. */
  readonly keys: { readonly jwksUri: string } | { readonly publicKeyPem: string };
}

/** Only asymmetric signatures: with a shared secret, every verifier could also issue tokens. */
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
  /** If present, every request needs a bearer token of this issuer in addition to its API key. */
  readonly jwt?: JwtSettings;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** A stored API key: its digest, never the key itself. Times are milliseconds since 1970. */
export interface ApiKey {
  readonly id: string;
  readonly tenant: TenantId;
  /** SHA-256. The key has enough entropy, so a slow hash is not needed. */
  readonly digest: Uint8Array;
  /** The first characters of the key, by which people recognise it. */
  readonly prefix: string;
  readonly name: string;
  readonly role: Role;
  readonly environment: Environment;
  readonly createdAt: number;
  /** When the key expires; absent if it never does. */
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  /** Uses are counted in memory and stored every few seconds; a crash may lose the latest ones. */
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
  /** Returns false if the tenant already exists. */
  addTenant(tenant: Tenant): Promise<boolean>;
  /** Replaces name and settings. Returns false if the tenant does not exist. */
  setTenant(tenant: Tenant): Promise<boolean>;
  findTenant(id: TenantId): Promise<Tenant | undefined>;
  /** All tenants, ordered by id. */
  listTenants(): Promise<readonly Tenant[]>;
  /** Returns false if the tenant does not exist. */
  addKey(key: ApiKey): Promise<boolean>;
  /** The API keys of one tenant, or of all tenants, including revoked keys; oldest first. */
  listKeys(tenant?: TenantId): Promise<readonly ApiKey[]>;
  /** Revokes a key; an earlier `revokedAt` stays. Returns the key after the call; undefined if there is none. */
  revokeKey(id: string, now: number): Promise<ApiKey | undefined>;
  /** Sets the expiry, unless the key is revoked or expires earlier. Returns the same as `revokeKey`. */
  expireKey(id: string, expiresAt: number): Promise<ApiKey | undefined>;
  /** Adds to the counts of API keys. Ignores keys that do not exist. */
  recordUse(uses: readonly KeyUse[]): Promise<void>;
  /** The tenant and its API key with this digest, revoked or not. Undefined if the tenant has no such key. */
  findKey(tenant: TenantId, digest: Uint8Array): Promise<{ readonly tenant: Tenant; readonly key: ApiKey } | undefined>;
}
