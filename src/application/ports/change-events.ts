import { isAnonymized, rewrittenFields } from '../../domain/anonymization.ts';
import type { Customer } from '../../domain/customer.ts';
import { type ChangeEventType, changedFields } from '../../domain/events.ts';
import type { CustomerUrn } from '../../domain/identity.ts';
import type { Actor } from './actor.ts';

/** What a change event says of a change of a customer. It has no values of fields, so it is kept after an erasure. */
export interface EventBody {
  readonly type: ChangeEventType;
  /** The names of the top-level fields that changed; see `changedFields`; of an erasure or a merge `rewrittenFields`. */
  readonly changedFields: readonly string[];
  readonly actor: Actor;
  /** That of the customer after the change, if it has one. */
  readonly sourceRevision?: number;
  /** Of a merge: the customer into which this one was merged. */
  readonly mergedInto?: CustomerUrn;
}

export interface ChangeEvent extends EventBody {
  /** A UUID. */
  readonly id: string;
  readonly customerUrn: CustomerUrn;
  /** The version that the change made. */
  readonly version: number;
  /** When the change was made, in milliseconds since 1970. */
  readonly at: number;
}

/** A change event in the feed of its tenant. */
export interface FeedEvent extends ChangeEvent {
  /** From 1, without gaps. Events of one customer are in the order of its versions. */
  readonly position: number;
}

/** The event of a change from `before`, undefined for a new customer, to `after`. */
export function eventBody(before: Customer | undefined, after: Customer, { keyId, requestId }: Actor): EventBody {
  const actor = { keyId, requestId };
  if (before !== undefined && isAnonymized(after))
    return erasureEvent(actor, rewrittenFields(before), after.mergedInto);
  const { sourceRevision } = after;
  return {
    type: before === undefined ? 'customer.stored' : 'customer.updated',
    changedFields: changedFields(before, after),
    actor,
    ...(sourceRevision !== undefined && { sourceRevision }),
  };
}

/** The event of an erasure or, with `mergedInto`, of a merge. */
export function erasureEvent(
  { keyId, requestId }: Actor,
  rewritten: readonly string[],
  mergedInto: CustomerUrn | undefined,
): EventBody {
  return {
    type: mergedInto === undefined ? 'customer.anonymized' : 'customer.merged',
    changedFields: rewritten,
    actor: { keyId, requestId },
    ...(mergedInto !== undefined && { mergedInto }),
  };
}
