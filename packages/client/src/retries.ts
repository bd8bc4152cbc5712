import { sleep } from './waiting.ts';

/** Exponential backoff with full jitter, so that clients that failed together do not return together. */
const firstDelayMs = 100;
const maxDelayMs = 10_000;

/** The waits between the attempts of one call. */
export interface Retries {
  /**
   * Waits before the next attempt. False if the call must give up; throws the reason of the signal if it is aborted.
   *
   * @param leastMs what the service asked for by Retry-After; undefined: gives up
   */
  next(leastMs: number | undefined): Promise<boolean>;
  /** Call it when an attempt has got further than those before it. */
  reset(): void;
}

/** @param retryForMs how long to go on, from the first failure */
export function createRetries(retryForMs: number, signal: AbortSignal | undefined): Retries {
  let failures = 0;
  let deadline = 0;
  return {
    async next(leastMs) {
      signal?.throwIfAborted();
      // Monotonic: the wall clock may be adjusted.
      const now = performance.now();
      if (failures === 0) deadline = now + retryForMs;
      const delayMs = (leastMs as number) + Math.random() * Math.min(maxDelayMs, firstDelayMs * 2 ** failures);
      failures += 1;
      // False for NaN, which undefined gives.
      if (!(now + delayMs <= deadline)) return false;
      await sleep(delayMs, signal);
      return true;
    },
    reset() {
      failures = 0;
    },
  };
}

const transientStatuses = [429, 500, 502, 503, 504];

/**
 * The wait that an answer asks for by Retry-After, in milliseconds: seconds or a date (RFC 9110 section 10.2.3); 0 if it asks
 * for none. Undefined if a repeat would not help.
 */
export function retryAfterMs({ status, headers }: Response): number | undefined {
  if (!transientStatuses.includes(status)) return undefined;
  const value = headers.get('retry-after') ?? '';
  const ms = Number(value) * 1_000;
  return ms >= 0 ? ms : Math.max(0, Date.parse(value) - Date.now()) || 0;
}
