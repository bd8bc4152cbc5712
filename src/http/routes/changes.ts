/** `GET /changes`: the change events of a tenant; `GET /history`: those of one customer, and who looked at it. */
import { type TSchema, Type } from '@sinclair/typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Authentication } from '../../application/authentication.ts';
import type { ShownEvent } from '../../application/change-event-view.ts';
import { type Changes, changesFields } from '../../application/changes.ts';
import { referenceQueryFields } from '../../application/customer-reference.ts';
import type { LookUp, ShownAccess } from '../../application/look-up.ts';
import { changeEventTypes } from '../../domain/events.ts';
import { maxWaitSeconds } from '../../domain/text-formats.ts';
import { stayAuthenticated } from '../authentication.ts';
import { customerExample, customerExamples } from '../customer-examples.ts';
import { answer, wrapped } from '../envelope.ts';
import { closedObject, membersOf, timestampSchema, urnPattern } from '../field-schemas.ts';
import {
  type ApiServer,
  apiOperation,
  readHeaders,
  reference,
  refusals,
  successResponse,
} from '../operation-schemas.ts';

export interface ChangesDependencies {
  readonly changes: Pick<Changes, 'list' | 'stop'>;
  readonly lookUp: Pick<LookUp, 'history'>;
  readonly authentication: Pick<Authentication, 'isKeyValid'>;
}

const actor = { keyId: 'f3kQ9xLw2bTn', requestId: '0b8e2f0c-6f1e-4c0e-9f77-1f0a6f0f6d11' };
const eventExample = {
  id: '5e8c5bb0-6c0c-4d69-8a9c-0a8a9d1a2f6e',
  type: 'customer.updated',
  customerUrn: customerExample.customerUrn,
  version: 2,
  at: '2026-02-02T10:15:00.000Z',
  changedFields: ['email', 'lastName'],
  actor,
  sourceRevision: 1768469400000,
} as const;

export const changesExamples = {
  request: { limit: '1' },
  result: { changes: [eventExample], next: 'NDgyLjVlOGM1YmIwLTZjMGMtNGQ2OS04YTljLTBhOGE5ZDFhMmY2ZQ' },
  invalid: {
    request: { after: 'crm 9981273', limit: '0', wait: '31' },
    errors: [
      { field: 'after', code: 'invalid_format', message: 'Must be the `next` of an earlier answer, "start" or "end".' },
      { field: 'limit', code: 'invalid_value', message: 'Must be a whole number from 1 to 1000.' },
      { field: 'wait', code: 'invalid_value', message: 'Must be a whole number from 0 to 30.' },
    ],
  },
} as const;

export const historyExamples = {
  request: { urn: customerExample.customerUrn },
  result: {
    changes: [eventExample],
    accesses: [{ at: '2026-02-03T08:00:00.000Z', operation: 'subject-export', actor, reference: 'DSAR-2026-0042' }],
  },
  invalid: customerExamples.info.invalid,
} as const;

const actorSchema = closedObject({
  keyId: Type.String({ description: 'The API key of the request, or the command of an operator.' }),
  requestId: Type.String({ description: 'The id of the request.' }),
});
const eventSchema = closedObject(
  {
    id: Type.String({ format: 'uuid', description: 'Equal ids are the same event.' }),
    type: Type.String({
      enum: changeEventTypes,
      description: 'What was done to the customer. More types may be added.',
    }),
    customerUrn: Type.String({ pattern: urnPattern }),
    version: Type.Integer({
      minimum: 1,
      description: 'The version that the change made: without gaps for a customer.',
    }),
    at: timestampSchema,
    changedFields: Type.Array(Type.String(), { description: 'The names of the changed fields; never their values.' }),
    actor: actorSchema,
    sourceRevision: Type.Optional(Type.Integer({ minimum: 0, description: 'That of the customer, if it has one.' })),
    mergedInto: Type.Optional(Type.String({ pattern: urnPattern, description: 'Of a merge: into which customer.' })),
  },
  { $id: 'ChangeEvent', examples: [eventExample] },
);
const accessSchema = closedObject(
  {
    at: timestampSchema,
    operation: Type.String({ enum: ['find', 'subject-export'], description: 'By what the customer was looked at.' }),
    actor: actorSchema,
    reference: Type.Optional(Type.String({ description: "The tenant's own case number, if the request had one." })),
  },
  { $id: 'Access' },
);
export const changesSchemas = [eventSchema, accessSchema];

const listOf = <T>(schema: TSchema) => Type.Unsafe<readonly T[]>(Type.Array(reference<T>(schema)));

const changesSchema = {
  ...apiOperation,
  operationId: 'changes',
  summary: 'The change events after a cursor',
  description:
    'Every change of a customer is one event, without personal data. Nothing is skipped: an event that is committed late comes ' +
    'later in the feed. Events of one customer are in the order of its versions; those of different customers are in no ' +
    'order of time. Continue with `next` as `after`. With `wait`, an answer without events is delayed until there is one.',
  headers: readHeaders,
  querystring: closedObject(membersOf(changesFields, 'query')),
  response: {
    200: successResponse(
      {
        result: closedObject({
          changes: listOf<ShownEvent>(eventSchema),
          next: Type.String({ description: 'The `after` of the next request.' }),
        }),
      },
      { description: 'The events; none at the end of the feed.', example: { result: changesExamples.result } },
    ),
    ...refusals(
      'wrapped',
      ['INVALID_REQUEST', 'FORBIDDEN', 'CURSOR_FROM_BEFORE_A_RESTORE'],
      changesExamples.invalid.errors,
    ),
  },
} as const;

const historySchema = {
  ...apiOperation,
  operationId: 'history',
  summary: 'The change events of a customer, and who looked at it',
  description:
    'Oldest first. By `urn`, also of an erased customer. `accesses` are the answered requests that look for a person: `find` ' +
    'and `subject-export`.',
  headers: readHeaders,
  querystring: closedObject(membersOf(referenceQueryFields, 'query')),
  response: {
    200: successResponse(
      {
        result: closedObject({
          changes: listOf<ShownEvent>(eventSchema),
          accesses: listOf<ShownAccess>(accessSchema),
        }),
      },
      { description: 'The history of the customer.', example: { result: historyExamples.result } },
    ),
    ...refusals('wrapped', ['INVALID_REQUEST', 'FORBIDDEN', 'CUSTOMER_NOT_FOUND'], historyExamples.invalid.errors),
  },
} as const;

export function changesRoutes(app: ApiServer, { changes, lookUp, authentication }: ChangesDependencies): void {
  app.addHook('preClose', async () => changes.stop());
  const config = { shape: wrapped };
  // A HEAD request would wait too.
  app.get('/changes', { schema: changesSchema, config, exposeHeadRoute: false }, async (request, reply) => {
    const query = request.query as Record<string, unknown>;
    const outcome = await changes.list(request.caller, query, untilClosed(request, reply));
    // The API key may have been revoked while the request waited.
    await stayAuthenticated(authentication, request);
    return answer(reply, outcome, wrapped);
  });
  app.get('/history', { schema: historySchema, config }, async ({ caller, query }, reply) =>
    answer(reply, await lookUp.history(caller, query as Record<string, unknown>), wrapped),
  );
}

/**
 * Aborted when the client closes the connection, or its half of it: a client that has gone cannot be told from one that
 * only sends no more, so both get their answer at once.
 */
function untilClosed({ raw: { socket } }: FastifyRequest, reply: FastifyReply): AbortSignal {
  const closed = new AbortController();
  const abort = () => closed.abort();
  // Of pipelined requests, only the first one's response closes with the connection.
  for (const event of ['end', 'close']) socket.once(event, abort);
  reply.raw.once('close', () => {
    abort();
    for (const event of ['end', 'close']) socket.off(event, abort);
  });
  // The timeout of the connection may be shorter than the wait. An injected request has none.
  if (socket.timeout) socket.setTimeout(socket.timeout + maxWaitSeconds * 1_000);
  return closed.signal;
}
