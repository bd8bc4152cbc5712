import { type EventBody, erasureEvent } from '../../../application/ports/change-events.ts';
import type { ErasureContext, StoredCustomer } from '../../../application/ports/customer-repository.ts';
import type { Erasure } from '../../../application/ports/erasures.ts';
import { retainedFieldsOf, rewrittenFields, unknownRetainedFields } from '../../../domain/anonymization.ts';
import type { LogContent } from '../customers/record-encryption.ts';
import { toUrn } from '../customers/urns.ts';

/** The change event of an entry. */
export const eventOf = ({ erasure }: LogContent): EventBody =>
  erasureEvent(erasure, erasure.rewritten ?? [], erasure.mergedInto);

/** The content of a log entry. A record that cannot be decrypted can be erased too; its retained fields are then unknown. */
export function contentOf(
  number: number,
  stored: StoredCustomer | undefined,
  { keyId, requestId, now, reference, tombstone }: ErasureContext,
  merge?: Pick<Erasure, 'mergedInto' | 'sourceRevision'>,
): LogContent {
  const erasure = {
    urn: toUrn(number),
    keyId,
    requestId,
    erasedAt: now,
    ...(reference !== undefined && { reference }),
    ...(tombstone !== undefined && { tombstone }),
    ...merge,
  };
  if (stored === undefined) return { erasure, retained: unknownRetainedFields };
  const { customer } = stored;
  return { erasure: { ...erasure, rewritten: rewrittenFields(customer) }, retained: retainedFieldsOf(customer) };
}
