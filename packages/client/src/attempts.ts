/** Attempts of a call, and of a stream of NDJSON that is resumed after a failure. */
import { ConnectionError, RefusedError } from './errors.ts';
import type { Described, OutcomeOf, Refusal } from './outcome.ts';
import { type Retries, retryAfterMs } from './retries.ts';
import { broken, type Transport } from './transport.ts';
import { bounded } from './waiting.ts';

/**
 * Repeats attempts until one comes to its end. An attempt continues where the one before it broke off, and resets the retries
 * when it gets on.
 *
 * @param throwIfFatal called before an attempt is repeated
 * @throws RefusedError or ConnectionError, at once or when the time for retries is over
 */
export async function* repeating<Item>(
  transport: Transport,
  signal: AbortSignal | undefined,
  attempt: (retries: Retries) => AsyncGenerator<Item, void>,
  throwIfFatal = () => {},
): AsyncGenerator<Item, void> {
  const retries = transport.retries(signal);
  for (;;) {
    try {
      return yield* attempt(retries);
    } catch (error) {
      throwIfFatal();
      if (!(await retries.next((error as ConnectionError).retryAfterMs))) throw error;
    }
  }
}

/** What openapi-fetch returns. */
interface Fetched<Data> {
  readonly data?: Data;
  readonly error?: unknown;
  readonly response: Response;
}

/**
 * The success of an attempt.
 *
 * @throws RefusedError; ConnectionError if the answer is not the service's, but that of a proxy or of another server
 */
async function successOf<Data>(fetching: Promise<Fetched<Data>>): Promise<{ data: Data; response: Response }> {
  const { data, error, response } = await fetching.catch((cause) => {
    // The body was cut off. The message of the error would contain its beginning.
    throw cause instanceof SyntaxError ? new ConnectionError(undefined, 0) : cause;
  });
  if (data) return { data, response };
  const { status: httpStatus } = response;
  const status = httpStatus === 401 ? unauthorized : Object(error).status;
  // An earlier attempt, whose connection broke, may be in flight.
  const leastMs = status?.messageCode === 'REQUEST_IN_PROGRESS' ? 0 : retryAfterMs(response);
  if (!status?.messageCode) throw new ConnectionError(response, leastMs);
  throw new RefusedError({ ...status, httpStatus, requestId: requestIdOf(response) } as Refusal, leastMs);
}

const requestIdOf = ({ headers }: Response): string => headers.get('x-request-id') ?? '';

const unauthorized = { messageCode: 'UNAUTHORIZED', message: 'Authentication failed.' };

/** Repeats a call until its answer is no failure, or the time for retries is over. @throws ConnectionError */
export async function outcomeOf<Op extends Described>(
  transport: Transport,
  signal: AbortSignal | undefined,
  fetchOnce: () => Promise<Fetched<unknown>>,
): Promise<OutcomeOf<Op>> {
  const answers = repeating(transport, signal, async function* () {
    yield await successOf(fetchOnce());
  });
  try {
    const { data, response } = (await answers.next()).value as Awaited<ReturnType<typeof successOf>>;
    const { status: _, ...body } = data as { readonly status?: unknown };
    const etag = response.headers.get('etag');
    return {
      messageCode: 'SUCCESS',
      ...body,
      requestId: requestIdOf(response),
      ...(etag && { etag }),
      isReplay: response.headers.has('idempotency-replayed'),
    } as unknown as OutcomeOf<Op>;
  } catch (error) {
    if (error instanceof RefusedError) return error.refusal as OutcomeOf<Op>;
    throw error;
  }
}

/** How long a stream may be silent: an import is, while its source is slow. */
const maxSilenceMs = 300_000;

/**
 * The lines of a body, parsed. A last line that does not end is left out: it was cut off.
 *
 * @throws as `successOf`; the reason of the signal once it is aborted
 */
export async function* linesOf<Line>(
  fetching: Promise<Fetched<ReadableStream<Uint8Array> | null>>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Line, void> {
  const { data } = await successOf(fetching);
  const reader = (data as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await bounded(reader.read().catch(broken), signal, maxSilenceMs);
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) yield parsed(line);
    }
  } finally {
    // Closes the connection of a body that is not read to its end.
    reader.cancel().catch(() => {});
  }
}

function parsed(line: string) {
  try {
    return JSON.parse(line);
  } catch {
    // The message of the error would contain the beginning of the line.
    return broken();
  }
}
