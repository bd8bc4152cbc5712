/** Sends requests: credentials, time limits, pacing, and retries. */
import { ConnectionError } from './errors.ts';
import { createPacing } from './pacing.ts';
import { createRetries, type Retries, retryAfterMs } from './retries.ts';

/** A value, or a function that is called for each attempt, for values that change. */
export type Credential = string | (() => string | Promise<string>);

export interface TransportOptions {
  /** The id of the tenant, `x-tn`. */
  readonly tenant: string;
  /** `x-api-key`. */
  readonly apiKey: Credential;
  /** A bearer token (JWT), for a tenant with a token issuer. */
  readonly token?: Credential;
  /**
   * How long a call is retried, in milliseconds from its first failure. Default: 120,000. Failures are the answers 429, 500 and
   * 503, errors of the network, and answers of something between (502, 504).
   */
  readonly retryForMs?: number;
  /** The time limit of one attempt, in milliseconds; not of the streams of `import` and `export`. Default: 30,000. */
  readonly attemptTimeoutMs?: number;
  /** Used instead of the global `fetch`. */
  readonly fetch?: (request: Request) => Promise<Response>;
}

export interface Transport {
  /** The waits of one call. */
  retries(signal: AbortSignal | undefined): Retries;
  /**
   * Sends a request until the answer is no failure, and reads the whole answer. Returns the last answer of the service if it
   * is still a failure when the time for retries is over.
   *
   * @param extraMs added to the time limit of each attempt
   * @throws ConnectionError if no answer is the service's; the reason of the request's signal if it is aborted
   */
  send(request: Request, extraMs?: number): Promise<Response>;
  /**
   * Sends a request once, with its credentials, when the rate limit allows.
   *
   * @param limitMs how long fetching the answer and reading its body may take
   * @throws the error of `fetch`
   */
  exchange(request: Request, limitMs?: number): Promise<Response>;
}

/** @throws TypeError if a credential is no value of a header */
export function createTransport(options: TransportOptions): Transport {
  const { tenant, apiKey, token, retryForMs = 120_000, attemptTimeoutMs = 30_000, fetch = globalThis.fetch } = options;
  for (const value of [tenant, apiKey, token]) if (typeof value === 'string') new Headers({ value });
  const pacing = createPacing();
  const retries = (signal: AbortSignal | undefined) => createRetries(retryForMs, signal);

  async function send(request: Request, extraMs = 0): Promise<Response> {
    const body = request.body && (await request.text());
    const { next } = retries(request.signal);
    for (;;) {
      const { response, isFailure = true, error } = await attempt(request, body, attemptTimeoutMs + extraMs);
      if (isFailure && (await next(response && retryAfterMs(response)))) continue;
      if (response && isFromService(response)) return response;
      throw new ConnectionError(error ?? response);
    }
  }

  async function attempt(
    { url, method, headers, redirect, signal }: Request,
    body: string | null,
    limitMs: number,
  ): Promise<{ response?: Response; isFailure?: boolean; error?: unknown }> {
    try {
      const answer = await exchange(new Request(url, { method, headers, redirect, body, signal }), limitMs);
      const text = await answer.text();
      const response = new Response(text || null, answer);
      // An earlier attempt, whose connection broke, is still in flight.
      const isInProgress = answer.status === 409 && text.includes('REQUEST_IN_PROGRESS');
      return { response, isFailure: isInProgress || isTransient(answer) };
    } catch (error) {
      signal.throwIfAborted();
      return { error };
    }
  }

  async function exchange(request: Request, limitMs?: number): Promise<Response> {
    const { signal } = request;
    await pacing.enter(signal);
    let answered: Headers | undefined;
    try {
      request.headers.set('x-tn', tenant);
      request.headers.set('x-api-key', await currentValue(apiKey));
      if (token) request.headers.set('authorization', `Bearer ${await currentValue(token)}`);
      const limited = limitMs ? AbortSignal.any([signal, AbortSignal.timeout(limitMs)]) : signal;
      const response = await fetch(new Request(request, { signal: limited }));
      answered = response.headers;
      return response;
    } finally {
      pacing.leave(answered);
    }
  }

  return { retries, send, exchange };
}

const currentValue = async (credential: Credential): Promise<string> =>
  typeof credential === 'string' ? credential : credential();

export const isTransient = ({ status }: Response): boolean => [429, 500, 502, 503, 504].includes(status);

/** Whether an answer is not that of a proxy, or of another server. */
export const isFromService = ({ headers }: Response): boolean => headers.has('x-request-id');
