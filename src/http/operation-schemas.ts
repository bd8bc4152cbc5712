/**
 * The common parts of all operation schemas: headers, security, the envelope and its refusals. Request schemas are only
 * documentation: the domain checks every rule, so that a caller learns all violations at once. The compiler checks the
 * return values of routes against the response schemas; the tests check every response with Ajv.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { type TSchema, type TUnsafe, Type } from '@sinclair/typebox';
import { conflicting, invalid, type Refusal, type RefusalCode, refusal, type Success } from '../application/outcome.ts';
import { type Conflict, conflictsOf, customerUrn, type ExternalId } from '../domain/identity.ts';
import type { Violation, ViolationCode } from '../domain/violations.ts';
import { examples } from './body-schemas.ts';
import { bare, httpStatus, mediaType, type RefusalShape, type WrappedRefusal, wrapped } from './envelope.ts';
import { closedObject, type Properties, urnPattern } from './field-schemas.ts';
import { ndjsonType } from './streaming.ts';

/** A server whose handlers the compiler checks against their response schemas. */
export type ApiServer = Parameters<FastifyPluginCallbackTypebox>[0];

/** The members that every operation of the API has. `scripts/openapi.ts` defines the security schemes. */
export const apiOperation = {
  tags: ['customers'],
  produces: [mediaType],
  security: [
    { apiKey: [], tenant: [] },
    { apiKey: [], tenant: [], jwtTenant: [] },
  ],
};

export const successSchema = closedObject({ messageCode: Type.Literal('SUCCESS') }, { $id: 'Success' });
const violationCodes = Object.keys({
  required: 0,
  invalid_type: 0,
  invalid_format: 0,
  invalid_value: 0,
  too_long: 0,
  reserved: 0,
  unknown_field: 0,
  exactly_one: 0,
} satisfies Record<ViolationCode, 0>);
/** A conflict of each kind. */
const keys = { externalId: 'crm-9981273' as ExternalId, email: 'jane.doe@example.com', phoneNumber: '+491701234567' };
const conflictExamples = conflictsOf(keys, [{ customerUrn: customerUrn('00', 17), keys }]);
const conflictCodes = conflictExamples.map(({ messageCode }) => messageCode);

/** A reference to a named schema. `T` is the type of the values that it describes. */
export const reference = <T>(schema: TSchema): TUnsafe<T> => Type.Unsafe<T>({ $ref: `${schema.$id}#` });

const messageSchema = Type.String({ description: 'One sentence; never repeats a submitted value.' });
const violationSchema = closedObject(
  {
    field: Type.String({ description: 'Path from the root of the request.' }),
    code: Type.String({ enum: violationCodes }),
    message: messageSchema,
  },
  { $id: 'Violation' },
);
export const conflictSchema = closedObject(
  {
    field: Type.String({ description: 'Path from the root of the request.' }),
    messageCode: Type.String({ enum: conflictCodes }),
    customerUrn: Type.String({ pattern: urnPattern, description: 'The customer that holds the value.' }),
  },
  { $id: 'Conflict' },
);
export const errorStatusSchema = closedObject(
  {
    messageCode: Type.String({ enum: Object.keys(httpStatus).filter((code) => code !== 'SUCCESS') }),
    message: messageSchema,
    errors: Type.Optional(
      Type.Array(reference<Violation>(violationSchema), { description: 'Only with INVALID_REQUEST: all violations.' }),
    ),
    conflicts: Type.Optional(
      Type.Array(reference<Conflict>(conflictSchema), {
        description: 'Only with the code of a conflict: all conflicts with other customers; the first has this code.',
      }),
    ),
  },
  { $id: 'ErrorStatus' },
);
/** Only null. With `type: null`, openapi-generator makes no Python client, and a TypeScript client that does not compile. */
const nullSchema = Type.Unsafe<null>({ type: ['string', 'null'], const: null });
/** The envelopes of refusals, by their shape. Text and examples of a response name the codes that are possible there. */
const errorEnvelopes = {
  wrapped: closedObject({ result: nullSchema, status: reference(errorStatusSchema) }, { $id: 'ErrorEnvelope' }),
  bare: closedObject({ status: reference(errorStatusSchema) }, { $id: 'BareErrorEnvelope' }),
};
export const envelopeSchemas = [
  successSchema,
  violationSchema,
  conflictSchema,
  errorStatusSchema,
  ...Object.values(errorEnvelopes),
];

/** Request headers of reads, of writes, and of writes that check a version. */
export const readHeaders = Type.Object({
  'x-request-id': Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{1,64}$',
      description: 'Returned with the answer and written to the log; another value is replaced by a new id.',
    }),
  ),
});
export const writeHeaders = Type.Object({
  ...readHeaders.properties,
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^[\\x21-\\x7e]{1,128}$',
      description:
        'Only success is kept: within 24 hours, a retry of a successful request with the same key changes nothing and gets ' +
        'SUCCESS, with the record as it is now if the operation returns one. A retry of a refused request is judged anew.',
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
};
/** draft-ietf-httpapi-ratelimit-headers */
const rateLimitHeaders = {
  'ratelimit-limit': Type.String({ description: 'Requests per minute that the API key may send, if it has a limit.' }),
  'ratelimit-remaining': Type.String({ description: 'Requests that are left in this minute, if there is a limit.' }),
  'ratelimit-reset': Type.String({ description: 'Seconds until the count starts again, if there is a limit.' }),
};
const retryHeader = { 'retry-after': Type.String({ description: 'Seconds to wait.', examples: ['1'] }) };
const codingHeader = {
  'accept-encoding': Type.String({ enum: ['identity'], description: 'Set where the body has a content coding.' }),
};
/** The headers of refusals with these statuses, besides those of every refusal. */
const extraHeaders: Partial<Record<number, Properties>> = { 415: codingHeader, 429: retryHeader, 503: retryHeader };
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

/** The schema of the response 200: `members` and `status`. */
export function successResponse<Members extends Properties>(
  members: Members,
  about: { readonly description: string; readonly headers?: Properties; readonly example: object },
) {
  return closedObject(
    { ...members, status: reference<Success>(successSchema) },
    {
      description: about.description,
      headers: { ...envelopeHeaders, ...rateLimitHeaders, ...about.headers },
      ...examples({ SUCCESS: { ...about.example, status: { messageCode: 'SUCCESS' } } }),
    },
  );
}

/** The response 200 of an operation that answers with NDJSON. @param lines the lines of the example */
export const linesResponse = (description: string, lines: readonly object[]): Response => ({
  description,
  headers: { ...envelopeHeaders, ...rateLimitHeaders },
  content: {
    [ndjsonType]: {
      schema: Type.String(),
      examples: { SUCCESS: { value: lines.map((line) => `${JSON.stringify(line)}\n`).join('') } },
    },
  },
});

type Codes = readonly RefusalCode[];
/** The refusal codes of requests with a body, of writes, and of writes that may conflict with another customer. */
export const bodyRefusals: Codes = [
  ...(['BAD_REQUEST', 'INVALID_REQUEST', 'FORBIDDEN', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const),
];
export const writeRefusals: Codes = [...bodyRefusals, 'REQUEST_IN_PROGRESS', 'IDEMPOTENCY_KEY_REUSED'];
export const conflictRefusals: Codes = conflictCodes;
/** The refusal codes of writes with a source revision. */
export const revisionRefusals: Codes = ['STALE_REVISION', 'REVISION_CONFLICT'];
/** The refusal codes of every operation of the API, besides those of every request. */
const apiRefusals: Codes = ['TOO_MANY_REQUESTS', 'SQL_DATABASE_FAILURE'];
/** The refusal codes of every request, with or without credentials. */
const commonRefusals: Codes = ['BAD_REQUEST', 'INTERNAL_SERVER_ERROR', 'SERVICE_UNAVAILABLE'];

const refusalMeaning: Partial<Record<number, string>> = {
  400: 'The request is malformed, has no usable body, or breaks field rules.',
  403: "The key's role does not allow the operation.",
  404: 'The tenant has no such customer, or no such erasure.',
  409:
    'The request conflicts with another customer, with a merge or an erasure, with a newer sourceRevision, with a request ' +
    'in flight under the same Idempotency-Key, or with a restored backup.',
  412: 'If-Match names another version.',
  413: 'The body is over the limit: 64 KiB, unless the operator set another.',
  415: 'The body is not of the media type of the operation, names a charset other than UTF-8, or has a content coding.',
  422: 'The Idempotency-Key was used with another request.',
  429: 'Over the rate limit, or over the number of imports or of waiting requests at once.',
  431: 'Request line and headers are over the limit: 16 KiB, unless the operator set another. The connection is closed.',
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

/** A response with content of any media type, in the form of @fastify/swagger. */
interface Response {
  readonly description: string;
  readonly headers: Properties;
  readonly content: Readonly<Record<string, { readonly schema: TSchema; readonly examples?: object }>>;
}

function exampleOf(code: RefusalCode, violations: readonly Violation[]): Refusal {
  if (code === 'INVALID_REQUEST') return invalid(violations);
  const conflict = conflictExamples.find(({ messageCode }) => messageCode === code);
  return conflict === undefined ? refusal(code) : conflicting([conflict]);
}

/** The responses of refusals, by HTTP status. */
function refusalResponses(
  shape: 'wrapped' | 'bare',
  codes: Codes,
  violations: readonly Violation[],
  headers: Properties,
): Record<(typeof httpStatus)[RefusalCode], Response> {
  const shaped: RefusalShape = shape === 'wrapped' ? wrapped : bare;
  const example = (code: RefusalCode) => shaped(exampleOf(code, violations));
  const responses = [...new Set(codes.map((code) => httpStatus[code]))].map((status): [number, Response] => {
    const group = [...new Set(codes)].filter((code) => httpStatus[code] === status);
    return [
      status,
      {
        description: `${refusalMeaning[status]} Codes: ${group.join(', ')}.`,
        headers: { ...headers, ...extraHeaders[status] },
        content: {
          [mediaType]: {
            schema: reference(errorEnvelopes[shape]),
            examples: Object.fromEntries(group.map((code) => [code, { value: example(code) }])),
          },
        },
      },
    ];
  });
  return Object.fromEntries(responses) as Record<(typeof httpStatus)[RefusalCode], Response>;
}

/** Sent before the route is known, so it has the same shape for every operation. */
const headersTooLarge = refusalResponses('wrapped', ['HEADERS_TOO_LARGE'], [], envelopeHeaders);

type RefusalSchemas<Body> = Record<(typeof httpStatus)[RefusalCode], TUnsafe<Body>> & {
  readonly 401: typeof unauthorized;
};

/**
 * The schemas of all refusals of an operation of the API, by HTTP status, including 401 and 431.
 *
 * @param codes the refusal codes of the operation, besides those of every operation
 * @param violations the violations in the example of INVALID_REQUEST
 */
export function refusals<Shape extends 'wrapped' | 'bare'>(
  shape: Shape,
  codes: Codes,
  violations: readonly Violation[],
) {
  const all = [...codes, ...apiRefusals, ...commonRefusals];
  const responses: object = {
    ...refusalResponses(shape, all, violations, { ...envelopeHeaders, ...rateLimitHeaders }),
    ...headersTooLarge,
  };
  return { ...responses, 401: unauthorized } as RefusalSchemas<Shape extends 'wrapped' ? WrappedRefusal : Refusal>;
}

/** The members that every operation without credentials has. */
export const openOperation = { tags: ['service'], produces: [mediaType], security: [] };

/** The refusals of an operation without credentials. */
export const openRefusals = {
  ...refusalResponses('wrapped', commonRefusals, [], envelopeHeaders),
  ...headersTooLarge,
};

/** A response of an operation without credentials: content of its own media type instead of the envelope. */
export const openResponse = (description: string, type: string, schema: TSchema): Response => ({
  description,
  headers: requestIdHeader,
  content: { [type]: { schema } },
});
