import type { TenantId } from '../domain/identity.ts';
import { type Violation, violation } from '../domain/violations.ts';
import { type Refusal, refusal } from './outcome.ts';
import type { Clock } from './ports/clock.ts';
import type { IdempotencyKey } from './ports/customer-repository.ts';
import type { Digest } from './ports/digest.ts';

const lifetimeMs = 24 * 60 * 60 * 1000;

/** The violations of an Idempotency-Key as sent; none if it is absent. */
export function keyViolations(idempotencyKey: string | undefined): Violation[] {
  if (idempotencyKey === undefined || /^[\x21-\x7e]{1,128}$/.test(idempotencyKey)) return [];
  return [violation('Idempotency-Key', 'invalid_format', 'Must be 1 to 128 visible ASCII characters.')];
}

/**
 * Idempotency-Keys (draft-ietf-httpapi-idempotency-key-header): the repository records a SUCCESS under the key for 24
 * hours and replays it. The same key with another request returns IDEMPOTENCY_KEY_REUSED. While a request is in flight,
 * a second request with the key gets REQUEST_IN_PROGRESS, also of another operation: all share one function. In another
 * process it waits, then replays.
 *
 * The repository gets two digests: of the key, and of the request. The request digest also covers the key, so if the
 * key is random, the digest cannot be used to test a guess of the request.
 *
 * @returns a function that runs `work` under a tenant's key; if there is no key, it only calls `work`. `request` is the
 *   request as parsed by its field table, so that equal requests have equal JSON
 */
export function createRunOnce(digest: Digest, clock: Clock) {
  const inProgress = new Set<string>();

  return async <Answer>(
    tenant: TenantId,
    idempotencyKey: string | undefined,
    request: readonly unknown[],
    work: (key?: IdempotencyKey) => Promise<Answer>,
  ): Promise<Answer | Refusal> => {
    if (idempotencyKey === undefined) return work();
    const tenantKey = `${tenant} ${idempotencyKey}`;
    if (inProgress.has(tenantKey)) return refusal('REQUEST_IN_PROGRESS');
    inProgress.add(tenantKey);
    try {
      return await work({
        keyDigest: digest('idempotency-key', tenant, idempotencyKey),
        requestDigest: digest('request', idempotencyKey, JSON.stringify(request)),
        expiresAt: clock() + lifetimeMs,
      });
    } finally {
      inProgress.delete(tenantKey);
    }
  };
}

/** See {@link createRunOnce}. */
export type RunOnce = ReturnType<typeof createRunOnce>;
