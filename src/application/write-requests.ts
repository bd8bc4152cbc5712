/** What all requests that write have in common: their conditions, their context, and the form of their results. */
import { isAnonymized } from '../domain/anonymization.ts';
import { type Customer, type CustomerContent, timestamp } from '../domain/customer.ts';
import { changedFields } from '../domain/events.ts';
import { isObject } from '../domain/field-schema.ts';
import { isNotNewer, isOlder, isSameRevision } from '../domain/source-revision.ts';
import { onePerField } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { type Completed, completed, conflicting, invalid, type Refusal, refusal } from './outcome.ts';
import type { Clock } from './ports/clock.ts';
import type {
  Alias,
  Decision,
  ErasureContext,
  StoredCustomer,
  WriteContext,
  WriteResult,
} from './ports/customer-repository.ts';

/** The request id of a write, and the headers that control it. */
export interface WriteConditions {
  /** Identifies the request in the access log and in the erasure log. */
  readonly requestId: string;
  /** The Idempotency-Key as sent. */
  readonly idempotencyKey?: string | undefined;
  /** If-Match (RFC 9110 section 13.1.1) as sent, and whether it matches a version. If absent, every version matches. */
  readonly ifMatch?: { readonly text: string; accepts(version: number): boolean } | undefined;
}

/** Makes the contexts of writes. */
export interface WriteSettings {
  readonly clock: Clock;
  /** How long a tombstone is kept; see {@link WriteContext.tombstone}. */
  readonly tombstoneDays: number;
}

/** Whether a body has a customer; an empty string is the same as null. */
export const hasCustomer = (body: unknown): boolean => isObject(body) && body.customer != null && body.customer !== '';

const dayMs = 24 * 60 * 60 * 1000;

/** The context of a write. @param revision the source revision of the request; absent or null if it has none */
export function writeContext(
  { clock, tombstoneDays }: WriteSettings,
  { keyId }: Pick<Caller, 'keyId'>,
  { requestId }: Pick<WriteConditions, 'requestId'>,
  revision?: number | null,
): WriteContext {
  const now = clock();
  const context = { keyId, requestId, now };
  return revision == null ? context : { ...context, tombstone: { revision, expiresAt: now + tombstoneDays * dayMs } };
}

/** The context of an erasure. @param revision as in `writeContext` */
export const erasureContext = (
  settings: WriteSettings,
  caller: Pick<Caller, 'keyId'>,
  conditions: Pick<WriteConditions, 'requestId' | 'ifMatch'>,
  revision?: number,
): ErasureContext => ({
  ...writeContext(settings, caller, conditions, revision),
  check: erasureCheck(conditions.ifMatch, revision),
});

/** Why a customer must not be erased as it is now; undefined if the request erases every version. */
export function erasureCheck(
  ifMatch: WriteConditions['ifMatch'],
  revision: number | undefined,
): ErasureContext['check'] {
  if (ifMatch === undefined && revision === undefined) return undefined;
  return (current) => {
    if (ifMatch?.accepts(current.version) === false) return 'VERSION_MISMATCH';
    if (isStale(revision, current.sourceRevision, current.alias)) return 'STALE_REVISION';
    // The tenant's system may have merged its own records, and then deleted the one that is left over.
    return revision !== undefined && current.alias !== undefined ? 'CUSTOMER_MERGED' : undefined;
  };
}

/** Why a request must not change the current record; undefined if it may. */
export function refusalFor(
  { customer, version, alias }: StoredCustomer,
  ifMatch: WriteConditions['ifMatch'],
  revision: number | undefined,
): 'CUSTOMER_NOT_FOUND' | 'VERSION_MISMATCH' | 'STALE_REVISION' | undefined {
  if (isAnonymized(customer)) return 'CUSTOMER_NOT_FOUND';
  if (ifMatch?.accepts(version) === false) return 'VERSION_MISMATCH';
  return isStale(revision, customer.sourceRevision, alias) ? 'STALE_REVISION' : undefined;
}

/** Whether a request is older than the record that it names, or than the merge that made its ExternalId an alias. */
const isStale = (revision: number | undefined, stored: number | undefined, alias: Alias | undefined): boolean =>
  isOlder(revision, stored) || isNotNewer(revision, alias?.sourceRevision);

/** Replaces the content of a customer, unless it has this content already, or another one of the same revision. */
export function replacing(
  customer: Customer,
  content: CustomerContent,
  revision: number | undefined,
  now: number,
): Decision {
  const isChanged = changedFields(customer, content).length > 0;
  if (isChanged && isSameRevision(revision, customer.sourceRevision)) return { leave: 'REVISION_CONFLICT' };
  if (!isChanged && content.sourceRevision === customer.sourceRevision) return { leave: 'SUCCESS' };
  const { customerUrn, createdAt } = customer;
  return { write: { customerUrn, ...content, createdAt, updatedAt: timestamp(now) } };
}

/** The outcome of a write, with `show` for its success. */
export function toOutcome<Shown extends Completed<unknown>>(
  result: WriteResult,
  show: (result: WriteResult & { readonly code: 'SUCCESS' }) => Shown,
): Shown | Refusal {
  if (result.code === 'INVALID_REQUEST') return invalid(onePerField(result.violations));
  if ('conflicts' in result) return conflicting(result.conflicts);
  if (result.code !== 'SUCCESS') return refusal(result.code);
  return { ...show(result), ...(result.replayed && { replayed: true }) };
}

/** The record, with its version. */
export const showCustomer = ({
  stored: { customer, version },
}: {
  readonly stored: StoredCustomer;
}): Completed<Customer> => ({
  ...completed(customer),
  version,
});
