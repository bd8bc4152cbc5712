import { parseTenantId, type TenantId } from '../domain/identity.ts';
import type { ApiKeyFormat } from './ports/api-key-format.ts';
import type { Clock } from './ports/clock.ts';
import type { AuthenticationFailure, Telemetry } from './ports/telemetry.ts';
import type { Environment, KeyUse, Role, Tenant, TenantDirectory } from './ports/tenant-directory.ts';
import type { TokenVerifier } from './ports/token-verifier.ts';

/** The caller of an authenticated request. */
export interface Caller {
  readonly tenant: Tenant;
  /** The id of the API key. */
  readonly keyId: string;
  readonly role: Role;
}

/** The headers that authenticate a request, as sent. Undefined if a header is absent. */
export interface Credentials {
  readonly tenant: string | undefined;
  readonly apiKey: string | undefined;
  readonly authorization: string | undefined;
}

/** The parts of refused credentials that may be logged. Only well-formed values, so arbitrary text is never logged. */
export interface Claims {
  readonly tenant: TenantId | undefined;
  /** The beginning of the API key, as in the list of API keys. */
  readonly keyPrefix: string | undefined;
}

interface Dependencies {
  readonly directory: TenantDirectory;
  readonly apiKeyFormat: ApiKeyFormat;
  readonly tokens: TokenVerifier;
  readonly telemetry: Pick<Telemetry, 'keyLookup' | 'notAuthenticated'>;
  readonly clock: Clock;
  readonly environment: Environment;
}

/** How long a cache entry is used: less than the second within which a revocation must take effect. */
const cacheMs = 500;
const maxCachedKeys = 10_000;

/** A cache entry: an API key of this environment that was not revoked when it was looked up. */
interface KnownKey {
  readonly caller: Caller;
  readonly expiresAt: number;
  readonly lookedUpAt: number;
  readonly use: Use;
}
type KeyFailure = Exclude<AuthenticationFailure, 'bearer_token'>;
/** The uses of one API key. Mutable, because every request increments the count. */
type Use = { -readonly [Member in keyof KeyUse]: KeyUse[Member] };

/** Authenticates requests by API key and bearer token, caches API keys, and counts their use. */
export class Authentication {
  readonly #dependencies: Dependencies;
  /** By the API key as sent. A Map that is cleared when full; see docs/decisions/0029-authentication.md. */
  readonly #cache = new Map<string, KnownKey>();
  /** By the id of the API key. */
  readonly #uses = new Map<string, Use>();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Returns the caller if the API key is cached and no bearer token must be verified, so that most requests need no
   * promise. Otherwise returns undefined; then call {@link authenticate}.
   */
  recall({ tenant, apiKey, authorization }: Credentials): Caller | undefined {
    if (tenant === undefined || apiKey === undefined || authorization !== undefined) return undefined;
    const now = this.#dependencies.clock();
    const known = this.#cached(tenant, apiKey, now);
    if (known === undefined || known.caller.tenant.jwt !== undefined || known.expiresAt <= now) return undefined;
    this.#dependencies.telemetry.keyLookup(true);
    count(known.use, now);
    return known.caller;
  }

  /** The caller, or undefined for any failure. Only telemetry gets the reason, because callers must not learn it. */
  async authenticate(credentials: Credentials): Promise<Caller | undefined> {
    const known = await this.#identify(credentials);
    if (typeof known === 'string') {
      this.#dependencies.telemetry.notAuthenticated(known);
      return undefined;
    }
    count(known.use, this.#dependencies.clock());
    return known.caller;
  }

  /**
   * Whether the API key of an authenticated request is still valid: for a request that takes long. A revocation shows
   * within a second. Not counted as a use of the key. The bearer token is not verified again: its lifetime limits when a
   * request may begin.
   */
  async isKeyValid({ tenant, apiKey }: Credentials): Promise<boolean> {
    const known = await this.#findKey(tenant, apiKey);
    if (typeof known === 'string') this.#dependencies.telemetry.notAuthenticated(known);
    return typeof known !== 'string';
  }

  /** What credentials claim, for the log of a refused request: neither value needs to exist. */
  claimsOf({ tenant, apiKey }: Credentials): Claims {
    return {
      tenant: tenant === undefined ? undefined : parseTenantId(tenant),
      keyPrefix: apiKey === undefined ? undefined : this.#dependencies.apiKeyFormat.shownPrefix(apiKey),
    };
  }

  /** Empties the cache, so that a revocation takes effect in this process at once. */
  clearCache(): void {
    this.#cache.clear();
  }

  /**
   * Stores the uses counted since the last call. If the storage fails, throws its error and keeps the counts for the
   * next call. A background job calls this method.
   */
  async recordUse(): Promise<void> {
    const counted = [...this.#uses.values()].filter(({ requests }) => requests > 0).map((use) => ({ ...use }));
    if (counted.length === 0) return;
    for (const { id } of counted) (this.#uses.get(id) as Use).requests = 0;
    try {
      await this.#dependencies.directory.recordUse(counted);
    } catch (error) {
      for (const { id, requests } of counted) (this.#uses.get(id) as Use).requests += requests;
      throw error;
    }
  }

  /**
   * Fetches the public keys of all tenants' token issuers, so that they are present at the first request. Called at
   * start, and by a background job because tenants may be changed later.
   */
  async prepareTokens(): Promise<void> {
    const { directory, tokens } = this.#dependencies;
    const tenants = await directory.listTenants();
    await Promise.all(tenants.map(({ jwt }) => jwt && tokens.prepare(jwt)));
  }

  async #identify({ tenant, apiKey, authorization }: Credentials): Promise<KnownKey | AuthenticationFailure> {
    const known = await this.#findKey(tenant, apiKey);
    if (typeof known === 'string') return known;
    return (await this.#allowsToken(known.caller.tenant, authorization)) ? known : 'bearer_token';
  }

  /** The API key, unless it is not valid now. */
  async #findKey(tenant: string | undefined, apiKey: string | undefined): Promise<KnownKey | KeyFailure> {
    if (tenant === undefined || apiKey === undefined) return 'no_credentials';
    const now = this.#dependencies.clock();
    const cached = this.#cached(tenant, apiKey, now);
    this.#dependencies.telemetry.keyLookup(cached !== undefined);
    const known = cached ?? (await this.#lookUp(tenant, apiKey, now));
    return typeof known !== 'string' && known.expiresAt <= now ? 'expired_key' : known;
  }

  /** A tenant with an issuer requires a valid token. Any other tenant must send none: no credential is ignored. */
  async #allowsToken({ id, jwt }: Tenant, authorization: string | undefined): Promise<boolean> {
    if (jwt === undefined) return authorization === undefined;
    const token = bearerToken(authorization);
    return token !== undefined && this.#dependencies.tokens.verifies(token, id, jwt);
  }

  #cached(tenant: string, apiKey: string, now: number): KnownKey | undefined {
    const known = this.#cache.get(apiKey);
    // The absolute difference: setting the clock back must not extend the lifetime of an entry.
    const isCurrent = known?.caller.tenant.id === tenant && Math.abs(now - known.lookedUpAt) < cacheMs;
    return isCurrent ? known : undefined;
  }

  async #lookUp(tenant: string, apiKey: string, now: number): Promise<KnownKey | KeyFailure> {
    const { directory, apiKeyFormat, environment } = this.#dependencies;
    this.#cache.delete(apiKey);
    const id = parseTenantId(tenant);
    const digest = apiKeyFormat.apiKeyDigest(apiKey, environment);
    if (digest === undefined) return 'unreadable_key';
    if (id === undefined) return 'not_a_key_of_the_tenant';
    const found = await directory.findKey(id, digest);
    if (found === undefined || found.key.environment !== environment) return 'not_a_key_of_the_tenant';
    if (found.key.revokedAt !== undefined) return 'revoked_key';
    const { id: keyId, role, expiresAt = Number.POSITIVE_INFINITY } = found.key;
    const use = this.#uses.get(keyId) ?? { tenant: id, id: keyId, requests: 0, lastUsedAt: 0 };
    this.#uses.set(keyId, use);
    const known = { caller: { tenant: found.tenant, keyId, role }, expiresAt, lookedUpAt: now, use };
    if (this.#cache.size >= maxCachedKeys) this.#cache.clear();
    this.#cache.set(apiKey, known);
    return known;
  }
}

function count(use: Use, now: number): void {
  use.requests += 1;
  if (now > use.lastUsedAt) use.lastUsedAt = now;
}

/** The token of an `Authorization: Bearer` header (RFC 6750). Undefined if it is absent or has another scheme. */
const bearerToken = (authorization = ''): string | undefined => /^Bearer ([\w.~+/=-]+)$/i.exec(authorization)?.[1];
