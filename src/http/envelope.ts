import type { FastifyReply } from 'fastify';
import {
  type Completed,
  isCompleted,
  type MessageCode,
  type Outcome,
  type Refusal,
  type RefusalCode,
  type Success,
} from '../application/outcome.ts';
import { DatabaseFailure } from '../application/ports/database-failure.ts';
import type { Synced } from '../application/synchronization.ts';

/** The media type of every envelope. Keep the letter case: existing callers of C2A-01 compare it as a string. */
export const mediaType = 'application/clientOutput+Json; charset=utf-8';

/** Maps message codes to HTTP statuses. A new code without a status does not compile. */
export const httpStatus = {
  SUCCESS: 200,
  BAD_REQUEST: 400,
  INVALID_REQUEST: 400,
  FORBIDDEN: 403,
  CUSTOMER_NOT_FOUND: 404,
  ERASURE_NOT_FOUND: 404,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CUSTOMER_MERGED: 409,
  CUSTOMER_ANONYMIZED: 409,
  REFERENCE_OF_ANOTHER_CUSTOMER: 409,
  CUSTOMER_ALREADY_STORED: 409,
  USER_WITH_SAME_EMAIL_EXISTS: 409,
  USER_WITH_SAME_PHONE_NUMBER_EXISTS: 409,
  STALE_REVISION: 409,
  REVISION_CONFLICT: 409,
  CURSOR_FROM_BEFORE_A_RESTORE: 409,
  REQUEST_IN_PROGRESS: 409,
  VERSION_MISMATCH: 412,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  IDEMPOTENCY_KEY_REUSED: 422,
  TOO_MANY_REQUESTS: 429,
  HEADERS_TOO_LARGE: 431,
  SQL_DATABASE_FAILURE: 500,
  INTERNAL_SERVER_ERROR: 500,
  SERVICE_UNAVAILABLE: 503,
} as const satisfies Record<MessageCode, number>;

/** The shape of a route's refusals: {@link wrapped} or {@link bare}. */
export type RefusalShape = (refusal: Refusal) => object;

/** Seconds to wait before retrying a request that was refused with 503, or with 429 for another reason than the rate limit. */
const retryAfterSeconds = '1';

type Wrapped<Result> = Pick<Completed<Result>, 'result' | 'status'>;
export type WrappedRefusal = Refusal & { readonly result: null };

/** `{ result, status }`; a refusal has `result: null`. */
export const wrapped = <Result>(outcome: Outcome<Result>): Wrapped<Result> | WrappedRefusal =>
  isCompleted(outcome) ? { result: outcome.result, status: outcome.status } : { result: null, status: outcome.status };

/** The members of the result and `status` in one object; a refusal has only `status`. */
export const bare = <Result extends object | undefined>(
  outcome: Outcome<Result>,
): (Result & { readonly status: Success }) | Refusal =>
  isCompleted(outcome) ? { ...(outcome.result as Result & object), status: outcome.status } : outcome;

type SyncBody = Pick<Synced, 'result' | 'outcome' | 'changedFields' | 'status'>;

/** The response of a sync: `wrapped`, with the outcome; a refusal has `result: null`. */
export const synced = (outcome: Synced | Refusal): SyncBody | WrappedRefusal =>
  isCompleted(outcome)
    ? {
        result: outcome.result,
        outcome: outcome.outcome,
        ...(outcome.changedFields && { changedFields: outcome.changedFields }),
        status: outcome.status,
      }
    : { result: null, status: outcome.status };

/**
 * Sets the status and the headers of a response and returns its body.
 *
 * @param shape {@link wrapped} or {@link bare}
 */
export function answer<Given extends Outcome<unknown>, Body>(
  reply: FastifyReply,
  outcome: Given,
  shape: (outcome: Given) => Body,
): Body {
  const code = outcome.status.messageCode;
  reply.messageCode = code;
  // `no-store`: a URL refers to a different customer for each tenant, and a shared cache ignores x-tn (RFC 9111, 3).
  reply.code(httpStatus[code]).header('content-type', mediaType).header('cache-control', 'no-store');
  if (!isCompleted(outcome)) reply.violations = outcome.status.errors;
  const isTemporary = httpStatus[code] === 503 || httpStatus[code] === 429;
  if (isTemporary && !reply.hasHeader('retry-after')) reply.header('retry-after', retryAfterSeconds);
  if (isCompleted(outcome) && outcome.version !== undefined) reply.header('etag', `"${outcome.version}"`);
  if (isCompleted(outcome) && outcome.replayed) reply.header('idempotency-replayed', 'true');
  return shape(outcome);
}

/** Thrown, or passed to a hook's `done`, to refuse a request before it reaches its use case. */
export class RequestRefused extends Error {
  readonly code: RefusalCode;
  /** Headers of the response, besides those of every refusal. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RefusalCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }
}

/** The message codes for the statuses that Fastify and its plugins throw. Any other status is a bug. */
const codeOfStatus: Readonly<Record<number, RefusalCode>> = {
  400: 'BAD_REQUEST',
  404: 'NOT_FOUND',
  413: 'PAYLOAD_TOO_LARGE',
  414: 'NOT_FOUND',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  429: 'TOO_MANY_REQUESTS',
};

/** The message code of a thrown error; `INTERNAL_SERVER_ERROR` for an unexpected one. */
export function codeOf(error: Error & { readonly statusCode?: number }): RefusalCode {
  if (error instanceof RequestRefused) return error.code;
  if (error instanceof DatabaseFailure) return 'SQL_DATABASE_FAILURE';
  return codeOfStatus[error.statusCode ?? 500] ?? 'INTERNAL_SERVER_ERROR';
}
