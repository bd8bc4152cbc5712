/** `POST /sync`: the customer as the tenant's system has it now. */
import { Type } from '@sinclair/typebox';
import type { Synchronization } from '../../application/synchronization.ts';
import type { Customer } from '../../domain/customer.ts';
import { bodySchema } from '../body-schemas.ts';
import { customerExample, customerExamples } from '../customer-examples.ts';
import { changedFieldsSchema, customerSchema, outcomeSchema, syncMembers } from '../customer-schemas.ts';
import { answer, synced, wrapped } from '../envelope.ts';
import {
  type ApiServer,
  apiOperation,
  conflictRefusals,
  etagHeader,
  reference,
  refusals,
  replayedHeader,
  successResponse,
  versionedWriteHeaders,
  writeRefusals,
} from '../operation-schemas.ts';
import { conditionsOf } from '../write-conditions.ts';

export interface SyncDependencies {
  readonly synchronization: Synchronization;
}

const { request: stored, invalid } = customerExamples.store;
const result = { ...customerExample, sourceRevision: 1768469400000 };

export const syncExamples = {
  request: { ...stored, sourceRevision: result.sourceRevision },
  result: { result, outcome: 'created' },
  invalid,
} as const;

const schema = {
  ...apiOperation,
  operationId: 'sync',
  summary: "The customer as the tenant's system has it now",
  description:
    'Creates the customer if there is none, else replaces its content: an absent field is removed. Safe to repeat, and with ' +
    'a sourceRevision in any order: an older revision changes nothing (outcome stale).',
  headers: versionedWriteHeaders,
  body: bodySchema(syncMembers, syncExamples.request),
  response: {
    200: successResponse(
      {
        result: Type.Union([reference<Customer>(customerSchema), Type.Null()], {
          description: 'The customer as it is now; null with the outcome stale.',
        }),
        outcome: outcomeSchema,
        changedFields: Type.Optional(changedFieldsSchema),
      },
      {
        description: 'What the request did.',
        headers: { ...etagHeader, ...replayedHeader },
        example: syncExamples.result,
      },
    ),
    ...refusals(
      'wrapped',
      [...writeRefusals, ...conflictRefusals, 'REVISION_CONFLICT', 'CUSTOMER_NOT_FOUND', 'VERSION_MISMATCH'],
      syncExamples.invalid.errors,
    ),
  },
} as const;

export function syncRoutes(app: ApiServer, { synchronization }: SyncDependencies): void {
  app.post('/sync', { schema, config: { shape: wrapped } }, async (request, reply) =>
    answer(reply, await synchronization.sync(request.caller, request.body, conditionsOf(request)), synced),
  );
}
