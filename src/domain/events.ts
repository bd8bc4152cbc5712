import { type CustomerContent, contentNames } from './customer.ts';

/** The types of change events. To add a type, add it here and to the code that makes the change. */
export type ChangeEventType = 'customer.stored' | 'customer.updated' | 'customer.anonymized';

/**
 * The names of the top-level fields that a store or an update changed, in the order of the field table; for an erasure see
 * `rewrittenFields`. Change events contain only names and no values, so they may be kept after an erasure (GDPR Art. 17).
 *
 * @param before undefined for a new customer: then the result is all fields with a value
 */
export function changedFields(before: CustomerContent | undefined, after: CustomerContent): string[] {
  if (before === undefined) return contentNames.filter((name) => after[name] !== undefined);
  // Equal objects have equal JSON, as both come from the same field table.
  return contentNames.filter(
    (name) => before[name] !== after[name] && JSON.stringify(before[name]) !== JSON.stringify(after[name]),
  );
}
