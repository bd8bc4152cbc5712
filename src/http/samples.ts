/**
 * The published samples: examples of the documentation, and the requests of the Postman collection. Tests send the
 * requests and compare the answers.
 */
import { retentionGrounds } from '../domain/anonymization.ts';

const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
const fields = {
  externalIdentifier: 'crm-9981273',
  email: 'jane.doe@example.com',
  phoneNumber: '+491701234567',
  salutation: 'Ms.',
  firstName: 'Jane',
  lastName: 'Doe',
  gender: 'Female',
  legalType: 'Individual',
  primaryBillingAddress: {
    street: 'Hauptstraße 1',
    city: 'Berlin',
    postalCode: '10115',
    countryCode: 'DE',
  },
};
const customer = {
  customerUrn: 'cu.00.482',
  ...fields,
  privacy: {
    emailConsent: true,
    smsConsent: false,
    phoneConsent: false,
    pushConsent: false,
    profilingConsent: false,
  },
  status: 'Active',
  claimedRegion,
  createdAt: '2026-01-15T09:30:00.000Z',
  updatedAt: '2026-01-15T09:30:00.000Z',
};

const updated = { ...customer, email: 'jane.new@example.com', updatedAt: '2026-02-01T12:00:00.000Z' };

export const samples = {
  tenant: 'acme',
  validate: { externalId: fields.externalIdentifier },
  store: {
    customer: { ...fields, phoneNumber: '+49 170 1234567', privacy: { emailConsent: true } },
    claimedRegion,
  },
  delete: { customerUuid: customer.customerUrn },
  update: { customer: { customerUrn: customer.customerUrn, email: updated.email } },
  info: { urn: customer.customerUrn },
  customer,
  updated,
  snapshot: { ...updated, options: { availableChannels: ['CARD', 'SEPA'], canSavePaymentMethod: true } },
  receiptOf: { urn: customer.customerUrn },
  erasure: {
    receipt: {
      receiptVersion: 1,
      tenant: 'acme',
      customerUrn: customer.customerUrn,
      erasedAt: '2026-02-01T08:00:00.000Z',
      keyId: 'f3kQ9xLw2bTn',
      requestId: '0b8e2f0c-6f1e-4c0e-9f77-1f0a6f0f6d11',
      rewritten: ['externalIdentifier', 'email', 'phoneNumber', 'firstName', 'lastName', 'status'],
      kept: retentionGrounds(customer),
      dataKeyDestroyed: true,
      residualScan: {
        scannedAt: '2026-02-02T10:15:00.000Z',
        clean: true,
        findings: [{ place: 'keys: data keys', found: 0 }],
        unseen: ['copies that were made of the files: backups, snapshots, replicas'],
      },
    },
    signature: {
      algorithm: 'Ed25519',
      publicKey: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
      value: '5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw',
    },
  },
} as const;

/** For each operation a request that breaks field rules, and everything that it is told. */
export const brokenRules = {
  validate: {
    request: { externalID: 'crm-9981273' },
    errors: [
      { field: 'externalID', code: 'unknown_field', message: 'Is not a field of this request.' },
      { field: 'externalId', code: 'required', message: 'Is required.' },
    ],
  },
  store: {
    request: { customer: { ...fields, email: 'jane.doe@' }, claimedRegion: { ...claimedRegion, countryCode: 'XX' } },
    errors: [
      {
        field: 'customer.email',
        code: 'invalid_format',
        message: 'Must be an e-mail address (RFC 5321) of at most 254 bytes.',
      },
      {
        field: 'claimedRegion.countryCode',
        code: 'invalid_value',
        message: 'Must be an ISO 3166-1 alpha-2 country code.',
      },
    ],
  },
  delete: {
    request: {},
    errors: [
      {
        field: 'customerUuid',
        code: 'exactly_one',
        message: 'Exactly one of customerUuid, customerUrn, externalIdentifier must be given.',
      },
    ],
  },
  update: {
    request: { customer: { firstName: 'Jane' } },
    errors: [
      {
        field: 'customer.customerUrn',
        code: 'required',
        message: 'One of customerUrn and externalIdentifier is required.',
      },
    ],
  },
  info: {
    request: {},
    errors: [{ field: 'urn', code: 'required', message: 'One of urn and exId is required.' }],
  },
  erasure: {
    request: {},
    errors: [{ field: 'urn', code: 'required', message: 'Is required.' }],
  },
} as const;
