import type { TenantId } from '../domain/identity.ts';
import type { Authentication } from './authentication.ts';
import type { ApiKeyFormat } from './ports/api-key-format.ts';
import type { Clock } from './ports/clock.ts';
import type { ApiKey, Environment, Role, TenantDirectory } from './ports/tenant-directory.ts';

/** A new API key. `secret` is the text that the caller sends. It is returned only here, and never stored. */
export interface IssuedKey {
  readonly secret: string;
  readonly key: ApiKey;
}

interface Dependencies {
  readonly directory: TenantDirectory;
  readonly apiKeyFormat: ApiKeyFormat;
  readonly authentication: Pick<Authentication, 'clearCache'>;
  readonly clock: Clock;
  readonly environment: Environment;
}

/** Manages API keys. Times are milliseconds since 1970, durations are milliseconds. */
export class ApiKeys {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Issues an API key for this deployment's environment. Returns undefined if the tenant does not exist.
   *
   * @param options if `lifetimeMs` is absent, the key works until it is revoked
   */
  async issue(
    tenant: TenantId,
    options: { readonly name: string; readonly role: Role; readonly lifetimeMs?: number | undefined },
  ): Promise<IssuedKey | undefined> {
    const { directory, apiKeyFormat, clock, environment } = this.#dependencies;
    const { name, role, lifetimeMs } = options;
    const secret = apiKeyFormat.newApiKey(environment);
    const now = clock();
    const key: ApiKey = {
      id: apiKeyFormat.newId(),
      tenant,
      digest: apiKeyFormat.apiKeyDigest(secret, environment) as Uint8Array,
      prefix: apiKeyFormat.shownPrefix(secret) as string,
      name,
      role,
      environment,
      createdAt: now,
      ...(lifetimeMs !== undefined && { expiresAt: now + lifetimeMs }),
      requests: 0,
    };
    return (await directory.addKey(key)) ? { secret, key } : undefined;
  }

  /**
   * Issues an API key that replaces an old one. The new key gets the name, the role and, by default, the lifetime of
   * the old key. The old key works for at most another `overlapMs`. Returns undefined if the old key does not exist, is
   * revoked or expired, or belongs to the other environment.
   */
  async rotate(
    id: string,
    options: { readonly overlapMs: number; readonly lifetimeMs?: number | 'never' | undefined },
  ): Promise<(IssuedKey & { readonly replaced: ApiKey }) | undefined> {
    const { directory, clock, environment } = this.#dependencies;
    const old = (await this.list()).find((key) => key.id === id);
    if (old === undefined || old.revokedAt !== undefined || old.environment !== environment) return undefined;
    if (old.expiresAt !== undefined && old.expiresAt <= clock()) return undefined;
    const oldLifetimeMs = old.expiresAt === undefined ? undefined : old.expiresAt - old.createdAt;
    const lifetimeMs = options.lifetimeMs === 'never' ? undefined : (options.lifetimeMs ?? oldLifetimeMs);
    const issued = await this.issue(old.tenant, { name: old.name, role: old.role, lifetimeMs });
    // Expires the old key last: a crash before this line leaves two valid keys instead of none.
    const replaced = await directory.expireKey(id, clock() + options.overlapMs);
    return issued && replaced && { ...issued, replaced };
  }

  /**
   * Revokes an API key permanently. The revocation takes effect at once in this process, and within a second in other
   * processes. Returns the changed key, or undefined if the key does not exist.
   */
  async revoke(id: string): Promise<ApiKey | undefined> {
    const { directory, authentication, clock } = this.#dependencies;
    const key = await directory.revokeKey(id, clock());
    authentication.clearCache();
    return key;
  }

  /** The API keys of one tenant, or of all tenants, including revoked keys; oldest first. */
  list(tenant?: TenantId): Promise<readonly ApiKey[]> {
    return this.#dependencies.directory.listKeys(tenant);
  }
}
