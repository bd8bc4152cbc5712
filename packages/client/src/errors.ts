import type { Refusal } from './outcome.ts';

/**
 * No answer of the service came for as long as the call was retried. Whether a write was carried out is not known: repeat it with
 * the same `idempotencyKey`, or as a `sync`. `cause` is the last error of `fetch`, or the answer of something between.
 */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';

  constructor(cause: unknown) {
    super('no answer of the service', { cause });
  }
}

/** The service refused a request of `import`, `export` or `changes`, which have no other way to say so. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly refusal: Refusal;
  /** How long the service asked to wait, in milliseconds; undefined if a repeat would be refused too. */
  readonly retryAfterMs: number | undefined;

  constructor(refusal: Refusal, retryAfterMs?: number) {
    super(refusal.messageCode);
    this.refusal = refusal;
    this.retryAfterMs = retryAfterMs;
  }
}
