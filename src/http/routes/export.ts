/** `GET /export`: a tenant's customers, as NDJSON. */
import type { FastifyRequest } from 'fastify';
import type { Authentication } from '../../application/authentication.ts';
import { type CustomerExport, type ExportPage, exportFields, exportText } from '../../application/export.ts';
import { isCompleted } from '../../application/outcome.ts';
import { stayAuthenticated } from '../authentication.ts';
import { customerExample } from '../customer-examples.ts';
import { answer, wrapped } from '../envelope.ts';
import { closedObject, membersOf } from '../field-schemas.ts';
import { type ApiServer, apiOperation, linesResponse, readHeaders, refusals } from '../operation-schemas.ts';
import { ndjsonType, sendStream } from '../streaming.ts';

export interface ExportDependencies {
  readonly customerExport: Pick<CustomerExport, 'begin'>;
  readonly authentication: Pick<Authentication, 'isKeyValid'>;
}

export const exportExamples = {
  request: { limit: '1' },
  result: [customerExample, { next: customerExample.customerUrn }],
  invalid: {
    request: { after: 'crm-9981273', limit: '10001' },
    errors: [
      { field: 'after', code: 'invalid_format', message: 'Must be a CustomerUrn such as cu.00.482.' },
      { field: 'limit', code: 'invalid_value', message: 'Must be a whole number from 1 to 10000.' },
    ],
  },
} as const;

const schema = {
  ...apiOperation,
  operationId: 'export',
  summary: 'All customers, a line each',
  description:
    'The customers in the order of their CustomerUrns, one JSON object a line, each as `store` answers it (schema ' +
    '`Customer`). The last line is `{"next":…}`: the value of `after` that continues the export, or null if no more ' +
    'customers exist. An answer without this line was cut off; continue after the last CustomerUrn that was received. The ' +
    'answer is sent while it is read from the storage, so it is no snapshot.',
  headers: readHeaders,
  querystring: closedObject(membersOf(exportFields, 'query')),
  response: {
    200: linesResponse('The customers, and the line `{"next":…}`.', exportExamples.result),
    ...refusals('wrapped', ['INVALID_REQUEST', 'FORBIDDEN'], exportExamples.invalid.errors),
  },
} as const;

export function exportRoutes(app: ApiServer, { customerExport, authentication }: ExportDependencies): void {
  // Fastify would answer HEAD by a whole export that nobody reads.
  app.get('/export', { schema, config: { shape: wrapped }, exposeHeadRoute: false }, (request, reply) => {
    const begun = customerExport.begin(request.caller.tenant.id, request.query as Record<string, unknown>);
    if (!isCompleted(begun)) return answer(reply, begun, wrapped);
    return sendStream(reply, ndjsonType, textOf(begun.result, request, authentication));
  });
}

/** The text of each page. Ends with an error once the API key is no longer valid. */
async function* textOf(
  pages: AsyncIterable<ExportPage>,
  request: FastifyRequest,
  authentication: ExportDependencies['authentication'],
): AsyncGenerator<string, void> {
  for await (const page of pages) {
    await stayAuthenticated(authentication, request);
    yield exportText(page);
  }
}
