import type { Conflict, ConflictCode } from '../domain/identity.ts';
import type { Violation } from '../domain/violations.ts';

/** Every refusal code, with its message to the caller. */
const messages = {
  BAD_REQUEST:
    'The request is malformed, or has no usable body: a JSON object (for store and update with customer) is expected.',
  INVALID_REQUEST: 'One or more fields break a rule; see errors.',
  FORBIDDEN: 'The API key does not allow this operation, or is not valid any more.',
  CUSTOMER_NOT_FOUND: 'No customer of this tenant has that identifier.',
  CUSTOMER_ANONYMIZED: 'The customer was erased: what it has can still change, but nothing new can be bound to it.',
  REFERENCE_OF_ANOTHER_CUSTOMER: 'The reference is bound to another customer.',
  CUSTOMER_MERGED: 'The customer was merged into another one. To erase the person, erase that one.',
  ERASURE_NOT_FOUND: 'No customer of this tenant was erased under that CustomerUrn.',
  NOT_FOUND: 'There is no such route.',
  METHOD_NOT_ALLOWED: 'The route does not support this method.',
  CUSTOMER_ALREADY_STORED: 'A customer with this ExternalId is already stored.',
  USER_WITH_SAME_EMAIL_EXISTS: 'The e-mail address belongs to another customer.',
  USER_WITH_SAME_PHONE_NUMBER_EXISTS: 'The phone number belongs to another customer.',
  STALE_REVISION: 'What is stored has a higher sourceRevision, or the customer was erased at this one or a higher one.',
  REVISION_CONFLICT: 'The stored customer has the same sourceRevision, but other content.',
  CURSOR_FROM_BEFORE_A_RESTORE:
    'The feed of this tenant does not have the event of the cursor: a backup was restored, or it is of another tenant.',
  REQUEST_IN_PROGRESS: 'A request with the same Idempotency-Key is still running.',
  VERSION_MISMATCH: 'The record is not at the version that If-Match names; read it again.',
  PAYLOAD_TOO_LARGE: 'The body is over the size limit.',
  UNSUPPORTED_MEDIA_TYPE:
    'The body must be sent as application/json (an import as application/x-ndjson), in UTF-8 and without a content coding.',
  IDEMPOTENCY_KEY_REUSED: 'The Idempotency-Key was used with another request; send another key.',
  TOO_MANY_REQUESTS:
    'The rate limit, or the number of imports or of waiting requests at once, is exceeded; see Retry-After.',
  HEADERS_TOO_LARGE: 'The request line and headers are over the size limit.',
  SQL_DATABASE_FAILURE:
    'The database did not complete the operation; retry it, using the same Idempotency-Key for a write.',
  INTERNAL_SERVER_ERROR: 'An unexpected error occurred.',
  SERVICE_UNAVAILABLE: 'The service is overloaded or shutting down; see Retry-After.',
} as const satisfies Record<string, string> & Record<ConflictCode, string>;

export type RefusalCode = keyof typeof messages;
export type MessageCode = 'SUCCESS' | RefusalCode;

/** The contract's `AzotteStatus` of a completed request. */
export interface Success {
  readonly messageCode: 'SUCCESS';
}
/** The contract's `AzotteStatus` of a refused request. */
export interface RefusalStatus {
  readonly messageCode: RefusalCode;
  readonly message: string;
  /** With INVALID_REQUEST: all violations of the request, in a stable order. */
  readonly errors?: readonly Violation[];
  /** With the code of a conflict: all conflicts of the request, in the order of `conflictsOf`. */
  readonly conflicts?: readonly Conflict[];
}

/** The return value of every use case. Expected failures are refusals; unexpected ones are exceptions. */
export type Outcome<Result> = Completed<Result> | Refusal;
export interface Completed<Result> {
  readonly status: Success;
  readonly result: Result;
  /** The version of the record in `result`, if it is a record. */
  readonly version?: number;
  /** True if an earlier request with the same Idempotency-Key made the change. */
  readonly replayed?: true;
}
export interface Refusal {
  readonly status: RefusalStatus;
}

export const success: Success = { messageCode: 'SUCCESS' };

export const completed = <Result>(result: Result): Completed<Result> => ({ status: success, result });

const refusals = Object.fromEntries(
  Object.entries(messages).map(([messageCode, message]) => [messageCode, { status: { messageCode, message } }]),
) as Record<RefusalCode, Refusal>;

export const refusal = (code: RefusalCode): Refusal => refusals[code];

/** INVALID_REQUEST with all violations. */
export const invalid = (errors: readonly Violation[]): Refusal => ({
  status: { ...refusals.INVALID_REQUEST.status, errors },
});

/** The code of the first conflict, with all conflicts. There must be at least one. */
export const conflicting = (conflicts: readonly Conflict[]): Refusal => ({
  status: { ...refusals[(conflicts[0] as Conflict).messageCode].status, conflicts },
});

export const isCompleted = <Result>(outcome: Outcome<Result>): outcome is Completed<Result> =>
  outcome.status.messageCode === 'SUCCESS';
