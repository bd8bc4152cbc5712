/** `c2a-customers/ports`: the ports and domain functions for your own adapter. */
export { createReferenceData } from './adapters/reference-data.ts';
export type { MaybePromise } from './application/maybe-promise.ts';
export type * from './application/ports/actor.ts';
export type * from './application/ports/change-events.ts';
export { eventBody } from './application/ports/change-events.ts';
export type * from './application/ports/customer-repository.ts';
export { DatabaseFailure } from './application/ports/database-failure.ts';
export type * from './application/ports/erasures.ts';
export type * from './application/ports/references.ts';
export type * from './application/ports/tenant-directory.ts';
export type * from './application/ports/tombstone.ts';
export {
  changedBy,
  forAlias,
  idempotencyCode,
  onlyExisting,
  referenceAfterRelease,
  replayOf,
  resultWithoutWrite,
  syncEffect,
} from './application/ports/write-rules.ts';
export { anonymize, isAnonymized, rewrittenFields } from './domain/anonymization.ts';
export {
  type Customer,
  type CustomerContent,
  contentOf,
  hasSameUniqueKeys,
  newCustomer,
  timestamp,
  uniqueKeysOf,
} from './domain/customer.ts';
export type { ChangeEventType } from './domain/events.ts';
export {
  type Conflict,
  type ConflictCode,
  type CustomerUrn,
  conflictsOf,
  customerUrn,
  type ExternalId,
  type Holder,
  parseCustomerUrn,
  parseTenantId,
  type TenantId,
  type UniqueKeys,
} from './domain/identity.ts';
export type { ReferenceData } from './domain/reference-data.ts';
export {
  type ReferenceKind,
  type ReferenceState,
  type SubscriptionSummary,
  subscriptionSummary,
} from './domain/references.ts';
export { isNotNewer, isOlder } from './domain/source-revision.ts';
export type { Violation } from './domain/violations.ts';
