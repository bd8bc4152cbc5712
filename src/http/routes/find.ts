/** `POST /find`: a customer by its e-mail address or phone number. */
import { findForms, type LookUp } from '../../application/look-up.ts';
import type { Snapshot } from '../../application/snapshot.ts';
import { readers } from '../authentication.ts';
import { alternativesSchema } from '../body-schemas.ts';
import { customerExample, customerExamples } from '../customer-examples.ts';
import { snapshotSchema } from '../customer-schemas.ts';
import { answer, wrapped } from '../envelope.ts';
import {
  type ApiServer,
  apiOperation,
  bodyRefusals,
  etagHeader,
  readHeaders,
  reference,
  refusals,
  successResponse,
} from '../operation-schemas.ts';

export interface FindDependencies {
  readonly lookUp: Pick<LookUp, 'find'>;
}

export const findExamples = {
  request: { email: customerExample.email },
  result: { ...customerExamples.info.result, ...customerExample },
  invalid: {
    request: { countryCode: 'XX' },
    errors: [
      { field: 'countryCode', code: 'invalid_value', message: 'Must be an ISO 3166-1 alpha-2 country code.' },
      { field: 'email', code: 'exactly_one', message: 'Exactly one of email, phoneNumber must be given.' },
    ],
  },
} as const;

const schema = {
  ...apiOperation,
  operationId: 'find',
  summary: 'A customer by its e-mail address or phone number',
  description:
    'Exactly one of email and phoneNumber. Answers like `info`. Both are compared as `store` compares them, whatever their ' +
    'spelling; a phone number without "+" needs countryCode. An erased customer is not found. A POST, so that no address ' +
    'is written to the log of a proxy. The history of the customer shows the access, with `reference`.',
  headers: readHeaders,
  body: alternativesSchema('find', findForms, findExamples.request),
  response: {
    200: successResponse(
      { result: reference<Snapshot>(snapshotSchema) },
      { description: 'The customer.', headers: etagHeader, example: { result: findExamples.result } },
    ),
    ...refusals('wrapped', [...bodyRefusals, 'CUSTOMER_NOT_FOUND'], findExamples.invalid.errors),
  },
} as const;

export function findRoutes(app: ApiServer, { lookUp }: FindDependencies): void {
  app.post('/find', { schema, config: { shape: wrapped, roles: readers } }, async ({ caller, body, id }, reply) =>
    answer(reply, await lookUp.find(caller, body, id), wrapped),
  );
}
