/** `GET /erasure`, the signed receipt of an erasure, and the public key that verifies it. */
import { Type } from '@sinclair/typebox';
import type { FastifyInstance } from 'fastify';
import { residueKinds } from '../../application/ports/erasures.ts';
import { erasureFields, type PrivacyReports, type SignedReceipt } from '../../application/privacy-reports.ts';
import { retentionGrounds } from '../../domain/anonymization.ts';
import { customerExample } from '../customer-examples.ts';
import { answer, wrapped } from '../envelope.ts';
import { closedObject, membersOf, timestampSchema, urnPattern } from '../field-schemas.ts';
import {
  type ApiServer,
  apiOperation,
  openOperation,
  openRefusals,
  openResponse,
  readHeaders,
  reference,
  refusals,
  successResponse,
} from '../operation-schemas.ts';

export interface ErasureDependencies {
  readonly erasures: Pick<PrivacyReports, 'show' | 'publicKey'>;
}

export const erasureExamples = {
  request: { urn: customerExample.customerUrn },
  result: {
    receipt: {
      receiptVersion: 1,
      tenant: 'acme',
      customerUrn: customerExample.customerUrn,
      erasedAt: '2026-02-01T08:00:00.000Z',
      keyId: 'f3kQ9xLw2bTn',
      requestId: '0b8e2f0c-6f1e-4c0e-9f77-1f0a6f0f6d11',
      reference: 'DSAR-2026-0042',
      rewritten: ['externalIdentifier', 'email', 'phoneNumber', 'firstName', 'lastName', 'status'],
      kept: retentionGrounds(customerExample),
      dataKeyDestroyed: true,
      erasureLog: { sequence: 7, chain: 'mQ0e7mUZsJ1bPz3T0c1o9oYfV0l8Qh2kq4Wb5xRr6uE' },
      residualScan: {
        scannedAt: '2026-02-02T10:15:00.000Z',
        clean: true,
        findings: [{ kind: 'data_key', place: 'keys: data keys', found: 0 }],
        unseen: ['copies that were made of the files: backups, snapshots, replicas'],
      },
    },
    signature: {
      algorithm: 'Ed25519',
      publicKey: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
      value: '5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw',
    },
  },
  invalid: {
    request: {},
    errors: [{ field: 'urn', code: 'required', message: 'Is required.' }],
  },
} as const;

const receiptSchema = closedObject({
  receiptVersion: Type.Literal(1),
  tenant: Type.String(),
  customerUrn: Type.String({ pattern: urnPattern }),
  erasedAt: timestampSchema,
  keyId: Type.String({ description: 'The API key that requested the erasure.' }),
  requestId: Type.String({ description: 'The id of that request.' }),
  reference: Type.Optional(Type.String({ description: "The tenant's own case number, if the request had one." })),
  rewritten: Type.Union([Type.Array(Type.String()), Type.Null()], {
    description: 'Fields that had a value and were rewritten or removed; null where the list was lost.',
  }),
  kept: Type.Array(closedObject({ field: Type.String(), ground: Type.String() }), {
    description: 'The retained fields, each with its legal ground.',
  }),
  dataKeyDestroyed: Type.Boolean(),
  erasureLog: Type.Union(
    [closedObject({ sequence: Type.Integer({ minimum: 1 }), chain: Type.String() }), Type.Null()],
    {
      description: "The position in the tenant's erasure log, and the chain value of all entries up to it (base64url).",
    },
  ),
  residualScan: closedObject({
    scannedAt: timestampSchema,
    clean: Type.Boolean(),
    findings: Type.Array(
      closedObject({
        kind: Type.String({ enum: residueKinds }),
        place: Type.String(),
        found: Type.Integer({ minimum: 0 }),
      }),
    ),
    unseen: Type.Array(Type.String(), { description: 'Places that the scan cannot read.' }),
  }),
});
const signatureSchema = closedObject({
  algorithm: Type.Literal('Ed25519'),
  publicKey: Type.String({ description: 'base64url' }),
  value: Type.String({ description: 'base64url' }),
});
const signedReceiptSchema = closedObject(
  { receipt: receiptSchema, signature: signatureSchema },
  { $id: 'SignedReceipt' },
);
export const erasureSchemas = [signedReceiptSchema];

const schema = {
  ...apiOperation,
  operationId: 'erasure',
  summary: 'A signed receipt of an erasure',
  description:
    'Made for this request, after a scan of the storage. The Ed25519 signature covers the receipt as JSON without white ' +
    "space; the deployment's public key is at /.well-known/c2a-receipts.",
  headers: readHeaders,
  querystring: closedObject(membersOf(erasureFields, 'query')),
  response: {
    200: successResponse(
      { result: reference<SignedReceipt>(signedReceiptSchema) },
      { description: 'The receipt.', example: { result: erasureExamples.result } },
    ),
    ...refusals('wrapped', ['INVALID_REQUEST', 'FORBIDDEN', 'ERASURE_NOT_FOUND'], erasureExamples.invalid.errors),
  },
} as const;

export function erasureRoutes(app: ApiServer, { erasures }: ErasureDependencies): void {
  app.get('/erasure', { schema, config: { shape: wrapped } }, async (request, reply) =>
    answer(reply, await erasures.show(request.caller, request.query as Record<string, unknown>), wrapped),
  );
}

const keySchema = {
  ...openOperation,
  operationId: 'receiptKey',
  summary: 'The public key that verifies receipts',
  description: 'Every receipt of this deployment carries the same key. Anybody may ask for it.',
  response: {
    200: openResponse(
      'The key.',
      'application/json; charset=utf-8',
      closedObject({ algorithm: Type.Literal('Ed25519'), publicKey: Type.String({ description: 'base64url' }) }),
    ),
    ...openRefusals,
  },
};

/** Registers the public key outside the API, so that receipts can be verified without credentials. */
export function receiptKeyRoute(app: FastifyInstance, { erasures }: ErasureDependencies): void {
  app.get('/.well-known/c2a-receipts', { schema: keySchema, config: { forOperators: true } }, async (_, reply) =>
    reply.type('application/json; charset=utf-8').send({ algorithm: 'Ed25519', publicKey: erasures.publicKey() }),
  );
}
