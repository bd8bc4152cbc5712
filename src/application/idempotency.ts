import type { TenantId } from '../domain/identity.ts';
import type { Violation } from '../domain/violations.ts';
import { type Outcome, refusal } from './outcome.ts';
import type { Clock } from './ports/clock.ts';
import type { IdempotencyKey } from './ports/customer-repository.ts';
import type { Digest } from './ports/digest.ts';

const lifetimeMs = 24 * 60 * 60 * 1000;

/** What is wrong with an Idempotency-Key as it was sent; one that is absent is in order. */
export function keyViolations(idempotencyKey: string | undefined): Violation[] {
  if (idempotencyKey === undefined || /^[\x21-\x7e]{1,128}$/.test(idempotencyKey)) return [];
  const message = 'Must be 1 to 128 visible ASCII characters.';
  return [{ field: 'Idempotency-Key', code: 'invalid_format', message }];
}

/**
 * Runs a write under its Idempotency-Key (draft-ietf-httpapi-idempotency-key-header). The key belongs to the tenant;
 * the same key with the same request gets the first answer, for 24 hours.
 *
 * The returned function answers REQUEST_IN_PROGRESS while this process still works on a request with that key
 * (another process waits in the database and then gets the first answer), and else what `work` answers.
 *
 * The key reaches the repository as two digests. The fingerprint is taken over key and request together: where the
 * key is a random one, as it should be, nobody can confirm a guess at the request from what is kept.
 */
export function runOnce(digest: Digest, clock: Clock) {
  const running = new Set<string>();

  /** @param request what was asked, as read by a table of fields, so that equal requests have equal JSON */
  return async function once<Result>(
    tenant: TenantId,
    idempotencyKey: string | undefined,
    request: readonly unknown[],
    work: (key?: IdempotencyKey) => Promise<Outcome<Result>>,
  ): Promise<Outcome<Result>> {
    if (idempotencyKey === undefined) return work();
    const owned = `${tenant} ${idempotencyKey}`;
    if (running.has(owned)) return refusal('REQUEST_IN_PROGRESS');
    running.add(owned);
    try {
      return await work({
        digest: digest('idempotency-key', tenant, idempotencyKey),
        requestDigest: digest('request', idempotencyKey, JSON.stringify(request)),
        expiresAt: clock() + lifetimeMs,
      });
    } finally {
      running.delete(owned);
    }
  };
}
