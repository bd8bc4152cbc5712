import { sleep } from './retries.ts';

/** How often to look again when nothing tells when requests are allowed. */
const pollMs = 100;

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
    async enter(signal: AbortSignal): Promise<void> {
      for (;;) {
        const waitMs = resetsAt - Date.now();
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
      const [max, left, seconds] = ['limit', 'remaining', 'reset'].map((name) => headers?.get(`ratelimit-${name}`));
      if (!max || !left || !seconds) return;
      limit = Number(max);
      const now = Date.now();
      if (now >= resetsAt) {
        remaining = limit;
        resetsAt = now + Number(seconds) * 1_000;
      }
      // Answers may overtake each other.
      remaining = Math.min(remaining, Number(left));
    },
  };
}
