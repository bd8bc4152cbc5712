import { parseAnonymizedExternalId } from '../domain/anonymization.ts';
import { format, type Patch, readObject, readPatch, required } from '../domain/field-schema.ts';
import { type CustomerUrn, type ExternalId, parseCustomerUrn, type TenantId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { accepted, type Parsed, refused, type Violation, violation } from '../domain/violations.ts';
import type { CustomerReference, CustomerRepository } from './ports/customer-repository.ts';

/** The fields of a body that refers to one customer; see {@link exactlyOneReference}. */
export const customerReferenceFields = {
  customerUuid: format('customerUrn', 'The CustomerUrn; the name of the field is historical.'),
  customerUrn: format('customerUrn', 'The CustomerUrn.'),
  externalIdentifier: format('externalReference', "The tenant's own identifier of the customer."),
} as const;

/**
 * The customer that a body refers to. Undefined if the body has a violation of one of the fields, or if not exactly one
 * of them is given, which adds a violation.
 *
 * @param given the body as parsed; it may have other fields too
 * @param violations those of the whole body
 * @param path the object in the body that has the fields; absent if it is the body itself
 */
export function exactlyOneReference(
  given: Patch<typeof customerReferenceFields>,
  violations: Violation[],
  path?: string,
): CustomerReference | undefined {
  const names = Object.keys(customerReferenceFields) as (keyof typeof customerReferenceFields)[];
  return exactlyOne(names, given, violations, path) === undefined
    ? undefined
    : referenceOf(given.customerUuid ?? given.customerUrn, given.externalIdentifier);
}

/**
 * The only one of these fields that is given. Undefined if not exactly one is, which adds a violation.
 *
 * @param path the violation's field; absent for the first of the fields
 */
export function exactlyOne<Name extends string>(
  names: readonly Name[],
  given: Readonly<Partial<Record<Name, unknown>>>,
  violations: Violation[],
  path: string = names[0] as Name,
): Name | undefined {
  const [name, another] = names.filter((name) => isGiven(given, name));
  if (name !== undefined && another === undefined) return name;
  violations.push(violation(path, 'exactly_one', `Exactly one of ${names.join(', ')} must be given.`));
  return undefined;
}

/** Whether a parsed body has a value for the field. A value that broke a rule is undefined there, and counts as given. */
export const isGiven = <Name extends string>(given: Readonly<Partial<Record<Name, unknown>>>, name: Name): boolean =>
  name in given && given[name] !== null;

/** The fields of a query that refers to one customer; see {@link readReference}. */
export const referenceQueryFields = {
  urn: format('customerUrn', 'The CustomerUrn; wins where both are given.'),
  exId: format('externalReference', "The tenant's own identifier of the customer."),
} as const;

/** The customer that a query refers to. The URN takes precedence; an ExternalId sent with it is not checked. */
export function readReference(
  { urn, exId }: { readonly urn?: unknown; readonly exId?: unknown },
  referenceData: ReferenceData,
): Parsed<CustomerReference> {
  const violations: Violation[] = [];
  const byUrn = readPatch(referenceQueryFields, { urn }, '', referenceData, violations).urn;
  const byId = byUrn ? null : readPatch(referenceQueryFields, { exId }, '', referenceData, violations).exId;
  const by = referenceOf(byUrn, byId);
  if (by === undefined && violations.length === 0) {
    violations.push(violation('urn', 'required', 'One of urn and exId is required.'));
  }
  return by === undefined || violations.length > 0 ? refused(violations) : accepted(by);
}

/** The CustomerUrn of the customer. Undefined if no customer has the ExternalId: an erasure erases the ExternalId too. */
export async function findUrn(
  repository: Pick<CustomerRepository, 'find'>,
  tenant: TenantId,
  by: CustomerReference,
): Promise<CustomerUrn | undefined> {
  return 'urn' in by ? by.urn : (await repository.find(tenant, by))?.customer.customerUrn;
}

/** A text that names a customer is a CustomerUrn or an ExternalId, so it has the length and characters of either. */
const nameFields = { name: required(customerReferenceFields.externalIdentifier) };

/**
 * The customer that a text names: by a CustomerUrn, by the ExternalId of an anonymized record (which contains the
 * CustomerUrn), or by any other ExternalId. Undefined if the text is none of them. No ExternalId begins with `cu.`.
 */
export function parseReference(text: string, referenceData: ReferenceData): CustomerReference | undefined {
  const parsed = readObject(nameFields, { name: text }, referenceData);
  if (!parsed.ok) return undefined;
  const { name } = parsed.value;
  const urn = parseCustomerUrn(name) ?? parseAnonymizedExternalId(name);
  return urn === undefined && name.startsWith('cu.') ? undefined : referenceOf(urn, name);
}

/** A reference by URN if there is one, else by ExternalId. Undefined if both are missing. */
export function referenceOf(
  urn: string | null | undefined,
  externalId: string | null | undefined,
): CustomerReference | undefined {
  if (urn) return { urn: urn as CustomerUrn };
  return externalId ? { externalId: externalId as ExternalId } : undefined;
}
