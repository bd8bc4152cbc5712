/**
 * What goes over the wire, as JSON Schema. Request schemas document and are held against the domain by tests: the
 * domain checks every rule itself, so that all violations of a request are found at once. What routes return is
 * held against the response schemas by the compiler, and every answer of every test by Ajv.
 */
import { type TSchema, type TUnsafe, Type } from '@sinclair/typebox';
import { deleteFields, infoFields, type Snapshot, validateFields } from '../application/customers.ts';
import { invalid, type RefusalCode, refusal, type Success } from '../application/outcome.ts';
import { erasureFields, type SignedReceipt } from '../application/privacy-reports.ts';
import { anonymizedStatus, type Customer, customerFields, storeFields, updateFields } from '../domain/customer.ts';
import { type Field, type FieldTable, maxExternalIdLength } from '../domain/field-schema.ts';
import type { Violation, ViolationCode } from '../domain/violations.ts';
import {
  type BareRefusal,
  bare,
  httpStatus,
  mediaType,
  type RefusalShape,
  type WrappedRefusal,
  wrapped,
} from './envelope.ts';
import { brokenRules, samples } from './samples.ts';

const urnPattern = '^cu\\.\\d{2}\\.(0|[1-9]\\d*)$';

/** `request`: what a caller may send; `patch`: likewise, where null removes; `record`: what we answer. */
type Use = 'request' | 'patch' | 'record';

function fieldSchema(field: Field, use: Use): TSchema {
  const description = field.about;
  switch (field.kind) {
    case 'group':
      return Type.Object(membersOf(field.fields, use, !field.required), { additionalProperties: false, description });
    case 'flag':
      return Type.Boolean({ description, ...fallback(field, use) });
    case 'choice':
      return Type.String({ enum: field.values, description, ...fallback(field, use) });
    case 'text':
      return Type.String({ maxLength: field.max, description });
    case 'externalId':
    case 'externalReference':
      return Type.String({ minLength: 1, maxLength: maxExternalIdLength, description });
    case 'customerUrn':
      return Type.String({ pattern: urnPattern, description });
    case 'email':
      return Type.String({ maxLength: 254, description });
    case 'phoneNumber':
      return Type.String({ ...(use === 'record' ? { pattern: '^\\+\\d{2,15}$' } : { maxLength: 40 }), description });
    case 'countryCode':
      return Type.String({ pattern: use === 'record' ? '^[A-Z]{2}$' : '^[A-Za-z]{2}$', description });
    case 'languageCode':
      return Type.String({ pattern: use === 'record' ? '^[a-z]{2}$' : '^[A-Za-z]{2}$', description });
  }
}

const fallback = (field: { readonly fallback?: unknown }, use: Use) =>
  use === 'request' && field.fallback !== undefined ? { default: field.fallback } : {};

function tableSchema(table: FieldTable, use: Use, options: Record<string, unknown> = {}): TSchema {
  return Type.Object(membersOf(table, use), { additionalProperties: false, ...options });
}

type Properties = Record<string, TSchema>;

/** @param mayBeAbsent whether a record may be without all of them: then a change may say null for each, if there are none */
function membersOf(table: FieldTable, use: Use, mayBeAbsent = false): Properties {
  const properties = Object.entries(table).map(([name, field]): [string, TSchema] => {
    const schema = fieldSchema(field, use);
    if (use === 'patch') {
      return [name, Type.Optional(field.required && !mayBeAbsent ? schema : Type.Union([schema, Type.Null()]))];
    }
    const certain = field.required || (use === 'record' && ('fallback' in field || 'always' in field));
    return [name, certain ? schema : Type.Optional(schema)];
  });
  return Object.fromEntries(properties);
}

const timestampSchema = Type.String({ format: 'date-time', description: 'ISO 8601, UTC, milliseconds.' });

const recordProperties = {
  customerUrn: Type.String({ pattern: urnPattern, description: 'Our identifier of the customer.' }),
  ...membersOf(customerFields, 'record'),
  status: Type.String({ enum: [...customerFields.status.values, anonymizedStatus] }),
  claimedRegion: fieldSchema(storeFields.claimedRegion, 'record'),
  createdAt: timestampSchema,
  updatedAt: timestampSchema,
};

const customerSchema = Type.Unsafe<Customer>(
  Type.Object(
    { ...recordProperties, anonymizedAt: Type.Optional(timestampSchema) },
    { $id: 'Customer', additionalProperties: false, examples: [samples.customer] },
  ),
);
const snapshotSchema = Type.Unsafe<Snapshot>(
  Type.Object(
    {
      ...recordProperties,
      anonymizedAt: Type.Optional(timestampSchema),
      options: Type.Object(
        {
          availableChannels: Type.Array(Type.String(), { description: 'Payment channels open to this customer.' }),
          canSavePaymentMethod: Type.Boolean(),
        },
        { additionalProperties: false },
      ),
    },
    { $id: 'Snapshot', additionalProperties: false, examples: [samples.snapshot] },
  ),
);
const successSchema = Type.Unsafe<Success>(
  Type.Object({ messageCode: Type.Literal('SUCCESS') }, { $id: 'Success', additionalProperties: false }),
);
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
const problemSchema = Type.Object(
  {
    field: Type.String({ description: 'Path from the root of the request.' }),
    code: Type.String({ enum: problemCodes }),
    message: Type.String({ description: 'One sentence; never repeats what was submitted.' }),
  },
  { $id: 'Problem', additionalProperties: false },
);

const customerDtoSchema = tableSchema(storeFields.customer.fields, 'request', { $id: 'CustomerDto' });
const customerChangeSchema = tableSchema(updateFields.customer.fields, 'patch', { $id: 'CustomerChange' });

const closed = { additionalProperties: false } as const;
const signedReceiptSchema = Type.Unsafe<SignedReceipt>(
  Type.Object(
    {
      receipt: Type.Object(
        {
          receiptVersion: Type.Literal(1),
          tenant: Type.String(),
          customerUrn: Type.String({ pattern: urnPattern }),
          erasedAt: timestampSchema,
          keyId: Type.String({ description: 'The API key that asked for it.' }),
          requestId: Type.String({ description: 'The request that asked for it.' }),
          rewritten: Type.Union([Type.Array(Type.String()), Type.Null()], {
            description:
              'Fields that had a value and were rewritten or removed; null where that is not known any more.',
          }),
          kept: Type.Array(Type.Object({ field: Type.String(), ground: Type.String() }, closed), {
            description: 'What was kept, and on what legal ground.',
          }),
          dataKeyDestroyed: Type.Boolean(),
          residualScan: Type.Object(
            {
              scannedAt: timestampSchema,
              clean: Type.Boolean(),
              findings: Type.Array(Type.Object({ place: Type.String(), found: Type.Integer({ minimum: 0 }) }, closed)),
              unseen: Type.Array(Type.String(), { description: 'Where it could not look.' }),
            },
            closed,
          ),
        },
        closed,
      ),
      signature: Type.Object(
        {
          algorithm: Type.Literal('Ed25519'),
          publicKey: Type.String({ description: 'base64url' }),
          value: Type.String({ description: 'base64url' }),
        },
        closed,
      ),
    },
    { $id: 'SignedReceipt', ...closed },
  ),
);

/** Schemas that others refer to by name. */
export const sharedSchemas = [
  signedReceiptSchema,
  customerDtoSchema,
  customerChangeSchema,
  customerSchema,
  snapshotSchema,
  successSchema,
  problemSchema,
];

const reference = <T>(schema: TSchema): TUnsafe<T> => Type.Unsafe<T>({ $ref: `${schema.$id}#` });
const success = reference<Success>(successSchema);

/** What every answer carries, and what some do. */
const requestIdHeader = {
  'x-request-id': Type.String({ description: "The caller's own where it sent a sane one, else ours." }),
};
/** On every answer in the envelope. */
const envelopeHeaders = {
  ...requestIdHeader,
  'cache-control': Type.String({ enum: ['no-store'], description: 'Answers are about a person.' }),
};
/** On every answer after authentication, where there is a rate limit (draft-ietf-httpapi-ratelimit-headers). */
const rateHeaders = {
  'ratelimit-limit': Type.String({ description: 'Requests a minute that the API key may make.' }),
  'ratelimit-remaining': Type.String({ description: 'How many of them are left.' }),
  'ratelimit-reset': Type.String({ description: 'Seconds until the count begins anew.' }),
};
const etagHeader = {
  etag: Type.String({ description: 'The version of the record, for If-Match.', examples: ['"1"'] }),
};
const replayedHeader = {
  'idempotency-replayed': Type.String({
    enum: ['true'],
    description: 'Where an earlier request with this Idempotency-Key did the work.',
  }),
};
const retryHeader = { 'retry-after': Type.String({ description: 'Seconds to wait.', examples: ['1'] }) };

/** Examples as OpenAPI has them, by name. The keyword is that of @fastify/swagger. */
const examples = (values: Record<string, unknown>) => ({
  'x-examples': Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])),
});

function completedSchema<Members extends Properties>(
  members: Members,
  about: { readonly description: string; readonly headers?: Properties; readonly example: object },
) {
  return Type.Object(
    { ...members, status: success },
    {
      additionalProperties: false,
      description: about.description,
      headers: { ...envelopeHeaders, ...rateHeaders, ...about.headers },
      ...examples({ SUCCESS: { ...about.example, status: { messageCode: 'SUCCESS' } } }),
    },
  );
}

const refusalMeaning: Partial<Record<number, string>> = {
  400: 'The request has no usable body, or breaks field rules.',
  403: "The key's role does not allow the operation.",
  404: 'No such customer of this tenant.',
  409: 'A uniqueness rule, or a request with the same Idempotency-Key that is still running.',
  412: 'If-Match names another version.',
  413: 'The body is over 64 KiB.',
  415: 'The body is not application/json.',
  422: 'The Idempotency-Key was used with another request.',
  429: 'Over the rate limit.',
  500:
    'The database or the service failed; nothing was stored, unless the connection to a database server broke at the very end. ' +
    'A repeat with the same Idempotency-Key is safe.',
  503: 'Overloaded or shutting down.',
};

/** Only these answers to a write are kept under its Idempotency-Key, beside success. */
const replayable = new Set([404, 409, 412]);

const refusalHeaders = (status: number, writes: boolean): Properties => ({
  ...envelopeHeaders,
  ...rateHeaders,
  ...(writes && replayable.has(status) && replayedHeader),
  ...((status === 429 || status === 503) && retryHeader),
});

/**
 * Response schemas of refusals, by HTTP status.
 * @param broken what the example of INVALID_REQUEST reports
 */
function refusals<Shape extends 'wrapped' | 'bare'>(
  shape: Shape,
  codes: readonly RefusalCode[],
  { errors: broken }: { readonly errors: readonly Violation[] },
) {
  const envelope: RefusalShape = shape === 'wrapped' ? wrapped : bare;
  const exampleOf = (code: RefusalCode) => envelope(code === 'INVALID_REQUEST' ? invalid(broken) : refusal(code));
  const always = ['TOO_MANY_REQUESTS', 'SQL_DATABASE_FAILURE', 'INTERNAL_SERVER_ERROR', 'SERVICE_UNAVAILABLE'] as const;
  const all = [...codes, ...always];
  const byStatus = new Set(all.map((code) => httpStatus[code]));
  const writes = codes.includes('IDEMPOTENCY_KEY_REUSED');
  const schemas = [...byStatus].map((status): [number, TSchema] => {
    const group = all.filter((code) => httpStatus[code] === status);
    const members = {
      messageCode: Type.String({ enum: group }),
      message: Type.String({ description: 'One sentence; never repeats what was submitted.' }),
      ...(group.includes('INVALID_REQUEST') && {
        errors: Type.Optional(Type.Array(reference(problemSchema), { description: 'With INVALID_REQUEST.' })),
      }),
    };
    const statusSchema = Type.Object(members, { additionalProperties: false });
    const body = shape === 'wrapped' ? { result: Type.Null(), status: statusSchema } : { status: statusSchema };
    const options = {
      additionalProperties: false,
      description: refusalMeaning[status] as string,
      headers: refusalHeaders(status, writes),
      ...examples(Object.fromEntries(group.map((code) => [code, exampleOf(code)]))),
    };
    return [status, Type.Object(body, options)];
  });
  type Body = Shape extends 'wrapped' ? WrappedRefusal : BareRefusal;
  return Object.fromEntries(schemas) as Record<RefusalStatusCode, TUnsafe<Body>>;
}
type RefusalStatusCode = (typeof httpStatus)[RefusalCode];

const unauthorized = Type.Null({
  description: 'Authentication failed. The body is empty, and all ways to fail look the same.',
  headers: {
    ...requestIdHeader,
    'www-authenticate': Type.String({ description: 'The schemes by which a caller can authenticate.' }),
  },
});

const readHeaders = {
  'x-tn': Type.String({ description: 'The tenant.', examples: [samples.tenant] }),
  'x-request-id': Type.Optional(
    Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', description: 'Comes back with the answer, and is in our log.' }),
  ),
};
const writeHeaders = {
  ...readHeaders,
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^[\\x21-\\x7e]{1,128}$',
      description: 'A repeat within 24 hours with the same key and request gets the first answer again.',
    }),
  ),
};
const updateHeaders = {
  ...writeHeaders,
  'if-match': Type.Optional(Type.String({ description: 'Changes the record only at this version (an ETag).' })),
};

const bodySchema = (members: Properties, sample: object, options: object = {}): TSchema =>
  Type.Object(members, { additionalProperties: false, ...options, ...examples({ sample }) });
const exactlyOne = (table: FieldTable) => ({ oneOf: Object.keys(table).map((name) => ({ required: [name] })) });

const common = {
  tags: ['customers'],
  produces: [mediaType],
  security: [{ apiKey: [] }, { apiKey: [], jwtTenant: [] }],
};

const badBody = ['BAD_REQUEST', 'INVALID_REQUEST', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const;
const badWrite = [...badBody, 'FORBIDDEN', 'REQUEST_IN_PROGRESS', 'IDEMPOTENCY_KEY_REUSED'] as const;
const conflicts = [
  'CUSTOMER_ALREADY_STORED',
  'USER_WITH_SAME_EMAIL_EXISTS',
  'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
] as const;
const badUpdate = [...badWrite, ...conflicts, 'CUSTOMER_NOT_FOUND', 'VERSION_MISMATCH'] as const;

/** The five endpoints of C2A-01. */
export const operations = {
  validate: {
    ...common,
    operationId: 'validate',
    summary: 'C2A-01-01 Is an ExternalId still free?',
    description: 'Stores and reserves nothing.',
    headers: Type.Object(readHeaders),
    body: bodySchema(membersOf(validateFields, 'request'), samples.validate),
    response: {
      200: completedSchema(
        { isAvailable: Type.Boolean() },
        {
          description: 'Whether the ExternalId is free.',
          example: { isAvailable: true },
        },
      ),
      401: unauthorized,
      ...refusals('bare', badBody, brokenRules.validate),
    },
  },
  store: {
    ...common,
    operationId: 'store',
    summary: 'C2A-01-02 Project a customer',
    headers: Type.Object(writeHeaders),
    body: bodySchema({ ...membersOf(storeFields, 'request'), customer: reference(customerDtoSchema) }, samples.store),
    response: {
      200: completedSchema(
        { result: reference<Customer>(customerSchema) },
        {
          description: 'The customer as stored.',
          headers: { ...etagHeader, ...replayedHeader },
          example: { result: samples.customer },
        },
      ),
      401: unauthorized,
      ...refusals('wrapped', [...badWrite, ...conflicts], brokenRules.store),
    },
  },
  delete: {
    ...common,
    operationId: 'delete',
    summary: 'C2A-01-03 Anonymise a customer (GDPR)',
    description: 'Exactly one of the three fields. Idempotent. Does not cancel subscriptions.',
    headers: Type.Object(writeHeaders),
    body: bodySchema(membersOf(deleteFields, 'request'), samples.delete, exactlyOne(deleteFields)),
    response: {
      200: completedSchema(
        {},
        {
          description: 'Nothing personal remains.',
          headers: replayedHeader,
          example: {},
        },
      ),
      401: unauthorized,
      ...refusals('bare', [...badWrite, 'CUSTOMER_NOT_FOUND'], brokenRules.delete),
    },
  },
  update: {
    ...common,
    operationId: 'update',
    summary: 'C2A-01-04 Change a customer (RFC 7396)',
    description:
      'customerUrn names the record, else externalIdentifier does. What is absent stays, null removes, nested objects ' +
      'are merged.',
    headers: Type.Object(updateHeaders),
    body: bodySchema(
      {
        customer: reference(customerChangeSchema),
        claimedRegion: Type.Optional(fieldSchema(updateFields.claimedRegion, 'patch')),
      } satisfies Record<keyof typeof updateFields, TSchema>,
      samples.update,
    ),
    response: {
      200: completedSchema(
        { result: reference<Customer>(customerSchema) },
        {
          description: 'The customer as changed.',
          headers: { ...etagHeader, ...replayedHeader },
          example: { result: samples.updated },
        },
      ),
      401: unauthorized,
      ...refusals('wrapped', badUpdate, brokenRules.update),
    },
  },
  info: {
    ...common,
    operationId: 'info',
    summary: 'C2A-01-05 A customer as it is now',
    description: 'One of urn and exId is required; urn wins where both are given.',
    headers: Type.Object(readHeaders),
    querystring: tableSchema(infoFields, 'request'),
    response: {
      200: completedSchema(
        { result: reference<Snapshot>(snapshotSchema) },
        {
          description: 'The customer.',
          headers: etagHeader,
          example: { result: samples.snapshot },
        },
      ),
      401: unauthorized,
      ...refusals('wrapped', ['INVALID_REQUEST', 'CUSTOMER_NOT_FOUND'], brokenRules.info),
    },
  },
  erasure: {
    ...common,
    operationId: 'erasure',
    summary: 'A signed receipt of an erasure',
    description:
      'Made now, with a look through the storage. Ed25519 over the receipt as JSON without white space; the public key ' +
      'of the deployment is at /.well-known/c2a-receipts.',
    headers: Type.Object(readHeaders),
    querystring: tableSchema(erasureFields, 'request'),
    response: {
      200: completedSchema(
        { result: reference<SignedReceipt>(signedReceiptSchema) },
        { description: 'The receipt.', example: { result: samples.erasure } },
      ),
      401: unauthorized,
      ...refusals('wrapped', ['INVALID_REQUEST', 'ERASURE_NOT_FOUND'], brokenRules.erasure),
    },
  },
} as const;
