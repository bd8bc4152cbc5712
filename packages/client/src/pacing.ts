import { sleep } from './waiting.ts';

/** How often to check again if the time of the reset has passed or is not known. */
const pollMs = 100;
/** A longer window is treated as invalid. */
const maxWindowSeconds = 3_600;

/**
 * Keeps a client below its rate limit by the headers RateLimit-Limit, -Remaining and -Reset
 * (draft-ietf-httpapi-ratelimit-headers): requests wait for the next window instead of being refused with 429.
 */
export function createPacing() {
  let limit = Number.POSITIVE_INFINITY;
  let remaining = limit;
  let resetsAt = 0;
  let inFlight = 0;
  return {
    /** Waits until a request may be sent. Call `leave` once it is answered. Throws the reason of the signal if it is aborted. */
    async enter(signal: AbortSignal | undefined): Promise<void> {
      signal?.throwIfAborted();
      for (;;) {
        const waitMs = resetsAt - performance.now();
        if (waitMs <= 0) remaining = limit;
        // Requests in flight may not be counted in what the last answer said to remain.
        if (inFlight < remaining) break;
        await sleep(Math.max(waitMs, pollMs), signal);
      }
      inFlight += 1;
    },

    /** @param headers those of the answer; undefined if there was none */
    leave(headers: Headers | undefined): void {
      inFlight -= 1;
      const numberOf = (name: string) => Number.parseFloat(headers?.get(`ratelimit-${name}`) ?? '');
      const [max, left, seconds] = [numberOf('limit'), numberOf('remaining'), numberOf('reset')];
      // False for NaN.
      if (!(max >= 1 && left >= 0 && seconds <= maxWindowSeconds)) return;
      limit = max;
      const now = performance.now();
      if (now >= resetsAt) {
        remaining = limit;
        resetsAt = now + seconds * 1_000;
      }
      // Answers may overtake each other.
      remaining = Math.min(remaining, left);
    },
  };
}
