/** When a failed delivery is tried again: the schedule of the Standard Webhooks specification 1.0.0. */
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** The waits after the first, second, … failure in a row; the last one also after every further failure. */
const waits = [
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
] as const;
/** Endpoints that failed together are not all tried again at once: up to this share is added to a wait. */
const jitter = 0.1;
const maxRetryAfterMs = day;
/** How long after its first failure an endpoint is disabled, unless an attempt succeeds before. */
const givesUpAfterMs = 10 * day;

/** Failures in a row, up to now. Times are milliseconds since 1970. */
export interface Failures {
  readonly firstFailureAt: number;
  /** At least one. */
  readonly failures: number;
}

/**
 * When the next attempt is due; undefined if the endpoint is to be disabled. The last attempt is at the end of the ten
 * days.
 *
 * @param retryAfterMs what the endpoint asked for; counts if it is later than the schedule, up to 24 hours
 * @param random 0 to 1
 */
export function nextAttempt(
  { firstFailureAt, failures }: Failures,
  now: number,
  retryAfterMs: number | undefined,
  random: number,
): number | undefined {
  const end = firstFailureAt + givesUpAfterMs;
  if (now >= end) return undefined;
  const wait = (waits[failures - 1] ?? day) * (1 + jitter * random);
  const asked = Math.min(retryAfterMs ?? 0, maxRetryAfterMs);
  return Math.min(now + Math.round(Math.max(wait, asked)), end);
}

/** The milliseconds of a `Retry-After` header, in seconds or as a date (RFC 9110 section 10.2.3). Undefined if it has none. */
export function parseRetryAfter(text: string, now: number): number | undefined {
  if (/^\d{1,10}$/.test(text)) return Number(text) * second;
  const date = /GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(date - now, 0);
}
