import { timestamp } from '../domain/customer.ts';
import { isObject, readObject, type Values } from '../domain/field-schema.ts';
import type { CustomerUrn } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { referenceFields } from '../domain/references.ts';
import type { Caller } from './authentication.ts';
import { findUrn, readReference } from './customer-reference.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { Clock } from './ports/clock.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';
import type { ReferenceRepository, StoredReference } from './ports/references.ts';

/** A reference as it is shown. Times are ISO 8601, UTC, milliseconds. */
export interface Reference extends Values<typeof referenceFields> {
  readonly createdAt: string;
  readonly updatedAt: string;
}

interface Dependencies {
  readonly repository: Pick<CustomerRepository, 'find'>;
  readonly references: Pick<ReferenceRepository, 'bind' | 'list'>;
  readonly referenceData: ReferenceData;
  readonly clock: Clock;
}

/** What the flows behind the service bind to customers. */
export class References {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Binds a reference to a customer, or sets the state of one that it has; see {@link ReferenceRepository.bind}. Refusals:
   * BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND, CUSTOMER_ANONYMIZED, REFERENCE_OF_ANOTHER_CUSTOMER.
   */
  async bind({ tenant }: Pick<Caller, 'tenant'>, body: unknown): Promise<Outcome<Reference>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const { references, referenceData, clock } = this.#dependencies;
    const sent = readObject(referenceFields, body, referenceData);
    if (!sent.ok) return invalid(sent.violations);
    const wanted = { ...sent.value, customerUrn: sent.value.customerUrn as CustomerUrn };
    const bound = await references.bind(tenant.id, wanted, clock());
    return bound.code === 'SUCCESS' ? completed(showReference(bound.stored)) : refusal(bound.code);
  }

  /**
   * The references of a customer, ordered by kind and reference. An erased customer is found by its URN. Refusals:
   * INVALID_REQUEST, CUSTOMER_NOT_FOUND.
   */
  async list(
    { tenant }: Pick<Caller, 'tenant'>,
    query: { readonly urn?: unknown; readonly exId?: unknown },
  ): Promise<Outcome<{ readonly references: readonly Reference[] }>> {
    const { repository, references, referenceData } = this.#dependencies;
    const by = readReference(query, referenceData);
    if (!by.ok) return invalid(by.violations);
    const urn = await findUrn(repository, tenant.id, by.value);
    const found = urn && (await references.list(tenant.id, urn));
    return found === undefined ? refusal('CUSTOMER_NOT_FOUND') : completed({ references: found.map(showReference) });
  }
}

export const showReference = ({
  customerUrn,
  kind,
  reference,
  state,
  createdAt,
  updatedAt,
}: StoredReference): Reference => ({
  customerUrn,
  kind,
  reference,
  state,
  createdAt: timestamp(createdAt),
  updatedAt: timestamp(updatedAt),
});
