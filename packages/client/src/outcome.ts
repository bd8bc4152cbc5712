/** What a call may answer, by operation: types made from the description of the API. */
import type { components, operations } from './openapi.ts';

type Schemas = components['schemas'];
export type Customer = Schemas['Customer'];
/** A customer as `store` takes it. */
export type CustomerDto = Schemas['CustomerDto'];
/** A customer as `sync` and `import` take it. */
export type CustomerState = Schemas['CustomerState'];
/** The fields that an `update` changes. */
export type CustomerChange = Schemas['CustomerChange'];
/** A customer with its payment options. */
export type Snapshot = Schemas['Snapshot'];
export type ChangeEvent = Schemas['ChangeEvent'];
export type Reference = Schemas['Reference'];
export type SignedReceipt = Schemas['SignedReceipt'];
export type Violation = Schemas['Violation'];
export type Conflict = Schemas['Conflict'];

/** The operations of the API, by the operationId of openapi.json. */
export type Operation = keyof operations;

/** An operation as openapi-typescript describes it. */
export interface Described {
  readonly responses: { readonly 200: unknown; readonly default: unknown };
}
/** The JSON body of a request. */
export type BodyOf<Op> = Op extends { requestBody: { content: { 'application/json': infer Body } } } ? Body : never;
export type RequestBody<Name extends Operation> = BodyOf<operations[Name]>;
type Content<Response> = Response extends { content: infer Bodies } ? Bodies[keyof Bodies] : never;
type CodeOf<Op extends Described> =
  Content<Op['responses']['default']> extends { status: { messageCode: infer Code } } ? Code : never;

/** What every answer has. */
interface Answered {
  /** The id of the request in the log of the service. */
  readonly requestId: string;
}

type SuccessOf<Op extends Described> = { readonly messageCode: 'SUCCESS' } & Readonly<
  Omit<Content<Op['responses'][200]>, 'status'>
> &
  Answered & {
    /** The version of the record, for `ifMatch`; absent if the operation has none. */
    readonly etag?: string;
    /** Whether an earlier request with the same Idempotency-Key did the work. */
    readonly isReplay: boolean;
  };

/** `UNAUTHORIZED` is the client's own: an answer 401 has no body. */
export type RefusalCode = Schemas['ErrorStatus']['messageCode'] | 'UNAUTHORIZED';

type Details<Code> = Code extends 'INVALID_REQUEST'
  ? {
      /** All violations of the request. */
      readonly errors: readonly Violation[];
    }
  : Code extends Conflict['messageCode']
    ? {
        /** All conflicts, each with the customer that holds the value. */
        readonly conflicts: readonly Conflict[];
      }
    : unknown;

/** A refusal of each of these codes: a union that `switch` on `messageCode` narrows. */
export type Refusal<Code extends RefusalCode = RefusalCode> = Code extends unknown
  ? {
      readonly messageCode: Code;
      /** One sentence, without personal data. */
      readonly message: string;
      readonly httpStatus: number;
    } & Answered &
      Details<Code>
  : never;

/** What a call returns: its success, or one of the refusals that its operation may answer. */
export type OutcomeOf<Op extends Described> =
  | SuccessOf<Op>
  | Refusal<Extract<CodeOf<Op>, RefusalCode> | 'UNAUTHORIZED'>;
export type Outcome<Name extends Operation> = OutcomeOf<operations[Name]>;
export type Success<Name extends Operation> = SuccessOf<operations[Name]>;
