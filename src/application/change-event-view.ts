import { timestamp } from '../domain/customer.ts';
import type { ChangeEvent } from './ports/change-events.ts';

/** A change event as consumers see it: in the answers of the API and in deliveries to webhooks. */
export type ShownEvent = ReturnType<typeof showEvent>;

/** @returns the event with its time in ISO 8601, UTC, milliseconds */
export const showEvent = (event: ChangeEvent) => ({
  id: event.id,
  type: event.type,
  customerUrn: event.customerUrn,
  version: event.version,
  at: timestamp(event.at),
  changedFields: event.changedFields,
  actor: event.actor,
  ...(event.sourceRevision !== undefined && { sourceRevision: event.sourceRevision }),
  ...(event.mergedInto !== undefined && { mergedInto: event.mergedInto }),
});
