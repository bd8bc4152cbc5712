/** Streams of NDJSON that are resumed after a failure. */
import { ConnectionError, RefusedError } from './errors.ts';
import { refusalOf } from './outcome.ts';
import { type Retries, retryAfterMs } from './retries.ts';
import { isFromService, isTransient, type Transport } from './transport.ts';

/**
 * Repeats attempts until one comes to its end. An attempt continues where the one before it broke off, and resets the retries
 * when it gets on.
 *
 * @throws RefusedError or ConnectionError, at once or when the time for retries is over
 */
export async function* resuming<Item>(
  transport: Transport,
  signal: AbortSignal | undefined,
  attempt: (retries: Retries) => AsyncGenerator<Item, void>,
): AsyncGenerator<Item, void> {
  const retries = transport.retries(signal);
  for (;;) {
    try {
      return yield* attempt(retries);
    } catch (error) {
      signal?.throwIfAborted();
      const leastMs = error instanceof ConnectionError ? 0 : (error as Partial<RefusedError>).retryAfterMs;
      if (leastMs === undefined || !(await retries.next(leastMs))) throw error;
    }
  }
}

/** The stream broke off. */
export const broken = (cause?: unknown): never => {
  throw new ConnectionError(cause);
};

type Bytes = ReadableStream<Uint8Array>;

/**
 * The lines of a body, parsed. A last line that does not end is left out: it was cut off.
 *
 * @param fetching what openapi-fetch returns
 * @throws ConnectionError; RefusedError
 */
export async function* linesOf<Line>(
  fetching: Promise<{ readonly data?: Bytes | null; readonly error?: unknown; readonly response: Response }>,
): AsyncGenerator<Line, void> {
  const { data, error, response } = await fetching.catch(broken);
  if (!data) {
    if (!isFromService(response)) return broken(response);
    throw new RefusedError(refusalOf(response, error), isTransient(response) ? retryAfterMs(response) : undefined);
  }
  const reader = data.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(broken);
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) yield JSON.parse(line);
    }
  } finally {
    // Closes the connection of a body that is not read to its end.
    reader.cancel().catch(() => {});
  }
}
