/** Sends a request once: credentials, time limit, pacing. */
import { ConnectionError } from './errors.ts';
import { createPacing } from './pacing.ts';
import { createRetries, type Retries, retryAfterMs } from './retries.ts';
import { bounded } from './waiting.ts';

/** A value, or a function that is called for each attempt, for values that change. What it throws ends the call. */
export type Credential = string | (() => string | Promise<string>);

export interface TransportOptions {
  /** The id of the tenant, `x-tn`. */
  readonly tenant: string;
  /** `x-api-key`. */
  readonly apiKey: Credential;
  /** A bearer token (JWT), for a tenant with a token issuer. */
  readonly token?: Credential | undefined;
  /**
   * How long a call is retried, in milliseconds from its first failure. Default: 120,000. Failures are errors of the network, the
   * answers 429, 500, 502, 503 and 504, and REQUEST_IN_PROGRESS.
   */
  readonly retryForMs?: number | undefined;
  /**
   * The time limit of one attempt, in milliseconds. Default: 30,000. Of an import or an export it limits the time to the first
   * byte; after it, five minutes may pass without one.
   */
  readonly attemptTimeoutMs?: number | undefined;
  /** Used instead of the global `fetch`. */
  readonly fetch?: ((request: Request) => Promise<Response>) | undefined;
}

export interface Transport {
  /** The waits of one call. */
  retries(signal: AbortSignal | undefined): Retries;
  /**
   * Sends a request once, with its credentials, when the rate limit allows. Reads the whole body of the answer, unless it is
   * NDJSON.
   *
   * @param extraMs added to the time limit
   * @throws ConnectionError, also if the answer is not the service's; the reason of the signal once it is aborted; the
   *   error of a credential function
   */
  send(request: Request, signal: AbortSignal | undefined, extraMs?: number): Promise<Response>;
}

/** @throws TypeError if a credential is missing or is not a valid header value */
export function createTransport(options: TransportOptions): Transport {
  const { tenant, apiKey, token, retryForMs = 120_000, attemptTimeoutMs = 30_000, fetch = globalThis.fetch } = options;
  for (const value of [tenant, apiKey, token ?? '-']) if (typeof value !== 'function') checked(value);
  const pacing = createPacing();
  return {
    retries: (signal) => createRetries(retryForMs, signal),
    async send(request, signal, extraMs = 0) {
      await pacing.enter(signal);
      const controller = new AbortController();
      let answered: Headers | undefined;
      const exchange = async () => {
        request.headers.set('x-tn', tenant);
        request.headers.set('x-api-key', await currentValue(apiKey));
        if (token) request.headers.set('authorization', `Bearer ${await currentValue(token)}`);
        const answer = await fetch(new Request(request, { signal: controller.signal })).catch(broken);
        answered = answer.headers;
        const type = answered.get('content-type') ?? '';
        // A 401 has no body.
        if (answer.status !== 401 && !/json/i.test(type)) throw new ConnectionError(answer, retryAfterMs(answer));
        return type.includes('ndjson') ? answer : new Response((await answer.text().catch(broken)) || null, answer);
      };
      try {
        return await bounded(exchange(), signal, attemptTimeoutMs + extraMs);
      } catch (error) {
        controller.abort();
        throw error;
      } finally {
        pacing.leave(answered);
      }
    },
  };
}

/** The text of a header. */
function checked(value: string): string {
  // The error of `Headers` would contain it.
  if (!/^[!-~]+$/.test(value ?? '')) throw new TypeError('a credential is missing or not valid');
  return value;
}

const currentValue = async (credential: Credential): Promise<string> =>
  typeof credential === 'function' ? checked(await credential()) : credential;

/** The connection broke. */
export const broken = (cause?: unknown): never => {
  throw new ConnectionError(cause, 0);
};
