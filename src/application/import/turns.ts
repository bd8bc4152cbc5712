import { nextTurn } from '../next-turn.ts';

/** SQLite stores the most rows a second in transactions of 256 writes; some of these take new ids. */
export const wholeBatch = 240;
/** Beside other requests: some 4 ms. */
const smallBatch = 32;
/** Other requests are over if none begins for this long. */
const quietMs = 1;
/** The longest time that is left to other requests at once. */
const maxRestMs = 50;

/** Shares the event loop of a process between all imports and other requests: the imports get half of the time. */
export class Turns {
  /** The number of requests that the process has received. */
  requestCount: () => number = () => 0;
  #isAlone = true;
  /** Fulfilled when the next turn may begin. */
  #next: Promise<void> = Promise.resolve();

  /** How many rows to carry out in one turn. */
  get batchSize(): number {
    return this.#isAlone ? wholeBatch : smallBatch;
  }

  /**
   * Does a part of an import, once the turns that were taken before are over. After it, other requests have the event loop
   * for as long as it took; not if there are none.
   */
  async take<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#next.then(() => timed(work));
    this.#next = turn.then(
      ({ ms }) => this.#rest(ms),
      () => {},
    );
    return (await turn).result;
  }

  async #rest(ms: number): Promise<void> {
    const began = performance.now();
    const restMs = Math.min(ms, maxRestMs);
    let count = this.requestCount();
    let lastAt = began;
    let now = began;
    let isAlone = true;
    while (now - began < restMs && now - lastAt < quietMs) {
      await nextTurn();
      now = performance.now();
      if (this.requestCount() === count) continue;
      count = this.requestCount();
      lastAt = now;
      isAlone = false;
    }
    this.#isAlone = isAlone;
  }
}

async function timed<Result>(work: () => Promise<Result>): Promise<{ readonly result: Result; readonly ms: number }> {
  const began = performance.now();
  const result = await work();
  return { result, ms: performance.now() - began };
}
