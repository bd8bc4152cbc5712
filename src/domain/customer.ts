import {
  choice,
  flag,
  format,
  group,
  merge,
  missingFields,
  type Patch,
  required,
  revision,
  text,
  type Values,
} from './field-schema.ts';
import { type CustomerUrn, canonicalEmail, type ExternalId, type UniqueKeys } from './identity.ts';
import type { ReferenceData } from './reference-data.ts';
import { accepted, type Parsed, refused, requiredViolation, type Violation, violation } from './violations.ts';

/**
 * Every field of a customer that a caller may send. To add a field, add a line here: parsing, merging, storage, the
 * published schema and anonymization derive from it. Anonymization removes it, unless `anonymization.ts` names it.
 */
export const customerFields = {
  externalIdentifier: required(
    format(
      'externalId',
      "The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte.",
    ),
  ),
  email: format('email', 'RFC 5321 mailbox; unique within the tenant in its canonical form.'),
  phoneNumber: format('phoneNumber', 'Phone number, returned in E.164; unique within the tenant.'),
  salutation: text(32, 'Form of address.'),
  firstName: text(128, 'Given name.'),
  lastName: text(128, 'Family name.'),
  gender: choice(['Female', 'Male', 'Diverse', 'Unspecified'], 'Gender.'),
  legalType: { ...choice(['Individual', 'Corporate'], 'Natural or legal person.'), fallback: 'Individual' },
  primaryBillingAddress: group(
    {
      street: text(128, 'Street and house number.'),
      street2: text(128, 'Second line of the address.'),
      city: text(128, 'City.'),
      postalCode: text(128, 'Postal code.'),
      state: text(128, 'State or province.'),
      countryCode: required(format('countryCode', 'ISO 3166-1 alpha-2.')),
    },
    'Postal address for bills.',
  ),
  corporationInfo: group(
    {
      companyName: required(text(128, 'Registered name.')),
      taxNumber: text(128, 'Tax number.'),
      taxOffice: text(128, 'Tax office.'),
      registrationNumber: text(128, 'Number in the commercial register.'),
    },
    'Required where legalType is Corporate.',
  ),
  privacy: {
    ...group(
      {
        emailConsent: flag('May be contacted by e-mail.'),
        smsConsent: flag('May be contacted by SMS.'),
        phoneConsent: flag('May be called.'),
        pushConsent: flag('May be sent push notifications.'),
        profilingConsent: flag('May be profiled.'),
      },
      'Consents to be contacted.',
    ),
    always: true,
  },
  status: {
    ...choice(['Active', 'Inactive', 'Churned', 'Blocked'], 'The status that the tenant asserts.'),
    fallback: 'Active',
  },
} as const;

const claimedRegion = group(
  {
    countryCode: required(format('countryCode', 'ISO 3166-1 alpha-2.')),
    languageCode: required(format('languageCode', 'ISO 639-1.')),
  },
  'The region that the customer claims; national phone numbers are read in it.',
);

/** The revision of a request; see `source-revision.ts`. */
export const sourceRevision = revision(
  "A number that grows with every change of the customer in the tenant's system, such as a row version or a change time.",
);

/** The body of `store`. */
export const storeFields = {
  customer: required(group(customerFields, 'The customer to project.')),
  claimedRegion: required(claimedRegion),
  sourceRevision,
} as const;

/** The body of `sync`: the fields of `store`, and the CustomerUrn. */
export const syncFields = {
  ...storeFields,
  customer: required(
    group(
      {
        customerUrn: format('customerUrn', 'Names the record, so that externalIdentifier can change.'),
        ...customerFields,
      },
      'The whole customer: a field that is absent is removed.',
    ),
  ),
} as const;

/** The body of `update`: the fields of `store`, and the CustomerUrn. */
export const updateFields = {
  customer: required(
    group(
      { customerUrn: format('customerUrn', 'Names the record; else externalIdentifier does.'), ...customerFields },
      'The fields to change; null removes one.',
    ),
  ),
  claimedRegion,
  sourceRevision,
} as const;

type CustomerFields = Values<typeof customerFields>;
export type ClaimedRegion = Values<typeof claimedRegion.fields>;
export type CustomerChange = Patch<typeof storeFields>;

/** A status that callers cannot send; only `anonymization.ts` sets it. */
export const anonymizedStatus = 'Anonymized';

/** The content of a customer: everything but its CustomerUrn and times. */
export interface CustomerContent extends Omit<CustomerFields, 'status'> {
  readonly status: CustomerFields['status'] | typeof anonymizedStatus;
  readonly claimedRegion: ClaimedRegion;
  /** The revision of the tenant's system that this content has, if a request named one. */
  readonly sourceRevision?: number;
}

/** The canonical record. Timestamps are ISO 8601, UTC, with milliseconds. */
export interface Customer extends CustomerContent {
  readonly customerUrn: CustomerUrn;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly anonymizedAt?: string;
  /** Of an anonymized customer: the one into which it was merged. Absent if it was erased. */
  readonly mergedInto?: CustomerUrn;
}

/**
 * Applies a change and checks the rules of the whole record. An empty change results in an equal record.
 *
 * @param current undefined for a new customer
 */
export function applyChange(
  current: CustomerContent | undefined,
  change: CustomerChange,
  referenceData: ReferenceData,
): Parsed<CustomerContent> {
  const record = current && { customer: current as CustomerFields, claimedRegion: current.claimedRegion };
  const merged = merge(storeFields, record ?? {}, change);
  const violations = missingFields(storeFields, merged, '');
  const { customer, claimedRegion } = merged;
  if (customer?.legalType === 'Corporate' && customer.corporationInfo === undefined) {
    violations.push(requiredViolation('customer.corporationInfo'));
  }
  const dialled = change.customer?.phoneNumber;
  // A stored number is always accepted: the rules of its country may have changed since.
  const phoneNumber =
    dialled && dialled !== current?.phoneNumber
      ? internationalNumber(dialled, claimedRegion?.countryCode, 'customer.phoneNumber', referenceData, violations)
      : customer?.phoneNumber;
  if (violations.length > 0 || customer === undefined || claimedRegion === undefined) return refused(violations);
  // `customer` already has `phoneNumber`, so assigning it again keeps the order of the field table.
  // A request without a revision, or with null, leaves the stored one alone.
  const sourceRevision = change.sourceRevision ?? current?.sourceRevision;
  return accepted({
    ...customer,
    ...(phoneNumber !== undefined && { phoneNumber }),
    claimedRegion,
    ...(sourceRevision !== undefined && { sourceRevision }),
  });
}

/**
 * The number in E.164. Undefined if it is not a possible number, which adds a violation, or if it needs a country and
 * `countryCode` is undefined, which the caller reports.
 *
 * @param dialled see `dialledNumber`
 * @param path the path of the number in the request
 */
export function internationalNumber(
  dialled: string,
  countryCode: string | undefined,
  path: string,
  referenceData: ReferenceData,
  violations: Violation[],
): string | undefined {
  if (countryCode === undefined && !dialled.includes('+')) return undefined;
  const phoneNumber = referenceData.phoneNumber(dialled, countryCode);
  if (phoneNumber === undefined) {
    violations.push(
      violation(path, 'invalid_format', 'Must be a possible phone number; write it in E.164, such as +491701234567.'),
    );
  }
  return phoneNumber;
}

/** The first version of a customer. @param now milliseconds since 1970 */
export function newCustomer(content: CustomerContent, customerUrn: CustomerUrn, now: number): Customer {
  const createdAt = timestamp(now);
  return { customerUrn, ...content, createdAt, updatedAt: createdAt };
}

/** ISO 8601, UTC, milliseconds. @param now milliseconds since 1970 */
export const timestamp = (now: number): string => new Date(now).toISOString();

/** The unique keys of a customer. Undefined for an anonymized customer, which has none. */
export function uniqueKeysOf(content: CustomerContent, referenceData: ReferenceData): UniqueKeys | undefined {
  if (content.status === anonymizedStatus) return undefined;
  const email = content.email === undefined ? undefined : canonicalEmail(content.email, referenceData);
  return {
    externalId: content.externalIdentifier as ExternalId,
    ...(email !== undefined && { email }),
    ...(content.phoneNumber !== undefined && { phoneNumber: content.phoneNumber }),
  };
}

/** The names of the content fields, in the order of the field table. */
export const contentNames = [...Object.keys(customerFields), 'claimedRegion'] as readonly (keyof CustomerContent)[];

/** The content of a record, without its CustomerUrn and times, in the order of the field table; then the revision. */
export function contentOf(customer: CustomerContent): CustomerContent {
  const content: Record<string, unknown> = {};
  for (const name of contentNames) {
    if (customer[name] !== undefined) content[name] = customer[name];
  }
  if (customer.sourceRevision !== undefined) content.sourceRevision = customer.sourceRevision;
  return content as unknown as CustomerContent;
}

/** Whether two contents have the same unique keys, character for character. */
export const hasSameUniqueKeys = (one: CustomerContent, other: CustomerContent): boolean =>
  one.externalIdentifier === other.externalIdentifier &&
  one.email === other.email &&
  one.phoneNumber === other.phoneNumber;
