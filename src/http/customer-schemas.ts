/** The schemas of customers that several resources use. */
import { type TSchema, Type } from '@sinclair/typebox';
import {
  anonymizedStatus,
  type Customer,
  customerFields,
  sourceRevision,
  storeFields,
  syncFields,
} from '../domain/customer.ts';
import { customerExample, customerExamples } from './customer-examples.ts';
import { closedObject, fieldSchema, membersOf, timestampSchema, urnPattern } from './field-schemas.ts';
import { etagHeader, reference, replayedHeader, successResponse } from './operation-schemas.ts';

/** The members of a record, in their order in a response. */
const recordProperties = {
  customerUrn: Type.String({ pattern: urnPattern, description: 'Our identifier of the customer.' }),
  ...membersOf(customerFields, 'record'),
  status: Type.String({ enum: [...customerFields.status.values, anonymizedStatus] }),
  claimedRegion: fieldSchema(storeFields.claimedRegion, 'record'),
  sourceRevision: Type.Optional(fieldSchema(sourceRevision, 'record')),
  createdAt: timestampSchema,
  updatedAt: timestampSchema,
  anonymizedAt: Type.Optional(timestampSchema),
  mergedInto: Type.Optional(
    Type.String({ pattern: urnPattern, description: 'The customer into which this one was merged, if it was merged.' }),
  ),
};
export const customerSchema = closedObject(recordProperties, { $id: 'Customer', examples: [customerExample] });

const optionsSchema = closedObject({
  availableChannels: Type.Array(Type.String(), { description: 'Payment channels open to this customer.' }),
  canSavePaymentMethod: Type.Boolean(),
});
const countSchema = Type.Integer({ minimum: 0 });
const subscriptionSummarySchema = closedObject(
  { total: countSchema, active: countSchema, canceled: countSchema },
  { description: 'The references of the kind `subscription` that are bound to the customer, counted by their state.' },
);
/** A record, with its payment options and the summary of its references. */
export const snapshotSchema = closedObject(
  { ...recordProperties, options: optionsSchema, subscriptionSummary: subscriptionSummarySchema },
  { $id: 'Snapshot', examples: [customerExamples.info.result] },
);

/** The response of a write that returns a record. */
export const recordResponse = (description: string, result: object) =>
  successResponse(
    { result: reference<Customer>(customerSchema) },
    { description, headers: { ...etagHeader, ...replayedHeader }, example: { result } },
  );

/** A customer as the tenant's system has it. */
const customerStateSchema = closedObject(membersOf(syncFields.customer.fields, 'request'), { $id: 'CustomerState' });
/** The members of the body of a sync. */
export const syncMembers = {
  ...(membersOf(syncFields, 'request') as Record<keyof typeof syncFields, TSchema>),
  customer: reference(customerStateSchema),
};

const {
  createdAt: _,
  updatedAt: __,
  anonymizedAt: ___,
  mergedInto: ____,
  customerUrn,
  ...contentProperties
} = recordProperties;
/** What a sync would store. */
export const customerPreviewSchema = closedObject(
  { customerUrn: Type.Optional(customerUrn), ...contentProperties },
  { $id: 'CustomerPreview' },
);

export const outcomes = ['created', 'updated', 'unchanged', 'stale'] as const;
export const outcomeSchema = Type.Unsafe<(typeof outcomes)[number]>({ type: 'string', enum: outcomes });
export const changedFieldsSchema = Type.Unsafe<readonly string[]>({
  type: 'array',
  items: { type: 'string' },
  description: 'With the outcome updated: the names of the changed fields. Empty if only the sourceRevision is newer.',
});

export const customerRecordSchemas = [customerSchema, customerStateSchema, customerPreviewSchema, snapshotSchema];
