import { anonymizedStatus, type ClaimedRegion, type Customer, customerFields } from './customer.ts';
import { changedFields } from './events.ts';
import { merge } from './field-schema.ts';
import { type CustomerUrn, parseCustomerUrn } from './identity.ts';

/**
 * Returns the anonymized record of a customer (GDPR Art. 17). Removes or rewrites every field that is not retained,
 * including any field that is added to the schema later. An anonymized record is returned unchanged.
 *
 * @param now ISO 8601, UTC, milliseconds
 * @param mergedInto see {@link anonymized}
 */
export const anonymize = (customer: Customer, now: string, mergedInto?: CustomerUrn): Customer =>
  isAnonymized(customer) ? customer : anonymized(customer, retainedFieldsOf(customer), now, mergedInto);

/** The fields kept after an erasure, besides `customerUrn` and `createdAt`. None identifies a person by itself. */
export interface RetainedFields {
  readonly claimedRegion: ClaimedRegion;
  readonly legalType: Customer['legalType'];
  /** ISO 3166-1 alpha-2. */
  readonly billingCountry?: string;
}

/** Placeholders for the retained fields of a record that cannot be decrypted. ISO 3166-1 assigns `ZZ` to no country. */
export const unknownRetainedFields: RetainedFields = {
  claimedRegion: { countryCode: 'ZZ', languageCode: 'en' },
  legalType: 'Individual',
};

/** The retained fields of a customer that is not anonymized. */
export function retainedFieldsOf({
  claimedRegion,
  legalType,
  primaryBillingAddress: address,
}: Customer): RetainedFields {
  return { claimedRegion, legalType, ...(address && { billingCountry: address.countryCode }) };
}

/**
 * Builds the anonymized record from the retained fields only. Placeholders are constants or derived from the URN. A
 * placeholder that is derived from the old value could be used to test a guess of that value.
 *
 * @param now ISO 8601, UTC, milliseconds
 * @param mergedInto the customer into which the customer was merged; undefined if it was erased
 */
export function anonymized(
  { customerUrn, createdAt }: Pick<Customer, 'customerUrn' | 'createdAt'>,
  { claimedRegion, legalType, billingCountry }: RetainedFields,
  now: string,
  mergedInto?: CustomerUrn,
): Customer {
  return {
    customerUrn,
    externalIdentifier: anonymizedPrefix + customerUrn,
    email: `${anonymizedPrefix}${customerUrn}@anonymized.invalid`,
    firstName: 'Anonymized',
    lastName: 'Anonymized',
    legalType,
    ...(billingCountry !== undefined && { primaryBillingAddress: { countryCode: billingCountry } }),
    privacy: noConsents,
    status: anonymizedStatus,
    claimedRegion,
    createdAt,
    updatedAt: now,
    anonymizedAt: now,
    ...(mergedInto !== undefined && { mergedInto }),
  };
}

const anonymizedPrefix = 'anonymized-';

/** The CustomerUrn in the ExternalId of an anonymized record, `anonymized-<CustomerUrn>`; undefined for any other text. */
export const parseAnonymizedExternalId = (text: string): CustomerUrn | undefined =>
  text.startsWith(anonymizedPrefix) ? parseCustomerUrn(text.slice(anonymizedPrefix.length)) : undefined;

const noConsents = merge(customerFields.privacy.fields, {}, {}) as Customer['privacy'];

export const isAnonymized = (customer: Customer): boolean => customer.status === anonymizedStatus;

/** The names of the fields that have a value and that anonymization rewrites or removes. */
export const rewrittenFields = (customer: Customer): string[] =>
  changedFields(customer, anonymize(customer, customer.updatedAt)).filter((name) => customer[name] !== undefined);

/** Data that is kept after an erasure, and its legal ground; both are texts for an auditor. */
export interface RetentionGround {
  readonly field: string;
  readonly ground: string;
}

const retained: readonly RetentionGround[] = [
  {
    field: 'customerUrn',
    ground: 'Art. 17(3)(b) and (e) GDPR: contracts, invoices and payments refer to it and must be kept',
  },
  { field: 'createdAt', ground: 'Art. 5(2) GDPR: shows for how long data was held' },
  { field: 'updatedAt, anonymizedAt, version', ground: 'Art. 5(2) GDPR: shows when the data was erased' },
  {
    field: 'entry in the erasure log',
    ground: 'Art. 5(2) GDPR: shows that the data was erased, and keeps a restored backup from bringing it back',
  },
  {
    field: 'claimedRegion',
    ground: 'Art. 17(3)(b) GDPR: place of supply for tax records; identifies nobody by itself',
  },
  { field: 'legalType', ground: 'Art. 17(3)(b) GDPR: tax treatment; identifies nobody by itself' },
];
const retainedBillingCountry: RetentionGround = {
  field: 'primaryBillingAddress.countryCode',
  ground: 'Art. 17(3)(b) GDPR: place of supply for tax records; identifies nobody by itself',
};

/**
 * The data that is kept after an erasure, with its legal ground.
 *
 * @param customer undefined if the record cannot be decrypted: then the result lists all data that may be kept
 */
export const retentionGrounds = (
  customer: Pick<Customer, 'primaryBillingAddress'> | undefined,
): readonly RetentionGround[] =>
  customer === undefined || customer.primaryBillingAddress !== undefined
    ? [...retained, retainedBillingCountry]
    : retained;
