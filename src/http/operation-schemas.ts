/**
 * The common parts of all operation schemas: headers, security, the envelope and its refusals. Request schemas are only
 * documentation: the domain checks every rule, so that a caller learns all violations at once. The compiler checks the
 * return values of routes against the response schemas; the tests check every response with Ajv.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { type TSchema, type TUnsafe, Type } from '@sinclair/typebox';
import { invalid, type Refusal, type RefusalCode, refusal, type Success } from '../application/outcome.ts';
import type { FieldTable } from '../domain/field-schema.ts';
import type { Violation, ViolationCode } from '../domain/violations.ts';
import { bare, httpStatus, mediaType, type RefusalShape, type WrappedRefusal, wrapped } from './envelope.ts';
import { closedObject, type Properties } from './field-schemas.ts';

/** A server whose handlers the compiler checks against their response schemas. */
export type ApiServer = Parameters<FastifyPluginCallbackTypebox>[0];

/** The members that every operation has. */
export const apiOperation = {
  tags: ['customers'],
  produces: [mediaType],
  security: [{ apiKey: [] }, { apiKey: [], jwtTenant: [] }],
};

const successSchema = closedObject({ messageCode: Type.Literal('SUCCESS') }, { $id: 'Success' });
const problemCodes = Object.keys({
  required: 0,
  invalid_type: 0,
  invalid_format: 0,
  invalid_value: 0,
  too_long: 0,
  reserved: 0,
  unknown_field: 0,
  exactly_one: 0,
} satisfies Record<ViolationCode, 0>);
const problemSchema = closedObject(
  {
    field: Type.String({ description: 'Path from the root of the request.' }),
    code: Type.String({ enum: problemCodes }),
    message: Type.String({ description: 'One sentence; never repeats a submitted value.' }),
  },
  { $id: 'Problem' },
);
export const envelopeSchemas = [successSchema, problemSchema];

/** A reference to a named schema. `T` is the type of the values that it describes. */
export const reference = <T>(schema: TSchema): TUnsafe<T> => Type.Unsafe<T>({ $ref: `${schema.$id}#` });

/** Request headers of reads, of writes, and of writes that check a version. */
export const readHeaders = Type.Object({
  'x-tn': Type.String({ description: 'The tenant.', examples: ['acme'] }),
  'x-request-id': Type.Optional(
    Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', description: 'Returned with the answer and written to the log.' }),
  ),
});
export const writeHeaders = Type.Object({
  ...readHeaders.properties,
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^[\\x21-\\x7e]{1,128}$',
      description: 'A retry within 24 hours with the same key and request gets the first answer again.',
    }),
  ),
});
export const versionedWriteHeaders = Type.Object({
  ...writeHeaders.properties,
  'if-match': Type.Optional(Type.String({ description: 'Changes the record only at this version (an ETag).' })),
});

const requestIdHeader = {
  'x-request-id': Type.String({ description: "The caller's own where it is valid, else a new one." }),
};
const envelopeHeaders = {
  ...requestIdHeader,
  'cache-control': Type.String({ enum: ['no-store'], description: 'Answers hold personal data.' }),
  // Present if a rate limit is set (draft-ietf-httpapi-ratelimit-headers).
  'ratelimit-limit': Type.String({ description: 'Requests per minute that the API key may send.' }),
  'ratelimit-remaining': Type.String({ description: 'Requests that are left in this minute.' }),
  'ratelimit-reset': Type.String({ description: 'Seconds until the count starts again.' }),
};
const retryHeader = { 'retry-after': Type.String({ description: 'Seconds to wait.', examples: ['1'] }) };
const codingHeader = {
  'accept-encoding': Type.String({ enum: ['identity'], description: 'Set where the body has a content coding.' }),
};
/** Response headers that some operations add. */
export const etagHeader = {
  etag: Type.String({ description: 'The version of the record, for If-Match.', examples: ['"1"'] }),
};
export const replayedHeader = {
  'idempotency-replayed': Type.String({
    enum: ['true'],
    description: 'Set where an earlier request with this Idempotency-Key did the work.',
  }),
};

/** Examples by name, under the keyword that @fastify/swagger reads. */
const examples = (values: Record<string, unknown>) => ({
  'x-examples': Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])),
});

/** The schema of a request body, with its example. */
export const bodySchema = (members: Properties, sample: object, options: object = {}): TSchema =>
  closedObject(members, { ...options, ...examples({ sample }) });

/** The condition that exactly one of these fields is given. */
export const exactlyOne = (table: FieldTable) => ({
  oneOf: Object.keys(table).map((name) => ({ required: [name] })),
});

/** The schema of the response 200: `members` and `status`. */
export function successResponse<Members extends Properties>(
  members: Members,
  about: { readonly description: string; readonly headers?: Properties; readonly example: object },
) {
  return closedObject(
    { ...members, status: reference<Success>(successSchema) },
    {
      description: about.description,
      headers: { ...envelopeHeaders, ...about.headers },
      ...examples({ SUCCESS: { ...about.example, status: { messageCode: 'SUCCESS' } } }),
    },
  );
}

type Codes = readonly RefusalCode[];
/** The refusal codes of requests with a body, of writes, and of writes that may conflict with another customer. */
export const bodyRefusals: Codes = ['BAD_REQUEST', 'INVALID_REQUEST', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];
export const writeRefusals: Codes = [...bodyRefusals, 'FORBIDDEN', 'REQUEST_IN_PROGRESS', 'IDEMPOTENCY_KEY_REUSED'];
export const conflictRefusals: Codes = [
  'CUSTOMER_ALREADY_STORED',
  'USER_WITH_SAME_EMAIL_EXISTS',
  'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
];
/** The refusal codes of every request. */
const commonRefusals: Codes = [
  'TOO_MANY_REQUESTS',
  'SQL_DATABASE_FAILURE',
  'INTERNAL_SERVER_ERROR',
  'SERVICE_UNAVAILABLE',
];

const refusalMeaning: Partial<Record<number, string>> = {
  400: 'The request has no usable body, or breaks field rules.',
  403: "The key's role does not allow the operation.",
  404: 'No such customer of this tenant.',
  409: 'A unique value is already in use, or a request with the same Idempotency-Key is still running.',
  412: 'If-Match names another version.',
  413: 'The body is over 64 KiB.',
  415: 'The body is not application/json, not UTF-8, or has a content coding.',
  422: 'The Idempotency-Key was used with another request.',
  429: 'Over the rate limit.',
  500:
    'The database or the service failed; nothing was stored, unless the connection to a database server broke at the ' +
    'very end. A retry with the same Idempotency-Key is safe.',
  503: 'Overloaded or shutting down.',
};

const unauthorized = Type.Null({
  description: 'Authentication failed. The body is empty, and the answer is the same for every reason.',
  headers: {
    ...requestIdHeader,
    'www-authenticate': Type.String({ description: 'The schemes by which a caller can authenticate.' }),
  },
});

/** Sent before the route is known, so it has the same shape for every operation. */
const headersTooLarge = () =>
  closedObject(
    { result: Type.Null(), status: statusSchema(['HEADERS_TOO_LARGE']) },
    {
      description: 'The request line and headers are over 16 KiB. The connection is closed.',
      headers: { ...requestIdHeader, 'cache-control': envelopeHeaders['cache-control'] },
      ...examples({ HEADERS_TOO_LARGE: wrapped(refusal('HEADERS_TOO_LARGE')) }),
    },
  );

type RefusalResponses<Body> = Record<(typeof httpStatus)[RefusalCode], TUnsafe<Body>> & {
  readonly 401: typeof unauthorized;
  readonly 431: ReturnType<typeof headersTooLarge>;
};

/**
 * The schemas of all refusals of an operation, by HTTP status, including 401 and 431.
 *
 * @param codes the refusal codes of the operation, besides those of every operation
 * @param violations the violations in the example of INVALID_REQUEST
 */
export function refusals<Shape extends 'wrapped' | 'bare'>(
  shape: Shape,
  codes: Codes,
  violations: readonly Violation[],
) {
  const all = [...codes, ...commonRefusals];
  const shaped: RefusalShape = shape === 'wrapped' ? wrapped : bare;
  const example = (code: RefusalCode) => shaped(code === 'INVALID_REQUEST' ? invalid(violations) : refusal(code));
  const schemas = [...new Set(all.map((code) => httpStatus[code]))].map((status): [number, TSchema] => {
    const group = all.filter((code) => httpStatus[code] === status);
    const members = { ...(shape === 'wrapped' && { result: Type.Null() }), status: statusSchema(group) };
    return [
      status,
      closedObject(members, {
        description: refusalMeaning[status] as string,
        headers: {
          ...envelopeHeaders,
          ...((status === 429 || status === 503) && retryHeader),
          ...(status === 415 && codingHeader),
        },
        ...examples(Object.fromEntries(group.map((code) => [code, example(code)]))),
      }),
    ];
  });
  return { ...Object.fromEntries(schemas), 401: unauthorized, 431: headersTooLarge() } as RefusalResponses<
    Shape extends 'wrapped' ? WrappedRefusal : Refusal
  >;
}

const statusSchema = (codes: Codes): TSchema =>
  closedObject({
    messageCode: Type.String({ enum: codes }),
    message: Type.String({ description: 'One sentence; never repeats a submitted value.' }),
    ...(codes.includes('INVALID_REQUEST') && {
      errors: Type.Optional(Type.Array(reference(problemSchema), { description: 'With INVALID_REQUEST.' })),
    }),
  });
