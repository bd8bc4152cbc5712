import { type Customer, customerFields } from './customer.ts';

/** What happened to a customer. To add a type, add it here and where the change is made. */
export type ChangeEventType = 'customer.stored' | 'customer.updated' | 'customer.anonymized';

/** The names of a customer's top-level fields that can change. */
const changeableFields = [...Object.keys(customerFields), 'claimedRegion'] as readonly (keyof Customer)[];

/**
 * The names of the top-level fields that differ between two records, in the order of the field schema. A change event
 * carries these names and never a value, so that events survive an erasure (GDPR Art. 17).
 *
 * @param before undefined for a new customer: then every field that has a value
 */
export function changedFields(before: Customer | undefined, after: Customer): string[] {
  return changeableFields.filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after[name]));
}
