import { timestamp } from '../domain/customer.ts';
import type { ChangeEvent } from './ports/change-events.ts';

/** A change event as consumers get it, from `changes` and from a webhook. */
export interface ShownEvent extends Omit<ChangeEvent, 'at'> {
  /** ISO 8601, UTC, milliseconds. */
  readonly at: string;
}

/** The form of an event for consumers. It has no position: a consumer gets a cursor, which it does not read. */
export function showEvent(event: ChangeEvent): ShownEvent {
  const { id, type, customerUrn, version, at, changedFields, actor, sourceRevision, mergedInto } = event;
  return {
    id,
    type,
    customerUrn,
    version,
    at: timestamp(at),
    changedFields,
    actor,
    ...(sourceRevision !== undefined && { sourceRevision }),
    ...(mergedInto !== undefined && { mergedInto }),
  };
}
