import { isAnonymized } from '../domain/anonymization.ts';
import { applyChange, type Customer, sameContent, storeFields, timestamp, updateFields } from '../domain/customer.ts';
import { format, isObject, merge, missingFields, readPatch, required, violation } from '../domain/field-schema.ts';
import type { CustomerUrn, ExternalId } from '../domain/identity.ts';
import { type PaymentOptions, type PaymentSettings, paymentOptions } from '../domain/payment-options.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, type Violation } from '../domain/violations.ts';
import { keyViolations, runOnce } from './idempotency.ts';
import type { MaybePromise } from './maybe-promise.ts';
import { andThen } from './maybe-promise.ts';
import { type Completed, completed, invalid, type Outcome, type Refusal, refusal } from './outcome.ts';
import type { Clock } from './ports/clock.ts';
import type {
  CustomerReference,
  CustomerRepository,
  Decision,
  StoredCustomer,
  WriteContext,
  WriteResult,
} from './ports/customer-repository.ts';
import type { Digest } from './ports/digest.ts';
import type { Caller } from './tenants.ts';

export interface Snapshot extends Customer {
  readonly options: PaymentOptions;
}

/** What a writing request may carry beside its body. */
export interface WriteConditions {
  /** By which the log and the ledger of erasures know the request. */
  readonly requestId: string;
  /** The Idempotency-Key as it was sent; a repeat within 24 hours gets the first answer. */
  readonly idempotencyKey?: string | undefined;
  /** If-Match as it was sent, and whether it accepts a version; absent: any version will do. */
  readonly ifMatch?: { readonly text: string; accepts(version: number): boolean } | undefined;
}

/** The fields by which requests other than store and update name a customer. */
export const validateFields = {
  externalId: required(format('externalId', "The tenant's own identifier of the customer.")),
} as const;
export const deleteFields = {
  customerUuid: format('customerUrn', 'The CustomerUrn; the name of the field is historical.'),
  customerUrn: format('customerUrn', 'The CustomerUrn.'),
  externalIdentifier: format('externalReference', "The tenant's own identifier of the customer."),
} as const;
export const infoFields = {
  urn: format('customerUrn', 'The CustomerUrn; wins where both are given.'),
  exId: format('externalReference', "The tenant's own identifier of the customer."),
} as const;

interface Dependencies {
  readonly repository: CustomerRepository;
  readonly referenceData: ReferenceData;
  readonly digest: Digest;
  readonly clock: Clock;
}

export type Customers = ReturnType<typeof createCustomers>;

/**
 * The last snapshot of a record, as long as somebody has the record: one that is read often gives the same object. On the
 * record itself, and not in a WeakMap: what is in there outlives the record by many collections (docs/performance.md).
 */
const lastSnapshot = Symbol('last snapshot');
type Remembering = StoredCustomer & {
  [lastSnapshot]?: { readonly of: Customer; readonly payment: PaymentSettings; readonly made: Completed<Snapshot> };
};

function snapshotOf(stored: Remembering, payment: PaymentSettings): Completed<Snapshot> {
  const { customer, version, [lastSnapshot]: last } = stored;
  // Whoever copies the record copies this too.
  if (last?.of === customer && last.payment === payment) return last.made;
  const made = { ...completed({ ...customer, options: paymentOptions(customer, payment) }), version };
  // An adapter may give records that nothing can be written on.
  if (Object.isExtensible(stored)) stored[lastSnapshot] = { of: customer, payment, made };
  return made;
}

/** The five operations of C2A-01. Bodies come as they were sent: every rule about them is checked here. */
export function createCustomers({ repository, referenceData, digest, clock }: Dependencies) {
  const once = runOnce(digest, clock);
  const occasion = ({ keyId }: Caller, { requestId }: WriteConditions): WriteContext => ({
    keyId,
    requestId,
    now: clock(),
  });

  /** Whether an ExternalId is still free. Stores and reserves nothing. Answers BAD_REQUEST, INVALID_REQUEST. */
  function validate({ tenant }: Caller, body: unknown): MaybePromise<Outcome<{ readonly isAvailable: boolean }>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const violations: Violation[] = [];
    const given = readPatch(validateFields, body, '', referenceData, violations);
    violations.push(...missingFields(validateFields, merge(validateFields, {}, given), ''));
    if (violations.length > 0) return invalid(onePerField(violations));
    return andThen(repository.hasExternalId(tenant.id, given.externalId as ExternalId), (isHeld) =>
      completed({ isAvailable: !isHeld }),
    );
  }

  /**
   * Projects a new customer. Answers BAD_REQUEST, INVALID_REQUEST, the three conflicts, and what an
   * Idempotency-Key adds (see `runOnce`).
   */
  async function store(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<Customer>> {
    const { tenant } = caller;
    if (!hasCustomer(body)) return refusal('BAD_REQUEST');
    const violations = keyViolations(conditions.idempotencyKey);
    const change = readPatch(storeFields, body, '', referenceData, violations);
    const applied = applyChange(undefined, change, referenceData);
    if (!applied.ok) return invalid(onePerField([...violations, ...applied.violations]));
    if (violations.length > 0) return invalid(onePerField(violations));
    return once(tenant.id, conditions.idempotencyKey, ['store', change], async (key) =>
      toCustomer(await repository.store(tenant.id, applied.value, occasion(caller, conditions), key)),
    );
  }

  /**
   * Changes a customer by RFC 7396. One that changes nothing succeeds and leaves `updatedAt` alone. Answers
   * BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND (for an anonymised customer too), VERSION_MISMATCH, the three
   * conflicts, and what an Idempotency-Key adds.
   */
  async function update(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<Customer>> {
    const { tenant } = caller;
    if (!hasCustomer(body)) return refusal('BAD_REQUEST');
    const violations = keyViolations(conditions.idempotencyKey);
    const change = readPatch(updateFields, body, '', referenceData, violations);
    const by = named(change.customer?.customerUrn, change.customer?.externalIdentifier);
    if (by === undefined) return invalid(onePerField([...violations, ...missingName(violations)]));
    if (violations.length > 0) {
      // All violations at once: those of the merged record can only be seen with the record.
      const found = await repository.find(tenant.id, by);
      const applied = found && !isAnonymized(found.customer) && applyChange(found.customer, change, referenceData);
      return invalid(onePerField(applied && !applied.ok ? [...violations, ...applied.violations] : violations));
    }
    return once(tenant.id, conditions.idempotencyKey, ['update', change, conditions.ifMatch?.text], async (key) => {
      const asked = occasion(caller, conditions);
      const decide = (current: StoredCustomer | undefined): Decision => {
        if (current === undefined || isAnonymized(current.customer)) return { leave: 'CUSTOMER_NOT_FOUND' };
        if (conditions.ifMatch?.accepts(current.version) === false) return { leave: 'VERSION_MISMATCH' };
        const applied = applyChange(current.customer, change, referenceData);
        if (!applied.ok) return { refuse: applied.violations };
        if (sameContent(applied.value, current.customer)) return { leave: 'SUCCESS' };
        const { customerUrn, createdAt } = current.customer;
        return { write: { customerUrn, ...applied.value, createdAt, updatedAt: timestamp(asked.now) } };
      };
      return toCustomer(await repository.update(tenant.id, by, decide, asked, key));
    });
  }

  /**
   * Anonymises a customer (GDPR Art. 17); see `domain/deletion.ts`. On one that is anonymised already it succeeds
   * and changes nothing. Answers BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND, and what an Idempotency-Key adds.
   */
  async function remove(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<undefined>> {
    const { tenant } = caller;
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const violations = keyViolations(conditions.idempotencyKey);
    const { customerUuid, customerUrn, externalIdentifier } = readPatch(
      deleteFields,
      body,
      '',
      referenceData,
      violations,
    );
    const by = named(customerUuid ?? customerUrn, externalIdentifier);
    const given = { customerUuid, customerUrn, externalIdentifier };
    const names = Object.entries(given).filter(
      ([name, value]) => value != null || violations.some(({ field }) => field === name),
    );
    if (names.length !== 1 || (by === undefined && violations.length === 0)) {
      const message = `Exactly one of ${Object.keys(deleteFields).join(', ')} must be given.`;
      violations.push(violation('customerUuid', 'exactly_one', message));
    }
    if (by === undefined || violations.length > 0) return invalid(onePerField(violations));
    return once(tenant.id, conditions.idempotencyKey, ['delete', by], async (key) =>
      toNothing(await repository.erase(tenant.id, by, occasion(caller, conditions), key)),
    );
  }

  /** A customer as it is now, with what it may pay by. Answers INVALID_REQUEST, CUSTOMER_NOT_FOUND. */
  function info({ tenant }: Caller, query: { urn?: unknown; exId?: unknown }): MaybePromise<Outcome<Snapshot>> {
    const violations: Violation[] = [];
    // A URN wins: what is beside it is not even read.
    const { urn, exId } = query;
    const byUrn = readPatch(infoFields, { urn }, '', referenceData, violations);
    const by = named(byUrn.urn, byUrn.urn ? null : readPatch(infoFields, { exId }, '', referenceData, violations).exId);
    if (by === undefined && violations.length === 0) {
      violations.push(violation('urn', 'required', 'One of urn and exId is required.'));
    }
    if (by === undefined || violations.length > 0) return invalid(violations);
    return andThen(repository.find(tenant.id, by), (stored) =>
      stored === undefined ? refusal('CUSTOMER_NOT_FOUND') : snapshotOf(stored, tenant.payment),
    );
  }

  return { validate, store, update, remove, info };
}

const hasCustomer = (body: unknown): boolean => isObject(body) && body.customer != null;

/** How a request names its customer: the URN where it is given, else the ExternalId. */
function named(urn: string | null | undefined, externalId: string | null | undefined): CustomerReference | undefined {
  if (urn) return { urn: urn as CustomerUrn };
  return externalId ? { externalId: externalId as ExternalId } : undefined;
}

/** An update that names no record, unless a name was given and is itself at fault. */
function missingName(violations: readonly Violation[]): Violation[] {
  const names = ['customer', 'customer.customerUrn', 'customer.externalIdentifier'];
  const atFault = violations.some(({ field, code }) => names.includes(field) && code !== 'unknown_field');
  return atFault
    ? []
    : [violation('customer.customerUrn', 'required', 'One of customerUrn and externalIdentifier is required.')];
}

function toCustomer(answer: WriteResult): Outcome<Customer> {
  if (answer.code !== 'SUCCESS') return toRefusal(answer);
  const { customer, version } = answer.stored;
  return { ...completed(customer), version, ...replayedOf(answer) };
}

const toNothing = (answer: WriteResult): Outcome<undefined> =>
  answer.code === 'SUCCESS' ? { ...completed(undefined), ...replayedOf(answer) } : toRefusal(answer);

const toRefusal = (answer: Exclude<WriteResult, { code: 'SUCCESS' }>): Refusal =>
  answer.code === 'INVALID_REQUEST'
    ? invalid(onePerField(answer.violations))
    : { ...refusal(answer.code), ...replayedOf(answer) };

const replayedOf = ({ replayed }: WriteResult) => (replayed ? { replayed: true } : undefined);
