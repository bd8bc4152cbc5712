import { parseTenantId, type TenantId } from '../domain/identity.ts';
import type { PaymentSettings } from '../domain/payment-options.ts';
import type { ApiKeyFormat } from './ports/api-key-format.ts';
import type { Clock } from './ports/clock.ts';
import type { AuthenticationFailure, Telemetry } from './ports/telemetry.ts';
import type {
  ApiKey,
  Environment,
  JwtSettings,
  KeyUse,
  Role,
  Tenant,
  TenantDirectory,
} from './ports/tenant-directory.ts';
import type { TokenVerifier } from './ports/token-verifier.ts';

/** Who is calling: the proof that a request was authenticated. */
export interface Caller {
  readonly tenant: Tenant;
  readonly keyId: string;
  readonly role: Role;
}

/** What a request says of itself, as it was sent; undefined where a header is absent. */
export interface Credentials {
  readonly tenant: string | undefined;
  readonly apiKey: string | undefined;
  readonly authorization: string | undefined;
}

interface Dependencies {
  readonly directory: TenantDirectory;
  readonly secrets: ApiKeyFormat;
  readonly tokens: TokenVerifier;
  readonly telemetry: Pick<Telemetry, 'keyLookup' | 'notAuthenticated'>;
  readonly clock: Clock;
  readonly environment: Environment;
}

export type Tenants = ReturnType<typeof createTenants>;

const defaultPayment: PaymentSettings = { channels: [], canSavePaymentMethod: false };
/** Enough to tell keys apart, too little to guess one: the prefix of the environment and four characters. */
const shownPrefixLength = 11;
/** How long a key that was found is trusted without looking again. A revocation must bite within a second. */
const trustedMs = 500;
const maxTrustedKeys = 10_000;

/** Tenants, their API keys, and the question of who is calling. */
export function createTenants({ directory, secrets, tokens, telemetry, clock, environment }: Dependencies) {
  /** By the API key as it was sent. */
  const trusted = new Map<string, Trusted>();
  /** By the id of the key. */
  const uses = new Map<string, Use>();

  /**
   * Who is calling, where that was found out a moment ago and there is no bearer token to prove: then nobody has to wait.
   * Undefined where `authenticate` is to be asked.
   */
  function recall({ tenant, apiKey, authorization }: Credentials): Caller | undefined {
    if (tenant === undefined || apiKey === undefined || authorization !== undefined) return undefined;
    const now = clock();
    const known = remembered(tenant, apiKey, now);
    if (known === undefined || known.caller.tenant.jwt !== undefined || known.expiresAt <= now) return undefined;
    telemetry.keyLookup(true);
    count(known.use, now);
    return known.caller;
  }

  /**
   * Who is calling, or undefined. Why not is not told apart: unknown tenant, wrong key, another tenant's key, a
   * revoked or expired key, a key of the other environment and a bad token are one answer to the outside.
   */
  async function authenticate(credentials: Credentials): Promise<Caller | undefined> {
    const found = await identify(credentials);
    if (typeof found === 'string') {
      telemetry.notAuthenticated(found);
      return undefined;
    }
    count(found.use, clock());
    return found.caller;
  }

  /** Whether a caller who was authenticated a while ago, with these credentials, would still be. */
  async function isStillKnown({ keyId }: Caller, credentials: Credentials): Promise<boolean> {
    const found = await identify(credentials);
    return typeof found !== 'string' && found.caller.keyId === keyId;
  }

  async function identify({ tenant, apiKey, authorization }: Credentials): Promise<Trusted | AuthenticationFailure> {
    if (tenant === undefined || apiKey === undefined) return 'no_credentials';
    const now = clock();
    const known = remembered(tenant, apiKey, now);
    telemetry.keyLookup(known !== undefined);
    const found = known ?? (await lookUp(tenant, apiKey, now));
    if (typeof found === 'string') return found;
    if (found.expiresAt <= now) return 'expired_key';
    const { id, jwt } = found.caller.tenant;
    const token = bearerToken(authorization);
    // A tenant without an issuer needs no bearer token; a credential that is sent all the same is not ignored.
    if (jwt === undefined ? authorization !== undefined : token === undefined) return 'bearer_token';
    if (jwt !== undefined && !(await tokens.verifies(token as string, id, jwt))) return 'bearer_token';
    return found;
  }

  /** What was found out of a tenant's key, where that was a moment ago. */
  function remembered(tenant: string, apiKey: string, now: number): Trusted | undefined {
    const found = trusted.get(apiKey);
    return found?.caller.tenant.id === tenant && isFresh(found, now) ? found : undefined;
  }

  async function lookUp(tenant: string, apiKey: string, now: number): Promise<Trusted | AuthenticationFailure> {
    const before = trusted.get(apiKey)?.caller.tenant;
    trusted.delete(apiKey);
    const id = parseTenantId(tenant);
    const digest = secrets.apiKeyDigest(apiKey, environment);
    if (digest === undefined) return 'unreadable_key';
    if (id === undefined) return 'not_a_key_of_the_tenant';
    const found = await directory.findKey(id, digest);
    if (found === undefined || found.key.environment !== environment) return 'not_a_key_of_the_tenant';
    if (found.key.revokedAt !== undefined) return 'revoked_key';
    const { id: keyId, role, expiresAt = Number.POSITIVE_INFINITY } = found.key;
    const use = uses.get(keyId) ?? { tenant: id, id: keyId, requests: 0, lastUsedAt: 0 };
    uses.set(keyId, use);
    // The same object where nothing has changed, so that what was made of it can be used again.
    const same = before && JSON.stringify(before) === JSON.stringify(found.tenant) ? before : found.tenant;
    const entry = { caller: { tenant: same, keyId, role }, expiresAt, since: now, use };
    if (trusted.size >= maxTrustedKeys) trusted.clear();
    trusted.set(apiKey, entry);
    return entry;
  }

  function count(use: Use, now: number): void {
    use.requests += 1;
    if (now > use.lastUsedAt) use.lastUsedAt = now;
  }

  /**
   * Writes down how often keys were used since the last time. To be called every few seconds, and at the end. What
   * could not be written is kept for the next time.
   */
  async function recordUse(): Promise<void> {
    const counted = [...uses.values()].filter(({ requests }) => requests > 0).map((use) => ({ ...use }));
    if (counted.length === 0) return;
    for (const { id } of counted) (uses.get(id) as Use).requests = 0;
    try {
      await directory.recordUse(counted);
    } catch (error) {
      for (const { id, requests } of counted) (uses.get(id) as Use).requests += requests;
      throw error;
    }
  }

  /**
   * Fetches the keys of issuers that tenants trust, so that no request has to come first. To be awaited before the first
   * request, and called every few seconds for tenants that were set since.
   */
  async function prepareTokens(): Promise<void> {
    const all = await directory.listTenants();
    await Promise.all(all.map(({ jwt }) => jwt && tokens.prepare(jwt)));
  }

  /** False where the tenant exists already. */
  const addTenant = (id: TenantId, settings: TenantSettings): Promise<boolean> =>
    directory.addTenant({ ...withSettings({ id, payment: defaultPayment, createdAt: clock() }, settings) });

  /** The tenant as it is afterwards; undefined where there is none. What is absent from `settings` stays. */
  async function setTenant(id: TenantId, settings: TenantSettings): Promise<Tenant | undefined> {
    const current = await directory.findTenant(id);
    if (current === undefined) return undefined;
    const tenant = withSettings(current, settings);
    return (await directory.setTenant(tenant)) ? tenant : undefined;
  }

  /**
   * The new key, which is told this once and never stored; undefined where the tenant does not exist.
   *
   * @param lifetimeMs how long it works; absent: until it is revoked
   */
  async function issueKey(
    tenant: TenantId,
    {
      name,
      role,
      lifetimeMs,
    }: { readonly name: string; readonly role: Role; readonly lifetimeMs?: number | undefined },
  ): Promise<IssuedKey | undefined> {
    const secret = secrets.newApiKey(environment);
    const now = clock();
    const key: ApiKey = {
      id: secrets.newId(),
      tenant,
      digest: secrets.apiKeyDigest(secret, environment) as Uint8Array,
      prefix: secret.slice(0, shownPrefixLength),
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
   * A new key in place of another, with its name, role and, unless it is given, lifetime; the old one works for `overlapMs`
   * more. Undefined where there is no such key, it was revoked or has expired, or it is of the other environment, whose keys
   * cannot be made here.
   */
  async function rotateKey(
    id: string,
    { overlapMs, lifetimeMs }: { readonly overlapMs: number; readonly lifetimeMs?: number | 'never' | undefined },
  ): Promise<(IssuedKey & { readonly replaced: ApiKey }) | undefined> {
    const old = (await directory.listKeys()).find((key) => key.id === id);
    if (old === undefined || old.revokedAt !== undefined || old.environment !== environment) return undefined;
    if (old.expiresAt !== undefined && old.expiresAt <= clock()) return undefined;
    const same = old.expiresAt === undefined ? undefined : old.expiresAt - old.createdAt;
    const lifetime = lifetimeMs === 'never' ? undefined : (lifetimeMs ?? same);
    const issued = await issueKey(old.tenant, { name: old.name, role: old.role, lifetimeMs: lifetime });
    // The old key ends last: where this process dies in between, there is one key too many, not one too few.
    const replaced = await directory.expireKey(id, clock() + overlapMs);
    return issued && replaced && { ...issued, replaced };
  }

  /** The key as it is afterwards; undefined where there is no such key. Other processes obey within a second. */
  async function revokeKey(id: string): Promise<ApiKey | undefined> {
    const key = await directory.revokeKey(id, clock());
    trusted.clear();
    return key;
  }

  return {
    recall,
    authenticate,
    isStillKnown,
    addTenant,
    setTenant,
    issueKey,
    rotateKey,
    revokeKey,
    recordUse,
    prepareTokens,
    listTenants: directory.listTenants,
    listKeys: directory.listKeys,
  };
}

interface Trusted {
  readonly caller: Caller;
  readonly expiresAt: number;
  readonly since: number;
  readonly use: Use;
}
/** Counted in place: it is done in every request. */
type Use = { -readonly [Member in keyof KeyUse]: KeyUse[Member] };

/** In both directions: a clock that is set back must not prolong the trust. */
const isFresh = ({ since }: Trusted, now: number): boolean => Math.abs(now - since) < trustedMs;

export interface IssuedKey {
  readonly secret: string;
  readonly key: ApiKey;
}

/** RFC 6750; undefined where the header is absent or says something else. */
const bearerToken = (authorization = ''): string | undefined => /^Bearer ([\w.~+/=-]+)$/i.exec(authorization)?.[1];

export interface TenantSettings {
  readonly name?: string | undefined;
  readonly channels?: PaymentSettings['channels'] | undefined;
  readonly canSavePaymentMethod?: boolean | undefined;
  /** null: bearer tokens are no longer required. */
  readonly jwt?: JwtSettings | null | undefined;
}

function withSettings({ jwt: currentJwt, ...tenant }: Tenant, settings: TenantSettings): Tenant {
  const { name, channels, canSavePaymentMethod, jwt = currentJwt } = settings;
  return {
    ...tenant,
    ...(name !== undefined && { name }),
    payment: {
      channels: channels ?? tenant.payment.channels,
      canSavePaymentMethod: canSavePaymentMethod ?? tenant.payment.canSavePaymentMethod,
    },
    ...(jwt && { jwt }),
  };
}
