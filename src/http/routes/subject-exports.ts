/** `POST /subject-export`: all data about one customer (GDPR Art. 15 and 20). */
import { Type } from '@sinclair/typebox';
import { customerReferenceFields } from '../../application/customer-reference.ts';
import { type PrivacyReports, type SubjectExport, subjectExportFields } from '../../application/privacy-reports.ts';
import type { Customer } from '../../domain/customer.ts';
import { identifiedBodySchema } from '../body-schemas.ts';
import { customerExample, customerExamples } from '../customer-examples.ts';
import { customerSchema } from '../customer-schemas.ts';
import { answer, wrapped } from '../envelope.ts';
import { closedObject, timestampSchema, urnPattern } from '../field-schemas.ts';
import {
  type ApiServer,
  apiOperation,
  bodyRefusals,
  readHeaders,
  reference,
  refusals,
  successResponse,
} from '../operation-schemas.ts';
import { referenceExamples, referenceListSchema } from './references.ts';

export interface SubjectExportDependencies {
  readonly erasures: Pick<PrivacyReports, 'showSubjectExport'>;
}

const actorExample = { keyId: 'f3kQ9xLw2bTn', requestId: '0b8e2f0c-6f1e-4c0e-9f77-1f0a6f0f6d11' };

export const subjectExportExamples = {
  request: { customerUrn: customerExample.customerUrn },
  result: {
    tenant: 'acme',
    exportedAt: '2026-02-02T10:15:00.000Z',
    record: customerExample,
    provenance: {
      source: "sent by the tenant's backend (C2A-01 store and update)",
      firstReceivedAt: customerExample.createdAt,
      lastChangedAt: customerExample.updatedAt,
      version: 1,
      storedBy: actorExample,
    },
    derived: ['a data key that encrypts only this record'],
    references: [referenceExamples.bindReference.result],
    idempotencyRecords: [{ code: 'SUCCESS', keptUntil: '2026-02-03T09:30:00.000Z' }],
    copies: [],
    unseen: ['copies of the files: backups, snapshots, replicas'],
  },
  invalid: {
    request: {},
    errors: customerExamples.delete.invalid.errors,
  },
} as const;

const actorMembers = {
  keyId: Type.String({ description: 'The API key of the request.' }),
  requestId: Type.String({ description: 'The id of the request.' }),
};
const provenanceSchema = closedObject(
  {
    source: Type.String({ description: 'Where the data comes from (Art. 15(1)(g)).' }),
    firstReceivedAt: timestampSchema,
    lastChangedAt: timestampSchema,
    version: Type.Integer({ minimum: 1 }),
    storedBy: Type.Optional(closedObject(actorMembers, { description: 'The first write; absent after an erasure.' })),
    changedBy: Type.Optional(closedObject(actorMembers, { description: 'The last update, if there was one.' })),
  },
  { description: 'The source of the record; absent where there is no record.' },
);
const erasureSchema = closedObject(
  {
    erasedAt: timestampSchema,
    ...actorMembers,
    reference: Type.Optional(Type.String({ description: "The tenant's own case number, if the delete had one." })),
    rewritten: Type.Optional(
      Type.Array(Type.String(), {
        description: 'Fields that had a value and were rewritten or removed; absent where the list was lost.',
      }),
    ),
    mergedInto: Type.Optional(
      Type.String({ pattern: urnPattern, description: 'The customer into which it was merged, if it was merged.' }),
    ),
  },
  { description: "The customer's erasure, or its merge into another one; absent where there was none." },
);
const subjectExportSchema = closedObject(
  {
    tenant: Type.String(),
    exportedAt: timestampSchema,
    record: Type.Union([reference<Customer>(customerSchema), Type.Null()], {
      description: 'The record; after an erasure the anonymized record, or null where that was lost.',
    }),
    provenance: Type.Optional(provenanceSchema),
    derived: Type.Array(Type.String(), { description: 'Data that was derived from the record, in words.' }),
    references: referenceListSchema,
    idempotencyRecords: Type.Array(closedObject({ code: Type.String(), keptUntil: timestampSchema }), {
      description: 'The stored results of requests with an Idempotency-Key.',
    }),
    copies: Type.Array(Type.String(), {
      description: 'Files that a restore replaced and that still contain data of the customer.',
    }),
    unseen: Type.Array(Type.String(), { description: 'Places that could not be searched.' }),
    erasure: Type.Optional(erasureSchema),
  },
  { $id: 'SubjectExport' },
);
export const subjectExportSchemas = [subjectExportSchema];

const schema = {
  ...apiOperation,
  operationId: 'subjectExport',
  summary: 'All data about a customer (GDPR Art. 15 and 20)',
  description:
    'Exactly one of customerUuid, customerUrn and externalIdentifier. An erased customer is found by its CustomerUrn only: the erasure also erased its ' +
    'ExternalId. Needs a key of the role `full`. The history of the customer shows the access, with `reference`.',
  headers: readHeaders,
  body: identifiedBodySchema(
    'subjectExport',
    subjectExportFields,
    customerReferenceFields,
    subjectExportExamples.request,
  ),
  response: {
    200: successResponse(
      { result: reference<SubjectExport>(subjectExportSchema) },
      { description: 'All data about the customer.', example: { result: subjectExportExamples.result } },
    ),
    ...refusals('wrapped', [...bodyRefusals, 'CUSTOMER_NOT_FOUND'], subjectExportExamples.invalid.errors),
  },
} as const;

export function subjectExportRoutes(app: ApiServer, { erasures }: SubjectExportDependencies): void {
  app.post('/subject-export', { schema, config: { shape: wrapped } }, async ({ caller, body, id }, reply) =>
    answer(reply, await erasures.showSubjectExport(caller, body, id), wrapped),
  );
}
