import { type Customer, sourceRevision } from '../domain/customer.ts';
import { format, isObject, readObject, required } from '../domain/field-schema.ts';
import type { CustomerUrn } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { keyViolations, type RunOnce } from './idempotency.ts';
import { invalid, type Outcome, refusal } from './outcome.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';
import { showCustomer, toOutcome, type WriteConditions, type WriteSettings, writeContext } from './write-requests.ts';

/** The body of `merge`. */
export const mergeFields = {
  from: required(format('customerUrn', 'The customer that is merged. It is anonymized; its ExternalId finds `into`.')),
  into: required(format('customerUrn', 'The customer that stays as it is.')),
  sourceRevision,
} as const;

interface Dependencies extends WriteSettings {
  readonly repository: CustomerRepository;
  readonly referenceData: ReferenceData;
  readonly runOnce: RunOnce;
}

/** Merges customers that the tenant's system has found to be the same. */
export class Merges {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Merges the customer `from` into the customer `into`; see {@link CustomerRepository.merge}. Returns the record of
   * `into`. Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND (of either; also if it is anonymized, or `from`
   * was merged into another customer), those of {@link RunOnce}; with a source revision also STALE_REVISION.
   */
  async merge(caller: Caller, body: unknown, conditions: WriteConditions): Promise<Outcome<Customer>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData } = this.#dependencies;
    const { idempotencyKey } = conditions;
    const violations = keyViolations(idempotencyKey);
    const request = readObject(mergeFields, body, referenceData);
    if (!request.ok) return invalid(onePerField([...violations, ...request.violations]));
    const { from, into, sourceRevision: revision } = request.value;
    if (from === into) violations.push(violation('into', 'invalid_value', 'Must be another customer than from.'));
    if (violations.length > 0) return invalid(onePerField(violations));
    const { id } = caller.tenant;
    return this.#dependencies.runOnce(id, idempotencyKey, ['merge', from, into, revision], async (key) => {
      const context = writeContext(this.#dependencies, caller, conditions, revision);
      const merged = await repository.merge(id, from as CustomerUrn, into as CustomerUrn, context, key);
      return toOutcome(merged, showCustomer);
    });
  }
}
