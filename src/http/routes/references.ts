/** `POST /references` and `GET /references`: what the flows behind the service bind to a customer. */
import { type TSchema, Type } from '@sinclair/typebox';
import { referenceQueryFields } from '../../application/customer-reference.ts';
import { roles } from '../../application/ports/tenant-directory.ts';
import type { Reference, References } from '../../application/references.ts';
import { customerUrn } from '../../domain/identity.ts';
import { referenceFields } from '../../domain/references.ts';
import { bodySchema } from '../body-schemas.ts';
import { answer, wrapped } from '../envelope.ts';
import { closedObject, membersOf, timestampSchema } from '../field-schemas.ts';
import {
  type ApiServer,
  apiOperation,
  bodyRefusals,
  readHeaders,
  reference,
  refusals,
  successResponse,
} from '../operation-schemas.ts';

export interface ReferenceDependencies {
  readonly references: References;
}

const sent = { customerUrn: customerUrn('00', 482), kind: 'subscription', reference: 'sub.00.17', state: 'active' };
const stored = { ...sent, createdAt: '2026-01-15T09:31:00.000Z', updatedAt: '2026-01-15T09:31:00.000Z' };

export const referenceExamples = {
  bindReference: {
    request: sent,
    result: stored,
    invalid: {
      request: { ...sent, kind: 'invoice', state: 'paused' },
      errors: [
        {
          field: 'kind',
          code: 'invalid_value',
          message: 'Must be one of offer, checkout, paymentMethod, subscription.',
        },
        { field: 'state', code: 'invalid_value', message: 'Must be one of active, canceled.' },
      ],
    },
  },
  listReferences: {
    request: { urn: sent.customerUrn },
    result: { references: [stored] },
    invalid: {
      request: {},
      errors: [{ field: 'urn', code: 'required', message: 'One of urn and exId is required.' }],
    },
  },
} as const;

const referenceSchema = closedObject(
  {
    ...(membersOf(referenceFields, 'record') as Record<keyof typeof referenceFields, TSchema>),
    createdAt: timestampSchema,
    updatedAt: timestampSchema,
  },
  { $id: 'Reference', examples: [stored] },
);
export const referenceSchemas = [referenceSchema];

/** Shown in the answers of several operations. */
export const referenceListSchema = Type.Unsafe<readonly Reference[]>(
  Type.Array(reference(referenceSchema), {
    description: 'What flows have bound to the customer, ordered by kind and reference.',
  }),
);

const bind = {
  ...apiOperation,
  operationId: 'bindReference',
  summary: 'Bind a reference to a customer, or set its state',
  description:
    'An upsert by kind and reference, safe to repeat: it needs no Idempotency-Key. The references of a customer that was ' +
    'merged are those of the other one. They stay when the customer is erased: their state may still change, and a new one is ' +
    'CUSTOMER_ANONYMIZED. For keys of the roles `flow` and `full`.',
  headers: readHeaders,
  body: bodySchema(membersOf(referenceFields, 'request'), referenceExamples.bindReference.request),
  response: {
    200: successResponse(
      { result: reference<Reference>(referenceSchema) },
      { description: 'The reference as stored.', example: { result: referenceExamples.bindReference.result } },
    ),
    ...refusals(
      'wrapped',
      [...bodyRefusals, 'CUSTOMER_NOT_FOUND', 'CUSTOMER_ANONYMIZED', 'REFERENCE_OF_ANOTHER_CUSTOMER'],
      referenceExamples.bindReference.invalid.errors,
    ),
  },
} as const;

const list = {
  ...apiOperation,
  operationId: 'listReferences',
  summary: 'The references of a customer',
  description:
    'One of urn and exId is required; urn wins where both are given. An erased customer is found by its URN, and the URN of a ' +
    'customer that was merged finds the other one. For keys of every role.',
  headers: readHeaders,
  querystring: closedObject(membersOf(referenceQueryFields, 'query')),
  response: {
    200: successResponse(
      { result: closedObject({ references: referenceListSchema }) },
      { description: 'The references.', example: { result: referenceExamples.listReferences.result } },
    ),
    ...refusals('wrapped', ['INVALID_REQUEST', 'CUSTOMER_NOT_FOUND'], referenceExamples.listReferences.invalid.errors),
  },
} as const;

export function referenceRoutes(app: ApiServer, { references }: ReferenceDependencies): void {
  app.post(
    '/references',
    { schema: bind, config: { shape: wrapped, roles: ['full', 'flow'] } },
    async ({ caller, body }, reply) => answer(reply, await references.bind(caller, body), wrapped),
  );
  app.get('/references', { schema: list, config: { shape: wrapped, roles } }, async ({ caller, query }, reply) =>
    answer(reply, await references.list(caller, query as Record<string, unknown>), wrapped),
  );
}
