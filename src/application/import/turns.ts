import { nextTurn } from '../next-turn.ts';

/** SQLite stores the most rows a second in transactions of 256 writes; some of these take new ids. */
export const wholeBatch = 240;
/** Beside other requests: some 4 ms. */
const smallBatch = 32;
/** Other requests are over if none begins for this long. */
const quietMs = 1;
/** The longest time that is left to other requests at once. */
const maxRestMs = 50;

/** Shares the event loop of the process between an import and other requests: each gets half of the time. */
export class Turns {
  readonly #requestCount: () => number;
  #isAlone = true;
  /** When the import began to work. */
  #since = performance.now();

  /** @param requestCount the number of requests that the process has received */
  constructor(requestCount: () => number) {
    this.#requestCount = requestCount;
  }

  /** How many rows to carry out before the next `giveWay`. */
  get batchSize(): number {
    return this.#isAlone ? wholeBatch : smallBatch;
  }

  /** Leaves the event loop to other requests, for as long as the import has used it; not if there are none. */
  async giveWay(): Promise<void> {
    const begun = performance.now();
    const restMs = Math.min(begun - this.#since, maxRestMs);
    let count = this.#requestCount();
    let lastAt = begun;
    let now = begun;
    this.#isAlone = true;
    while (now - begun < restMs && now - lastAt < quietMs) {
      await nextTurn();
      now = performance.now();
      if (this.#requestCount() === count) continue;
      count = this.#requestCount();
      lastAt = now;
      this.#isAlone = false;
    }
    this.#since = now;
  }
}
