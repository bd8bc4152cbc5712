import { internationalNumber, timestamp } from '../domain/customer.ts';
import { format, isObject, type Patch, readPatch } from '../domain/field-schema.ts';
import { canonicalEmail } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, type Violation, violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { exactlyOne, findUrn, isGiven, readReference } from './customer-reference.ts';
import { andThen, type MaybePromise } from './maybe-promise.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { ChangeEvent } from './ports/change-events.ts';
import type { ContactReference, CustomerRepository } from './ports/customer-repository.ts';
import { type Snapshot, showSnapshot } from './snapshot.ts';

/** The two forms of the body of `find`, by their required field. */
export const findForms = {
  email: { email: format('email', 'The e-mail address, compared in its canonical form.') },
  phoneNumber: {
    phoneNumber: format('phoneNumber', 'The phone number, compared in E.164.'),
    countryCode: format('countryCode', 'ISO 3166-1 alpha-2: the country in which a number without "+" is read.'),
  },
} as const;
const findFields = { ...findForms.email, ...findForms.phoneNumber };

/** A change event, with its time in ISO 8601, UTC, milliseconds. */
export type HistoryEvent = Omit<ChangeEvent, 'at'> & { readonly at: string };

interface Dependencies {
  readonly repository: CustomerRepository;
  readonly referenceData: ReferenceData;
}

/** Looks up customers. Writes nothing. */
export class LookUp {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * The current record of the customer with an e-mail address or a phone number, as `Customers.info` returns it. An erased
   * customer has neither. Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND.
   */
  find({ tenant }: Pick<Caller, 'tenant'>, body: unknown): MaybePromise<Outcome<Snapshot>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const { repository, referenceData } = this.#dependencies;
    const violations: Violation[] = [];
    const given = readPatch(findFields, body, '', referenceData, violations);
    const by = contactOf(given, referenceData, violations);
    if (by === undefined || violations.length > 0) return invalid(onePerField(violations));
    return andThen(repository.find(tenant.id, by), (stored) => showSnapshot(tenant, stored));
  }

  /**
   * The change events of a customer, oldest first, without values of fields. An erased customer is found by its URN.
   * Refusals: INVALID_REQUEST, CUSTOMER_NOT_FOUND.
   */
  async history(
    { tenant }: Pick<Caller, 'tenant'>,
    query: { readonly urn?: unknown; readonly exId?: unknown },
  ): Promise<Outcome<readonly HistoryEvent[]>> {
    const { repository, referenceData } = this.#dependencies;
    const by = readReference(query, referenceData);
    if (!by.ok) return invalid(by.violations);
    const urn = await findUrn(repository, tenant.id, by.value);
    const events = urn === undefined ? [] : await repository.history(tenant.id, urn);
    if (events.length === 0) return refusal('CUSTOMER_NOT_FOUND');
    return completed(events.map((event) => ({ ...event, at: timestamp(event.at) })));
  }
}

/** The contact data in canonical form. Undefined if the request has a violation; adds those that are not of one field. */
function contactOf(
  given: Patch<typeof findFields>,
  referenceData: ReferenceData,
  violations: Violation[],
): ContactReference | undefined {
  const { email, phoneNumber: dialled, countryCode } = given;
  const name = exactlyOne(['email', 'phoneNumber'], given, violations);
  if (name === 'email' && isGiven(given, 'countryCode')) {
    violations.push(violation('countryCode', 'unknown_field', 'Is a field of a request by phone number only.'));
  }
  // A value that broke the rule of its field is undefined.
  if (name === 'email' && email) return { email: canonicalEmail(email, referenceData) as string };
  if (name === undefined || !dialled) return undefined;
  if (!countryCode && !dialled.includes('+')) {
    const message = 'Is required for a phone number without "+" and country calling code.';
    violations.push(violation('countryCode', 'required', message));
    return undefined;
  }
  const phoneNumber = internationalNumber(dialled, countryCode ?? undefined, 'phoneNumber', referenceData, violations);
  return phoneNumber === undefined ? undefined : { phoneNumber };
}
