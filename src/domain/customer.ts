import {
  choice,
  flag,
  format,
  group,
  isRequired,
  merge,
  missingFields,
  type Patch,
  required,
  text,
  type Values,
  violation,
} from './field-schema.ts';
import { type CustomerUrn, canonicalEmail, type ExternalId, type UniqueKeys } from './identity.ts';
import type { ReferenceData } from './reference-data.ts';
import { accepted, type Parsed, refused } from './violations.ts';

/**
 * Every field of a customer that a caller may send. To add one, add a line here: parsing, merging, storage, the
 * published schema and anonymisation (which keeps only what `deletion.ts` names) follow.
 */
export const customerFields = {
  externalIdentifier: required(
    format(
      'externalId',
      "The tenant's own identifier of the customer: 1 to 128 characters, trimmed and in Unicode NFC, then compared byte for byte.",
    ),
  ),
  email: format('email', 'RFC 5321 mailbox; unique within the tenant in its canonical form.'),
  phoneNumber: format('phoneNumber', 'Phone number, stored in E.164; unique within the tenant.'),
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
      'Consents; absent means false.',
    ),
    always: true,
  },
  status: {
    ...choice(['Active', 'Inactive', 'Churned', 'Blocked'], 'The status that the tenant asserts.'),
    fallback: 'Active',
  },
} as const;

const regionFields = {
  countryCode: required(format('countryCode', 'ISO 3166-1 alpha-2.')),
  languageCode: required(format('languageCode', 'ISO 639-1.')),
} as const;

const regionMeaning = 'The region that the customer claims; national phone numbers are read in it.';

/** The body of a store. */
export const storeFields = {
  customer: required(group(customerFields, 'The customer to project.')),
  claimedRegion: required(group(regionFields, regionMeaning)),
} as const;

/** The body of an update: the same fields, and what names the record. */
export const updateFields = {
  customer: required(
    group(
      { customerUrn: format('customerUrn', 'Names the record; else externalIdentifier does.'), ...customerFields },
      'The fields to change; null removes one.',
    ),
  ),
  claimedRegion: group(regionFields, regionMeaning),
} as const;

type CustomerFields = Values<typeof customerFields>;
export type ClaimedRegion = Values<typeof regionFields>;
export type CustomerChange = Patch<typeof storeFields>;

/** What `deletion.ts` alone may set. */
export const anonymizedStatus = 'Anonymized';

/** What there is to store of a customer before it has an identifier of ours. */
export interface CustomerContent extends Omit<CustomerFields, 'status'> {
  readonly status: CustomerFields['status'] | typeof anonymizedStatus;
  readonly claimedRegion: ClaimedRegion;
}

/** The canonical record. Timestamps are ISO 8601, UTC, with milliseconds. */
export interface Customer extends CustomerContent {
  readonly customerUrn: CustomerUrn;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly anonymizedAt?: string;
}

/**
 * The record that results from a change to `current` (undefined for a new customer), by the rules that hold for
 * the whole record. Applying an empty change gives an equal record.
 */
export function applyChange(
  current: CustomerContent | undefined,
  change: CustomerChange,
  referenceData: ReferenceData,
): Parsed<CustomerContent> {
  const record = current && { customer: current as CustomerFields, claimedRegion: current.claimedRegion };
  const merged = merge(storeFields, record ?? {}, change) as MergedBody;
  const violations = missingFields(storeFields, merged, '');
  const { customer = {}, claimedRegion } = merged;
  if (customer.legalType === 'Corporate' && customer.corporationInfo === undefined) {
    violations.push(isRequired('customer.corporationInfo'));
  }
  let { phoneNumber } = customer;
  const dialled = change.customer?.phoneNumber;
  // An international number needs no country; a national one can only be read in one.
  if (dialled && (claimedRegion?.countryCode !== undefined || dialled.includes('+'))) {
    phoneNumber = referenceData.phoneNumber(dialled, claimedRegion?.countryCode);
    if (phoneNumber === undefined) {
      violations.push(violation('customer.phoneNumber', 'invalid_format', 'Must be a possible phone number (E.164).'));
    }
  }
  if (violations.length > 0) return refused(...violations);
  // Setting a member that is there keeps the table's order.
  const fields = (phoneNumber === undefined ? customer : { ...customer, phoneNumber }) as CustomerFields;
  return accepted({ ...fields, claimedRegion: claimedRegion as ClaimedRegion });
}

type MergedBody = {
  readonly customer?: Partial<CustomerFields>;
  readonly claimedRegion?: Partial<ClaimedRegion>;
};

/** A customer at its first version. @param now milliseconds since 1970 */
export function newCustomer(content: CustomerContent, customerUrn: CustomerUrn, now: number): Customer {
  const createdAt = timestamp(now);
  return { customerUrn, ...content, createdAt, updatedAt: createdAt };
}

/** ISO 8601, UTC, milliseconds. @param now milliseconds since 1970 */
export const timestamp = (now: number): string => new Date(now).toISOString();

/** The values by which a customer is unique; undefined for an anonymised one, which claims none. */
export function uniqueKeysOf(content: CustomerContent, referenceData: ReferenceData): UniqueKeys | undefined {
  if (content.status === anonymizedStatus) return undefined;
  const email = content.email === undefined ? undefined : canonicalEmail(content.email, referenceData);
  return {
    externalId: content.externalIdentifier as ExternalId,
    ...(email !== undefined && { email }),
    ...(content.phoneNumber !== undefined && { phoneNumber: content.phoneNumber }),
  };
}

/** Whether two records say the same. Both come from `applyChange`, so equal content has equal JSON. */
export function sameContent(one: CustomerContent, other: CustomerContent): boolean {
  return JSON.stringify(contentOf(one)) === JSON.stringify(contentOf(other));
}

const contentNames = [...Object.keys(customerFields), 'claimedRegion'] as (keyof CustomerContent)[];

/** The content of a record, in the table's order, without what we add to it. */
export function contentOf(customer: CustomerContent): CustomerContent {
  const content: Record<string, unknown> = {};
  for (const name of contentNames) {
    if (customer[name] !== undefined) content[name] = customer[name];
  }
  return content as unknown as CustomerContent;
}
