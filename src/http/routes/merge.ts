/** `POST /merge`: two customers are the same. */
import { type Merges, mergeFields } from '../../application/merges.ts';
import { customerUrn } from '../../domain/identity.ts';
import { bodySchema } from '../body-schemas.ts';
import { customerExample } from '../customer-examples.ts';
import { recordResponse } from '../customer-schemas.ts';
import { answer, wrapped } from '../envelope.ts';
import { membersOf } from '../field-schemas.ts';
import { type ApiServer, apiOperation, refusals, writeHeaders, writeRefusals } from '../operation-schemas.ts';
import { conditionsOf } from '../write-conditions.ts';

export interface MergeDependencies {
  readonly merges: Merges;
}

export const mergeExamples = {
  request: { from: customerUrn('00', 17), into: customerExample.customerUrn },
  result: customerExample,
  invalid: {
    request: { from: customerExample.customerUrn, into: customerExample.customerUrn },
    errors: [{ field: 'into', code: 'invalid_value', message: 'Must be another customer than from.' }],
  },
} as const;

const schema = {
  ...apiOperation,
  operationId: 'merge',
  summary: 'Merge a customer into another one',
  description:
    'Anonymizes `from`, as delete does, and leaves `into` as it is. The ExternalId of `from` finds `into` from then on, and ' +
    'info of `from` has `mergedInto`. To erase `into` also frees that ExternalId. Cannot be undone; a repeat changes nothing.',
  headers: writeHeaders,
  body: bodySchema(membersOf(mergeFields, 'request'), mergeExamples.request),
  response: {
    200: recordResponse('The customer `into`, unchanged.', mergeExamples.result),
    ...refusals('wrapped', [...writeRefusals, 'CUSTOMER_NOT_FOUND', 'STALE_REVISION'], mergeExamples.invalid.errors),
  },
} as const;

export function mergeRoutes(app: ApiServer, { merges }: MergeDependencies): void {
  app.post('/merge', { schema, config: { shape: wrapped } }, async (request, reply) =>
    answer(reply, await merges.merge(request.caller, request.body, conditionsOf(request)), wrapped),
  );
}
