import { internationalNumber, timestamp } from '../domain/customer.ts';
import { format, isObject, type Patch, readPatch } from '../domain/field-schema.ts';
import { canonicalEmail } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, type Violation, violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { type ShownEvent, showEvent } from './change-event-view.ts';
import { exactlyOne, findUrn, isGiven, readReference } from './customer-reference.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { Access, AccessRecords } from './ports/access-records.ts';
import type { Clock } from './ports/clock.ts';
import type { ContactReference, CustomerRepository } from './ports/customer-repository.ts';
import type { ReferenceRepository } from './ports/references.ts';
import { type Snapshot, showSnapshot } from './snapshot.ts';

/** Why somebody looks at a person. */
export const accessReference = format(
  'asciiIdentifier',
  "The tenant's own case number: the reason, kept in the history of the customer.",
);

/** The two forms of the body of `find`, by their required field. */
export const findForms = {
  email: { email: format('email', 'The e-mail address, compared in its canonical form.'), reference: accessReference },
  phoneNumber: {
    phoneNumber: format('phoneNumber', 'The phone number, compared in E.164.'),
    countryCode: format('countryCode', 'ISO 3166-1 alpha-2: the country in which a number without "+" is read.'),
    reference: accessReference,
  },
} as const;
const findFields = { ...findForms.email, ...findForms.phoneNumber };

/** An access, with its time in ISO 8601, UTC, milliseconds. */
export type ShownAccess = Omit<Access, 'at' | 'customerUrn'> & { readonly at: string };
/** What was done to a customer, and who looked at it; both oldest first. */
export interface History {
  readonly changes: readonly ShownEvent[];
  readonly accesses: readonly ShownAccess[];
}

interface Dependencies {
  readonly repository: CustomerRepository;
  readonly accessRecords: AccessRecords;
  readonly references: Pick<ReferenceRepository, 'find'>;
  readonly referenceData: ReferenceData;
  readonly clock: Clock;
}

/** Looks up customers. */
export class LookUp {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * The current record of the customer with an e-mail address or a phone number, as `Customers.info` returns it. An erased
   * customer has neither. Records the access. Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND.
   */
  async find(
    { tenant, keyId }: Pick<Caller, 'tenant' | 'keyId'>,
    body: unknown,
    requestId: string,
  ): Promise<Outcome<Snapshot>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const { references, accessRecords, referenceData, clock } = this.#dependencies;
    const violations: Violation[] = [];
    const given = readPatch(findFields, body, '', referenceData, violations);
    const by = contactOf(given, referenceData, violations);
    if (by === undefined || violations.length > 0) return invalid(onePerField(violations));
    const found = await references.find(tenant.id, by);
    if (found !== undefined) {
      const { customerUrn } = found.stored.customer;
      const why = given.reference ? { reference: given.reference } : {};
      const access = { customerUrn, at: clock(), operation: 'find', actor: { keyId, requestId }, ...why } as const;
      await accessRecords.add(tenant.id, access);
    }
    return showSnapshot(tenant, found);
  }

  /**
   * The change events of a customer, without values of fields, and the accesses to it. An erased customer is found by its
   * URN. Refusals: INVALID_REQUEST, CUSTOMER_NOT_FOUND.
   */
  async history(
    { tenant }: Pick<Caller, 'tenant'>,
    { urn: byUrn, exId }: { readonly urn?: unknown; readonly exId?: unknown },
  ): Promise<Outcome<History>> {
    const { repository, accessRecords, referenceData } = this.#dependencies;
    const by = readReference({ urn: byUrn, exId }, referenceData);
    if (!by.ok) return invalid(by.violations);
    const urn = await findUrn(repository, tenant.id, by.value);
    const events = urn === undefined ? [] : await repository.history(tenant.id, urn);
    if (urn === undefined || events.length === 0) return refusal('CUSTOMER_NOT_FOUND');
    const accesses = await accessRecords.list(tenant.id, urn);
    return completed({
      changes: events.map(showEvent),
      accesses: accesses.map(({ customerUrn: _, at, ...access }) => ({ at: timestamp(at), ...access })),
    });
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
