import { anonymizedStatus, type ClaimedRegion, type Customer, customerFields } from './customer.ts';
import { merge } from './field-schema.ts';

/**
 * What is left of a customer after deletion (GDPR Art. 17): a record in which nothing personal remains, while what
 * is operational stays. This is a list of what is kept; any other field, also one that is added later, is removed.
 *
 * - kept: `customerUrn` (downstream flows are bound to it), `createdAt`, `claimedRegion`, `legalType`, the billing
 *   country (tax and statistics need no person);
 * - rewritten to constants or to the URN: a placeholder made from the value itself could be confirmed by guessing.
 *
 * Anonymising an anonymised record changes nothing, not even `updatedAt`.
 *
 * @param now ISO 8601, UTC, milliseconds
 */
export function anonymize(customer: Customer, now: string): Customer {
  return isAnonymized(customer) ? customer : anonymized(customer, retainedFieldsOf(customer), now);
}

/** What of a customer outlives its deletion, beside its URN and the time of its making; none of it is personal by itself. */
export interface RetainedFields {
  readonly claimedRegion: ClaimedRegion;
  readonly legalType: Customer['legalType'];
  /** ISO 3166-1 alpha-2. */
  readonly billingCountry?: string;
}

/** In place of what remains of a record that can no longer be read: a country that ISO 3166-1 assigns to nobody. */
export const unknownRetainedFields: RetainedFields = {
  claimedRegion: { countryCode: 'ZZ', languageCode: 'en' },
  legalType: 'Individual',
};

/** Why each of it is kept, in words for an auditor. */
const keptFields: readonly { readonly field: string; readonly ground: string }[] = [
  {
    field: 'customerUrn',
    ground: 'Art. 17(3)(b) and (e) GDPR: contracts, invoices and payments are bound to it and must be kept',
  },
  { field: 'createdAt', ground: 'Art. 5(2) GDPR: shows for how long data was held' },
  { field: 'updatedAt, anonymizedAt, version', ground: 'Art. 5(2) GDPR: shows when the data was erased' },
  {
    field: 'entry in the ledger of erasures',
    ground: 'Art. 5(2) GDPR: shows that the data was erased, and keeps a restored copy from bringing it back',
  },
  {
    field: 'claimedRegion',
    ground: 'Art. 17(3)(b) GDPR: place of supply for tax records; identifies nobody by itself',
  },
  { field: 'legalType', ground: 'Art. 17(3)(b) GDPR: tax treatment; identifies nobody by itself' },
  {
    field: 'primaryBillingAddress.countryCode',
    ground: 'Art. 17(3)(b) GDPR: place of supply for tax records; identifies nobody by itself',
  },
];

/** What of it a record still has, and on what ground; of one that is not known, what it may have. */
export const retentionGrounds = (customer: Pick<Customer, 'primaryBillingAddress'> | undefined): typeof keptFields =>
  customer === undefined || customer.primaryBillingAddress !== undefined
    ? keptFields
    : keptFields.filter(({ field }) => !field.startsWith('primaryBillingAddress'));

/** What would remain of a customer. */
export function retainedFieldsOf({
  claimedRegion,
  legalType,
  primaryBillingAddress: address,
}: Customer): RetainedFields {
  return { claimedRegion, legalType, ...(address && { billingCountry: address.countryCode }) };
}

/** The record of a customer that was deleted, from what remains alone. @param now when: ISO 8601, UTC, milliseconds */
export function anonymized(
  { customerUrn, createdAt }: Pick<Customer, 'customerUrn' | 'createdAt'>,
  { claimedRegion, legalType, billingCountry }: RetainedFields,
  now: string,
): Customer {
  return {
    customerUrn,
    externalIdentifier: `anonymized-${customerUrn}`,
    email: `anonymized-${customerUrn}@anonymized.invalid`,
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
  };
}

const noConsents = merge(customerFields.privacy.fields, {}, {}) as Customer['privacy'];

/** The names of the fields that deletion rewrites or removes, of those that have a value. */
export function rewrittenFields(customer: Customer): string[] {
  const rest = anonymize(customer, customer.updatedAt);
  return Object.keys(customerFields).filter((name) => {
    const before = customer[name as keyof Customer];
    return before !== undefined && JSON.stringify(before) !== JSON.stringify(rest[name as keyof Customer]);
  });
}

/** Whether deletion has been at this record. */
export const isAnonymized = (customer: Customer): boolean => customer.status === anonymizedStatus;
