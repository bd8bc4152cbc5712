import { sleep } from './retries.ts';

/** How often to look again when nothing tells when requests are allowed. */
const pollMs = 100;

/**
 * Keeps a client below its rate limit by the headers RateLimit-Limit, -Remaining and -Reset
 * (draft-ietf-httpapi-ratelimit-headers): requests wait for the next window instead of being refused with 429.
 */
export class Pacing {
  #limit = Number.POSITIVE_INFINITY;
  #remaining = Number.POSITIVE_INFINITY;
  #resetsAt = 0;
  #inFlight = 0;

  /** Waits until a request may be sent. Call `leave` once it is answered. Throws the reason of the signal if it is aborted. */
  async enter(signal: AbortSignal): Promise<void> {
    for (;;) {
      const waitMs = this.#resetsAt - Date.now();
      if (waitMs <= 0) this.#remaining = this.#limit;
      // Requests in flight may not be counted in what the last answer said to remain.
      if (this.#inFlight < this.#remaining) break;
      await sleep(Math.max(waitMs, pollMs), signal);
    }
    this.#inFlight += 1;
  }

  /** @param headers those of the answer; undefined if there was none */
  leave(headers: Headers | undefined): void {
    this.#inFlight -= 1;
    const [limit, remaining, seconds] = ['limit', 'remaining', 'reset'].map((name) =>
      headers?.get(`ratelimit-${name}`),
    );
    if (!limit || !remaining || !seconds) return;
    this.#limit = Number(limit);
    this.#remaining = Number(remaining);
    this.#resetsAt = Date.now() + Number(seconds) * 1_000;
  }
}
