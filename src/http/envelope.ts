import type { FastifyReply } from 'fastify';
import {
  isCompleted,
  type MessageCode,
  type Outcome,
  type Refusal,
  type RefusalStatus,
  type Success,
} from '../application/outcome.ts';

/** Exactly this, letter case included: callers of the original compare it. */
export const mediaType = 'application/clientOutput+Json; charset=utf-8';

/** The one table from outcome to HTTP. A new code without a status does not compile. */
export const httpStatus = {
  SUCCESS: 200,
  BAD_REQUEST: 400,
  INVALID_REQUEST: 400,
  FORBIDDEN: 403,
  CUSTOMER_NOT_FOUND: 404,
  ERASURE_NOT_FOUND: 404,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CUSTOMER_ALREADY_STORED: 409,
  USER_WITH_SAME_EMAIL_EXISTS: 409,
  USER_WITH_SAME_PHONE_NUMBER_EXISTS: 409,
  REQUEST_IN_PROGRESS: 409,
  VERSION_MISMATCH: 412,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  IDEMPOTENCY_KEY_REUSED: 422,
  TOO_MANY_REQUESTS: 429,
  SQL_DATABASE_FAILURE: 500,
  INTERNAL_SERVER_ERROR: 500,
  SERVICE_UNAVAILABLE: 503,
} as const satisfies Record<MessageCode, number>;

/** How a route puts what it refuses in the envelope: {@link wrapped} or {@link bare}. */
export type RefusalShape = (refusal: Refusal) => object;

/** Seconds after which a caller may try again what was refused for load. */
const retryAfterSeconds = '1';

interface Wrapped<Result> {
  readonly result: Result;
  readonly status: Success;
}
export interface WrappedRefusal {
  readonly result: null;
  readonly status: RefusalStatus;
}
export interface BareRefusal {
  readonly status: RefusalStatus;
}

/** `{ result, status }`, and `result: null` on a refusal. */
export const wrapped = <Result>(outcome: Outcome<Result>): Wrapped<Result> | WrappedRefusal =>
  isCompleted(outcome) ? { result: outcome.result, status: outcome.status } : { result: null, status: outcome.status };

/** The members of the result beside `status`, and `status` alone on a refusal. */
export const bare = <Result extends object | undefined>(
  outcome: Outcome<Result>,
): (Result & { readonly status: Success }) | BareRefusal =>
  isCompleted(outcome)
    ? { ...(outcome.result as Result & object), status: outcome.status }
    : { status: outcome.status };

/**
 * A shape whose body is text already, the same for the same outcome: what is read often is written once. (Fastify sends
 * text as it is, so to everybody else it is the body.)
 */
export function writtenOnce<Given extends object, Body>(shape: (outcome: Given) => Body): (outcome: Given) => Body {
  // On the outcome itself, and not in a WeakMap: what is in there outlives the outcome by many collections.
  const written = Symbol('written');
  return (outcome: Given & { [written]?: string }) => {
    outcome[written] ??= JSON.stringify(shape(outcome));
    return outcome[written] as Body;
  };
}

/**
 * Sets what an outcome says in the head of the answer and gives its body. `shape` is {@link wrapped} or {@link bare}.
 */
export function answer<Given extends Outcome<unknown>, Body>(
  reply: FastifyReply,
  outcome: Given,
  shape: (outcome: Given) => Body,
): Body {
  const code = outcome.status.messageCode;
  reply.messageCode = code;
  // One URL may be of a customer of any tenant, and by nothing that a cache between knows (RFC 9111 section 3).
  reply.code(httpStatus[code]).header('content-type', mediaType).header('cache-control', 'no-store');
  if (httpStatus[code] === 503) reply.header('retry-after', retryAfterSeconds);
  if (isCompleted(outcome) && outcome.version !== undefined) reply.header('etag', `"${outcome.version}"`);
  if (outcome.replayed) reply.header('idempotency-replayed', 'true');
  return shape(outcome);
}
