import {
  applyChange,
  type Customer,
  type CustomerChange,
  sourceRevision,
  storeFields,
  updateFields,
} from '../domain/customer.ts';
import { format, isObject, readObject, readPatch, required } from '../domain/field-schema.ts';
import type { ExternalId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, type Violation, violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { customerReferenceFields, exactlyOneReference, readReference, referenceOf } from './customer-reference.ts';
import { keyViolations, type RunOnce } from './idempotency.ts';
import { andThen, type MaybePromise } from './maybe-promise.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { CustomerRepository, Decision, StoredCustomer } from './ports/customer-repository.ts';
import type { ReferenceRepository } from './ports/references.ts';
import { type Snapshot, showSnapshot } from './snapshot.ts';
import {
  erasureContext,
  hasCustomer,
  refusalFor,
  replacing,
  showCustomer,
  toOutcome,
  type WriteConditions,
  type WriteSettings,
  writeContext,
} from './write-requests.ts';

/** The body of `validate`. */
export const validateFields = {
  externalId: required(format('externalId', "The tenant's own identifier of the customer.")),
} as const;
/** The body of `delete`. */
export const deleteFields = {
  ...customerReferenceFields,
  sourceRevision,
  reference: format('asciiIdentifier', "The tenant's own case number; signed into the erasure receipt."),
} as const;

interface Dependencies extends WriteSettings {
  readonly repository: CustomerRepository;
  readonly references: Pick<ReferenceRepository, 'find'>;
  readonly referenceData: ReferenceData;
  readonly runOnce: RunOnce;
}

/**
 * The five operations of C2A-01. Each takes the request as sent and checks all rules. With an Idempotency-Key, a write
 * can also return the refusals of {@link RunOnce}.
 */
export class Customers {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Whether an ExternalId is available. Stores and reserves nothing. Refusals: BAD_REQUEST, INVALID_REQUEST. */
  validate({ tenant }: Caller, body: unknown): MaybePromise<Outcome<{ readonly isAvailable: boolean }>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData } = this.#dependencies;
    const request = readObject(validateFields, body, referenceData);
    if (!request.ok) return invalid(request.violations);
    const held = repository.hasExternalId(tenant.id, request.value.externalId as ExternalId);
    return andThen(held, (isHeld) => completed({ isAvailable: !isHeld }));
  }

  /**
   * Stores a new customer. Refusals: BAD_REQUEST, INVALID_REQUEST, the three conflicts; with a source revision also
   * STALE_REVISION.
   */
  async store(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<Customer>> {
    if (!hasCustomer(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData } = this.#dependencies;
    const violations = keyViolations(conditions.idempotencyKey);
    const change = readPatch(storeFields, body, '', referenceData, violations);
    const applied = applyChange(undefined, change, referenceData);
    if (!applied.ok) return invalid(onePerField([...violations, ...applied.violations]));
    if (violations.length > 0) return invalid(onePerField(violations));
    const { id } = caller.tenant;
    const { value: content } = applied;
    return this.#dependencies.runOnce(id, conditions.idempotencyKey, ['store', content], async (key) => {
      const context = writeContext(this.#dependencies, caller, conditions, content.sourceRevision);
      return toOutcome(await repository.store(id, content, context, key), showCustomer);
    });
  }

  /**
   * Applies a merge patch (RFC 7396) to a customer. A patch that changes nothing succeeds and keeps `updatedAt`.
   * Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND (also if anonymized), VERSION_MISMATCH, the three
   * conflicts; with a source revision also STALE_REVISION and REVISION_CONFLICT.
   */
  async update(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<Customer>> {
    if (!hasCustomer(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData } = this.#dependencies;
    const { id } = caller.tenant;
    const { idempotencyKey, ifMatch } = conditions;
    const violations = keyViolations(idempotencyKey);
    const change = readPatch(updateFields, body, '', referenceData, violations);
    const by = referenceOf(change.customer?.customerUrn, change.customer?.externalIdentifier);
    if (by === undefined) return invalid(onePerField([...violations, ...missingReference(violations)]));
    if (violations.length > 0) {
      // One response reports all violations. Those of the merged record need the current record.
      const decision = this.#decide(change, undefined, 0)(await repository.find(id, by));
      return invalid(onePerField([...violations, ...('refuse' in decision ? decision.refuse : [])]));
    }
    return this.#dependencies.runOnce(id, idempotencyKey, ['update', change, ifMatch?.text], async (key) => {
      const context = writeContext(this.#dependencies, caller, conditions, change.sourceRevision);
      const decide = this.#decide(change, ifMatch, context.now);
      return toOutcome(await repository.update(id, by, decide, context, key), showCustomer);
    });
  }

  /**
   * Erases a customer (GDPR Art. 17); see {@link CustomerRepository.erase}. Succeeds and changes nothing if the customer is
   * already erased, whatever If-Match says. Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND, CUSTOMER_MERGED,
   * VERSION_MISMATCH; with a source revision also STALE_REVISION.
   */
  async erase(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<undefined>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const violations = keyViolations(conditions.idempotencyKey);
    const { repository, referenceData } = this.#dependencies;
    const given = readPatch(deleteFields, body, '', referenceData, violations);
    const by = exactlyOneReference(given, violations);
    if (by === undefined || violations.length > 0) return invalid(onePerField(violations));
    const { id } = caller.tenant;
    const { idempotencyKey, ifMatch } = conditions;
    const reference = given.reference ?? undefined;
    const revision = given.sourceRevision ?? undefined;
    return this.#dependencies.runOnce(
      id,
      idempotencyKey,
      ['delete', by, ifMatch?.text, reference, revision],
      async (key) => {
        const context = { ...erasureContext(this.#dependencies, caller, conditions, revision), reference };
        return toOutcome(await repository.erase(id, by, context, key), () => completed(undefined));
      },
    );
  }

  /**
   * The current record of a customer, with its payment options and the summary of its references. Refusals:
   * INVALID_REQUEST, CUSTOMER_NOT_FOUND.
   */
  info(
    { tenant }: Pick<Caller, 'tenant'>,
    query: { readonly urn?: unknown; readonly exId?: unknown },
  ): MaybePromise<Outcome<Snapshot>> {
    const { references, referenceData } = this.#dependencies;
    const by = readReference(query, referenceData);
    if (!by.ok) return invalid(by.violations);
    return andThen(references.find(tenant.id, by.value), (found) => showSnapshot(tenant, found));
  }

  /** Decides how an update changes the current record. */
  #decide(change: CustomerChange, ifMatch: WriteConditions['ifMatch'], now: number) {
    return (current: StoredCustomer | undefined): Decision => {
      if (current === undefined) return { leave: 'CUSTOMER_NOT_FOUND' };
      const revision = change.sourceRevision ?? undefined;
      const refused = refusalFor(current, ifMatch, revision);
      if (refused !== undefined) return { leave: refused };
      const named = current.alias === undefined ? change : withoutExternalId(change);
      const applied = applyChange(current.customer, named, this.#dependencies.referenceData);
      if (!applied.ok) return { refuse: applied.violations };
      return replacing(current.customer, applied.value, revision, now);
    };
  }
}

/** A change by an alias: the ExternalId names the customer and must not become its own. */
function withoutExternalId({ customer, ...others }: CustomerChange): CustomerChange {
  const { externalIdentifier: _, ...fields } = customer ?? {};
  return { ...others, customer: fields };
}

/** The violation of an update without a customer reference, unless another violation already reports the reference. */
function missingReference(violations: readonly Violation[]): Violation[] {
  const names = ['customer', 'customer.customerUrn', 'customer.externalIdentifier'];
  const isReported = violations.some(({ field, code }) => names.includes(field) && code !== 'unknown_field');
  return isReported
    ? []
    : [violation('customer.customerUrn', 'required', 'One of customerUrn and externalIdentifier is required.')];
}
