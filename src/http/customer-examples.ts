/** The examples of the customer operations. The API description and the Postman collection contain them; tests run them. */

/** The example customer as sent by its tenant. */
const sent = {
  externalIdentifier: 'crm-9981273',
  email: 'jane.doe@example.com',
  phoneNumber: '+491701234567',
  salutation: 'Ms.',
  firstName: 'Jane',
  lastName: 'Doe',
  gender: 'Female',
  legalType: 'Individual',
  primaryBillingAddress: { street: 'Hauptstraße 1', city: 'Berlin', postalCode: '10115', countryCode: 'DE' },
};
const claimedRegion = { countryCode: 'DE', languageCode: 'de' };

/** The example customer after `store`. */
export const customerExample = {
  customerUrn: 'cu.00.482',
  ...sent,
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
const updated = { ...customerExample, email: 'jane.new@example.com', updatedAt: '2026-02-01T12:00:00.000Z' };

/** By operation: a request and its result, and an invalid request and its violations. */
export const customerExamples = {
  validate: {
    request: { externalId: 'crm-9981273' },
    invalid: {
      request: { externalID: 'crm-9981273' },
      errors: [
        { field: 'externalID', code: 'unknown_field', message: 'Is not a field of this request.' },
        { field: 'externalId', code: 'required', message: 'Is required.' },
      ],
    },
  },
  store: {
    request: {
      customer: { ...sent, phoneNumber: '+49 170 1234567', privacy: { emailConsent: true } },
      claimedRegion,
    },
    result: customerExample,
    invalid: {
      request: {
        customer: { ...sent, email: 'jane.doe@' },
        claimedRegion: { ...claimedRegion, countryCode: 'XX' },
      },
      errors: [
        {
          field: 'customer.email',
          code: 'invalid_format',
          message: 'Must be an e-mail address (RFC 5321) of at most 254 bytes, without a name or invisible characters.',
        },
        {
          field: 'claimedRegion.countryCode',
          code: 'invalid_value',
          message: 'Must be an ISO 3166-1 alpha-2 country code.',
        },
      ],
    },
  },
  delete: {
    request: { customerUuid: customerExample.customerUrn },
    invalid: {
      request: {},
      errors: [
        {
          field: 'customerUuid',
          code: 'exactly_one',
          message: 'Exactly one of customerUuid, customerUrn, externalIdentifier must be given.',
        },
      ],
    },
  },
  update: {
    request: { customer: { customerUrn: customerExample.customerUrn, email: updated.email } },
    result: updated,
    invalid: {
      request: { customer: { firstName: 'Jane' } },
      errors: [
        {
          field: 'customer.customerUrn',
          code: 'required',
          message: 'One of customerUrn and externalIdentifier is required.',
        },
      ],
    },
  },
  info: {
    request: { urn: customerExample.customerUrn },
    result: {
      ...updated,
      options: { availableChannels: ['CARD', 'SEPA'], canSavePaymentMethod: true },
      subscriptionSummary: { total: 1, active: 1, canceled: 0 },
    },
    invalid: {
      request: {},
      errors: [{ field: 'urn', code: 'required', message: 'One of urn and exId is required.' }],
    },
  },
} as const;
