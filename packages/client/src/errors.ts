import type { Refusal } from './outcome.ts';

// Messages contain no personal data and no secrets. The message of a `cause` is the runtime's, and may contain both.

/**
 * No answer of the service came. Whether a write was carried out is not known: repeat it with the same `idempotencyKey`, or as a
 * `sync`. `cause` is the last error of `fetch`, or the answer of something else (a proxy, or another server).
 */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  /** 0 if a repeat may help, else undefined. */
  readonly retryAfterMs: number | undefined;

  constructor(cause: unknown, retryAfterMs?: number) {
    const { status, cause: reason } = Object(cause);
    super(`no answer of the service (${status ?? reason?.code ?? 'network'})`, { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

/** The service refused a request of `import`, `export` or `changes`, which have no other way to say so. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly refusal: Refusal;
  /** How long the service asked to wait, in milliseconds; undefined if a repeat would be refused too. */
  readonly retryAfterMs: number | undefined;

  constructor(refusal: Refusal, retryAfterMs?: number) {
    super(JSON.stringify(refusal));
    this.refusal = refusal;
    this.retryAfterMs = retryAfterMs;
  }
}
