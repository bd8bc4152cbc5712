/** `POST /import`: any number of syncs and erasures, as NDJSON. */
import { finished, Readable } from 'node:stream';
import { type TSchema, Type } from '@sinclair/typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Authentication } from '../../application/authentication.ts';
import type { ImportAnswer } from '../../application/import/answers.ts';
import { type Imports, importFields } from '../../application/import/imports.ts';
import { deleteRowFields } from '../../application/import/requests.ts';
import { maxRowBytes, readRows } from '../../application/import/rows.ts';
import { invalid } from '../../application/outcome.ts';
import { logFailure } from '../access-log.ts';
import { isStillAuthenticated, readers, writers } from '../authentication.ts';
import { linesBodySchema } from '../body-schemas.ts';
import { discardBody } from '../connections.ts';
import { customerExample } from '../customer-examples.ts';
import { changedFieldsSchema, customerSchema, outcomes, syncMembers } from '../customer-schemas.ts';
import { answer, RequestRefused, wrapped } from '../envelope.ts';
import { closedObject, membersOf, urnPattern } from '../field-schemas.ts';
import {
  type ApiServer,
  apiOperation,
  conflictSchema,
  errorStatusSchema,
  linesResponse,
  readHeaders,
  reference,
  refusals,
  successSchema,
} from '../operation-schemas.ts';
import { ndjsonType, sendStream } from '../streaming.ts';
import { syncExamples } from './sync.ts';

export interface ImportDependencies {
  readonly imports: Pick<Imports, 'accept' | 'giveWayTo' | 'stop'>;
  readonly authentication: Pick<Authentication, 'isKeyValid'>;
}

const { request: row, invalid: broken } = syncExamples;
const refused = invalid(broken.errors).status;
const none = { created: 0, updated: 0, unchanged: 0, stale: 0, erased: 0, refused: 0 };

export const importExamples = {
  query: { dryRun: 'false' },
  request: [row, { delete: { externalIdentifier: 'crm-17', sourceRevision: 1768469400001 } }, broken.request],
  result: [
    { line: 1, outcome: 'created', customerUrn: customerExample.customerUrn, version: 1 },
    { line: 2, outcome: 'unchanged' },
    { line: 3, outcome: 'refused', status: refused },
    { summary: { ...none, created: 1, unchanged: 1, refused: 1 }, status: { messageCode: 'SUCCESS' } },
  ],
  invalid: {
    query: { dryRun: 'yes' },
    errors: [{ field: 'dryRun', code: 'invalid_value', message: 'Must be one of true, false.' }],
  },
} as const;

const urnSchema = Type.String({ pattern: urnPattern });
const countSchema = Type.Integer({ minimum: 0 });
const lineSchema = Type.Integer({ minimum: 1, description: 'The line of the row.' });

const rowSchema: TSchema = Type.Unsafe({
  oneOf: [
    closedObject(syncMembers, { title: 'The body of a sync' }),
    closedObject(membersOf(deleteRowFields, 'request'), { title: 'An erasure' }),
    reference(customerSchema),
  ],
  $id: 'ImportRow',
});
/** In a dry run, the holder of a value may be a customer that has no CustomerUrn yet. */
const rowConflictSchema = closedObject({
  ...conflictSchema.properties,
  customerUrn: Type.Optional(conflictSchema.properties.customerUrn),
});
const rowStatusSchema = closedObject({
  ...errorStatusSchema.properties,
  conflicts: Type.Optional(Type.Array(rowConflictSchema)),
});
const answerSchema: TSchema = Type.Unsafe({
  oneOf: [
    closedObject(
      {
        line: lineSchema,
        outcome: Type.String({ enum: [...outcomes, 'erased'] }),
        customerUrn: Type.Optional(urnSchema),
        version: Type.Optional(Type.Integer({ minimum: 1 })),
        changedFields: Type.Optional(changedFieldsSchema),
      },
      { title: 'A row that was carried out' },
    ),
    closedObject(
      { line: lineSchema, outcome: Type.Literal('refused'), status: rowStatusSchema },
      { title: 'A row that was refused' },
    ),
    closedObject(
      { outcome: Type.Literal('extra'), customerUrn: urnSchema, externalIdentifier: Type.String() },
      { title: 'A customer that no row of a complete file names' },
    ),
    closedObject(
      {
        summary: closedObject({
          ...Object.fromEntries(Object.keys(none).map((outcome) => [outcome, countSchema])),
          extra: Type.Optional(countSchema),
        }),
        status: Type.Union([reference(successSchema), reference(errorStatusSchema)]),
      },
      { title: 'The last line' },
    ),
  ],
  $id: 'ImportAnswer',
});
export const importSchemas = [rowSchema, answerSchema];

const schema = {
  ...apiOperation,
  operationId: 'import',
  summary: 'Any number of customers, a line each',
  description:
    'A line (schema `ImportRow`) is the body of `sync`, `{"delete":{…}}` with externalIdentifier or customerUrn and optionally ' +
    'sourceRevision, or a line of `export`. At most 64 KiB a line. Each row is answered by a line (schema `ImportAnswer`) as ' +
    'soon as it is stored; the last line is ' +
    '`{"summary":…,"status":…}`, and an answer without it was cut off: send everything again. Read the answer while you ' +
    'send, else both sides wait. A row whose unique values are taken is tried again after the rows behind it.',
  headers: readHeaders,
  querystring: closedObject(membersOf(importFields, 'query')),
  body: linesBodySchema(importExamples.request),
  response: {
    200: linesResponse('A line for each row, and the summary.', importExamples.result),
    ...refusals(
      'wrapped',
      ['BAD_REQUEST', 'INVALID_REQUEST', 'FORBIDDEN', 'UNSUPPORTED_MEDIA_TYPE'],
      importExamples.invalid.errors,
    ),
  },
} as const;

/** A dry run reads only. */
const rolesFor = (query: unknown) => ((query as { readonly dryRun?: unknown }).dryRun === 'true' ? readers : writers);

export function importRoutes(app: ApiServer, { imports, authentication }: ImportDependencies): void {
  app.addHook('preClose', async () => imports.stop());
  const config = { shape: wrapped, readsLines: true, roles: rolesFor };
  app.post('/import', { schema, config }, (request, reply) => {
    const { body } = request;
    if (!(body instanceof Readable)) throw new RequestRefused('BAD_REQUEST', 'the import has no body');
    const accepted = imports.accept(request.caller, request.query as Record<string, unknown>, {
      requestId: request.id,
      isAllowed: () => isStillAuthenticated(authentication, request),
      onFailure: (error) => logFailure(request, error),
    });
    if ('status' in accepted) {
      discardBody(request.raw);
      return answer(reply, accepted, wrapped);
    }
    // Unlike an event, also called if the client has gone already.
    finished(reply.raw, () => accepted.release());
    return sendStream(reply, ndjsonType, textOf(accepted.answers(rowsOf(body)), request, reply));
  });

  /** The rows of a body. The body stays open if not all of it is read, because its response must be sent. */
  const rowsOf = (body: Readable) =>
    readRows(body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>, maxRowBytes);
}

async function* textOf(
  answers: AsyncIterable<readonly ImportAnswer[]>,
  { raw }: FastifyRequest,
  reply: FastifyReply,
): AsyncGenerator<string, void> {
  for await (const some of answers) {
    const last = some.at(-1);
    if (last !== undefined && 'summary' in last) {
      reply.messageCode = last.status.messageCode;
      discardBody(raw);
    }
    yield some.map((one) => `${JSON.stringify(one)}\n`).join('');
  }
}
