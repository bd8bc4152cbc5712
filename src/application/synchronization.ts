import { applyChange, type Customer, type CustomerContent, contentOf, syncFields } from '../domain/customer.ts';
import { readPatch } from '../domain/field-schema.ts';
import type { CustomerUrn, ExternalId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { isNotNewer } from '../domain/source-revision.ts';
import { accepted, onePerField, type Parsed, refused, type Violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { referenceOf } from './customer-reference.ts';
import { DryRun } from './dry-run.ts';
import { keyViolations, type RunOnce } from './idempotency.ts';
import { type Completed, completed, invalid, type Refusal, refusal } from './outcome.ts';
import type {
  CustomerReference,
  CustomerRepository,
  StoredCustomer,
  SyncDecision,
  SyncOutcome,
  WriteResult,
} from './ports/customer-repository.ts';
import type { ScratchRepository } from './ports/scratch-repository.ts';
import {
  hasCustomer,
  refusalFor,
  replacing,
  showCustomer,
  toOutcome,
  type WriteConditions,
  type WriteSettings,
  writeContext,
} from './write-requests.ts';

/** A customer as the tenant's system has it now. */
export interface SyncRequest {
  readonly by: CustomerReference;
  /** With the source revision of the request, if it has one. */
  readonly content: CustomerContent;
}

/** The result of a sync. `result` is null if the outcome is `stale`. */
export interface Synced extends Completed<Customer | null> {
  readonly outcome: SyncOutcome | 'stale';
  /** With the outcome `updated`, unless the request is replayed: the names of the changed fields. */
  readonly changedFields?: readonly string[];
}

/** What a sync would do. */
export interface Preview {
  /** Whether no customer has the ExternalId. */
  readonly isAvailable: boolean;
  readonly outcome: Synced['outcome'];
  readonly changedFields?: readonly string[];
  /** What would be stored; null if the outcome is `stale`. Without times, and without a CustomerUrn for a new customer. */
  readonly result: (CustomerContent & { readonly customerUrn?: CustomerUrn }) | null;
}

interface Dependencies extends WriteSettings {
  readonly repository: CustomerRepository;
  readonly referenceData: ReferenceData;
  readonly runOnce: RunOnce;
  readonly openScratch: () => ScratchRepository;
}

/** Keeps customers as the tenant's system has them. */
export class Synchronization {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Creates the customer if there is none, else replaces its content: an absent field is removed. May be repeated, and with
   * source revisions arrive in any order. Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND (if a CustomerUrn
   * names it), VERSION_MISMATCH, REVISION_CONFLICT, the three conflicts.
   */
  async sync(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Synced | Refusal> {
    if (!hasCustomer(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData } = this.#dependencies;
    const { idempotencyKey, ifMatch } = conditions;
    const parsed = readSync(body, referenceData, keyViolations(idempotencyKey));
    if (!parsed.ok) return invalid(parsed.violations);
    const { by, content } = parsed.value;
    const { id } = caller.tenant;
    return this.#dependencies.runOnce(id, idempotencyKey, ['sync', by, content, ifMatch?.text], async (key) => {
      const context = writeContext(this.#dependencies, caller, conditions, content.sourceRevision);
      const decide = decideSync(parsed.value, ifMatch, context.now);
      return toSynced(await repository.sync(id, by, decide, context, key));
    });
  }

  /** What `sync` would do with the same body, and its refusals; stores nothing. */
  async preview(caller: Caller, body: unknown, { requestId }: Pick<WriteConditions, 'requestId'>) {
    if (!hasCustomer(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData, openScratch } = this.#dependencies;
    const parsed = readSync(body, referenceData);
    if (!parsed.ok) return invalid(parsed.violations);
    const { by, content } = parsed.value;
    const { id } = caller.tenant;
    const context = writeContext(this.#dependencies, caller, { requestId }, content.sourceRevision);
    const isHeld = await repository.hasExternalId(id, content.externalIdentifier as ExternalId);
    const scratch = openScratch();
    try {
      const run = new DryRun({ repository, scratch, referenceData });
      const synced = toSynced(await run.sync(id, by, decideSync(parsed.value, undefined, context.now), context));
      return 'outcome' in synced ? completed(toPreview(synced, !isHeld)) : synced;
    } finally {
      scratch.close();
    }
  }
}

/** Parses the body of a sync. @param violations those found before, e.g. in the headers */
export function readSync(
  body: unknown,
  referenceData: ReferenceData,
  violations: Violation[] = [],
): Parsed<SyncRequest> {
  const { customer, ...others } = readPatch(syncFields, body, '', referenceData, violations);
  const { customerUrn, ...fields } = customer ?? {};
  const applied = applyChange(
    undefined,
    { ...others, ...(customer !== undefined && { customer: fields }) },
    referenceData,
  );
  if (!applied.ok) return refused(onePerField([...violations, ...applied.violations]));
  const by = referenceOf(customerUrn, applied.value.externalIdentifier);
  return violations.length > 0 || by === undefined
    ? refused(onePerField(violations))
    : accepted({ by, content: applied.value });
}

/** Decides how a sync changes the current record. @param now milliseconds since 1970 */
export function decideSync({ by, content }: SyncRequest, ifMatch: WriteConditions['ifMatch'], now: number) {
  const revision = content.sourceRevision;
  return (current: StoredCustomer | undefined): SyncDecision => {
    if (current === undefined && 'urn' in by) return { leave: 'CUSTOMER_NOT_FOUND' };
    if (current === undefined) return ifMatch === undefined ? { create: content } : { leave: 'VERSION_MISMATCH' };
    const refused = overwritingByAlias(current, revision) ?? refusalFor(current, ifMatch, revision);
    if (refused !== undefined) return { leave: refused };
    const { customer } = current;
    const kept = revision ?? customer.sourceRevision;
    return replacing(customer, { ...content, ...(kept !== undefined && { sourceRevision: kept }) }, revision, now);
  };
}

/** Why a sync by an alias is refused: the content of a merged customer must not overwrite that of the other one. */
function overwritingByAlias({ alias }: StoredCustomer, revision: number | undefined) {
  if (alias === undefined) return undefined;
  return isNotNewer(revision, alias.sourceRevision) ? 'STALE_REVISION' : 'CUSTOMER_ALREADY_STORED';
}

/** The outcome of a sync. A stale request is a success, so that a queue can acknowledge its message. */
export function toSynced(result: WriteResult): Synced | Refusal {
  if (result.code === 'STALE_REVISION') return { ...completed(null), outcome: 'stale' };
  return toOutcome(result, ({ stored, outcome = 'unchanged', changedFields }) => ({
    ...showCustomer({ stored }),
    outcome,
    ...(changedFields && { changedFields }),
  }));
}

function toPreview({ outcome, changedFields, result }: Synced, isAvailable: boolean): Preview {
  const { customerUrn } = result ?? {};
  return {
    isAvailable,
    outcome,
    ...(changedFields && { changedFields }),
    result: result && { ...(customerUrn && outcome !== 'created' && { customerUrn }), ...contentOf(result) },
  };
}
