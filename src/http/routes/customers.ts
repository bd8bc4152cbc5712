/** The five operations of C2A-01. */
import { type TSchema, Type } from '@sinclair/typebox';
import { customerReferenceFields, referenceQueryFields } from '../../application/customer-reference.ts';
import { type Customers, deleteFields, validateFields } from '../../application/customers.ts';
import { andThen, type MaybePromise } from '../../application/maybe-promise.ts';
import type { Outcome } from '../../application/outcome.ts';
import { roles } from '../../application/ports/tenant-directory.ts';
import type { Snapshot } from '../../application/snapshot.ts';
import type { Preview, Synchronization } from '../../application/synchronization.ts';
import { storeFields, updateFields } from '../../domain/customer.ts';
import { isObject } from '../../domain/field-schema.ts';
import { readers } from '../authentication.ts';
import { bodySchema, identifiedBodySchema, oneOfSchema } from '../body-schemas.ts';
import { customerExamples as examples } from '../customer-examples.ts';
import {
  changedFieldsSchema,
  customerPreviewSchema,
  outcomeSchema,
  recordResponse,
  snapshotSchema,
  syncMembers,
} from '../customer-schemas.ts';
import { answer, bare, wrapped } from '../envelope.ts';
import { closedObject, fieldSchema, membersOf } from '../field-schemas.ts';
import {
  type ApiServer,
  apiOperation,
  bodyRefusals,
  conflictRefusals,
  etagHeader,
  readHeaders,
  reference,
  refusals,
  replayedHeader,
  revisionRefusals,
  successResponse,
  versionedWriteHeaders,
  writeHeaders,
  writeRefusals,
} from '../operation-schemas.ts';
import { conditionsOf } from '../write-conditions.ts';

export interface CustomerDependencies {
  readonly customers: Customers;
  readonly synchronization: Pick<Synchronization, 'preview'>;
}

const customerDtoSchema = closedObject(membersOf(storeFields.customer.fields, 'request'), { $id: 'CustomerDto' });
const customerChangeSchema = closedObject(membersOf(updateFields.customer.fields, 'patch'), { $id: 'CustomerChange' });
export const customerSchemas = [customerDtoSchema, customerChangeSchema];

const validate = {
  ...apiOperation,
  operationId: 'validate',
  summary: 'C2A-01-01 Is an ExternalId still free?',
  description:
    'Stores and reserves nothing. With a customer, it is the dry run of sync: the same outcome, violations and conflicts.',
  headers: readHeaders,
  body: oneOfSchema(
    'validate',
    { externalId: membersOf(validateFields, 'request'), customer: syncMembers },
    examples.validate.request,
  ),
  response: {
    200: successResponse(
      {
        isAvailable: Type.Boolean({ description: 'Whether no customer has the ExternalId.' }),
        outcome: Type.Optional(outcomeSchema),
        changedFields: Type.Optional(changedFieldsSchema),
        result: Type.Optional(
          Type.Union([reference<NonNullable<Preview['result']>>(customerPreviewSchema), Type.Null()], {
            description: 'What sync would store; null if the outcome is stale.',
          }),
        ),
      },
      {
        description: 'Whether the ExternalId is free; for a customer also what sync would do.',
        example: { isAvailable: true },
      },
    ),
    ...refusals(
      'bare',
      [...bodyRefusals, ...conflictRefusals, 'REVISION_CONFLICT', 'CUSTOMER_NOT_FOUND'],
      examples.validate.invalid.errors,
    ),
  },
} as const;

const store = {
  ...apiOperation,
  operationId: 'store',
  summary: 'C2A-01-02 Project a customer',
  description:
    'Stores a new customer and returns the record with its CustomerUrn. The ExternalId, the e-mail address and the phone ' +
    'number must not belong to another customer of the tenant.',
  headers: writeHeaders,
  body: bodySchema(
    { ...membersOf(storeFields, 'request'), customer: reference(customerDtoSchema) },
    examples.store.request,
  ),
  response: {
    200: recordResponse('The customer as stored.', examples.store.result),
    ...refusals('wrapped', [...writeRefusals, ...conflictRefusals, 'STALE_REVISION'], examples.store.invalid.errors),
  },
} as const;

const erase = {
  ...apiOperation,
  operationId: 'delete',
  summary: 'C2A-01-03 Anonymise a customer (GDPR)',
  description:
    'Exactly one of customerUuid, customerUrn and externalIdentifier. Idempotent. Does not cancel subscriptions.',
  headers: versionedWriteHeaders,
  body: identifiedBodySchema('delete', deleteFields, customerReferenceFields, examples.delete.request),
  response: {
    200: successResponse({}, { description: 'No personal data remains.', headers: replayedHeader, example: {} }),
    ...refusals(
      'bare',
      [...writeRefusals, 'CUSTOMER_NOT_FOUND', 'CUSTOMER_MERGED', 'STALE_REVISION', 'VERSION_MISMATCH'],
      examples.delete.invalid.errors,
    ),
  },
} as const;

const update = {
  ...apiOperation,
  operationId: 'update',
  summary: 'C2A-01-04 Change a customer (RFC 7396)',
  description:
    'customerUrn names the record, else externalIdentifier does. An absent field stays; null removes it, or sets its ' +
    'default; nested objects are merged.',
  headers: versionedWriteHeaders,
  body: bodySchema(
    {
      customer: reference(customerChangeSchema),
      // No record lacks a region, so an update can change it, but not remove it.
      claimedRegion: Type.Optional(fieldSchema(storeFields.claimedRegion, 'patch')),
      sourceRevision: Type.Optional(syncMembers.sourceRevision),
    } satisfies Record<keyof typeof updateFields, TSchema>,
    examples.update.request,
  ),
  response: {
    200: recordResponse('The customer as changed.', examples.update.result),
    ...refusals(
      'wrapped',
      [...writeRefusals, ...conflictRefusals, ...revisionRefusals, 'CUSTOMER_NOT_FOUND', 'VERSION_MISMATCH'],
      examples.update.invalid.errors,
    ),
  },
} as const;

const info = {
  ...apiOperation,
  operationId: 'info',
  summary: 'C2A-01-05 A customer as it is now',
  description: 'One of urn and exId is required; urn wins where both are given.',
  headers: readHeaders,
  querystring: closedObject(membersOf(referenceQueryFields, 'query')),
  response: {
    200: successResponse(
      { result: reference<Snapshot>(snapshotSchema) },
      { description: 'The customer.', headers: etagHeader, example: { result: examples.info.result } },
    ),
    ...refusals('wrapped', ['INVALID_REQUEST', 'CUSTOMER_NOT_FOUND'], examples.info.invalid.errors),
  },
} as const;

type Availability = { readonly isAvailable: boolean } & Partial<Preview>;

export function customerRoutes(app: ApiServer, { customers, synchronization }: CustomerDependencies): void {
  const writesWrapped = { config: { shape: wrapped } };
  const writesBare = { config: { shape: bare } };
  app.post(
    '/validate',
    { schema: validate, config: { shape: bare, roles: readers } },
    ({ caller, body, id }, reply) => {
      const outcome: MaybePromise<Outcome<Availability>> =
        isObject(body) && 'customer' in body
          ? synchronization.preview(caller, body, { requestId: id })
          : customers.validate(caller, body);
      return andThen(outcome, (given) => answer(reply, given, bare));
    },
  );
  app.post('/store', { schema: store, ...writesWrapped }, async (request, reply) =>
    answer(reply, await customers.store(request.caller, request.body, conditionsOf(request)), wrapped),
  );
  app.post('/delete', { schema: erase, ...writesBare }, async (request, reply) =>
    answer(reply, await customers.erase(request.caller, request.body, conditionsOf(request)), bare),
  );
  app.post('/update', { schema: update, ...writesWrapped }, async (request, reply) =>
    answer(reply, await customers.update(request.caller, request.body, conditionsOf(request)), wrapped),
  );
  app.get('/info', { schema: info, config: { shape: wrapped, roles } }, ({ caller, query }, reply) =>
    andThen(customers.info(caller, query as Record<string, unknown>), (outcome) => answer(reply, outcome, wrapped)),
  );
}
