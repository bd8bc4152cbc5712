/** The body of a `store` request, as a tenant's backend would send it, of the customer with the ExternalId `crm-<number>`. */
export const customerBody = (number: number) => ({
  customer: {
    externalIdentifier: `crm-${number}`,
    email: `jane.doe.${number}@example.com`,
    phoneNumber: `+4915${String(number).padStart(9, '0')}`,
    salutation: 'Frau Dr.',
    firstName: 'Jane',
    lastName: `Doe ${number}`,
    gender: 'Female',
    primaryBillingAddress: { street: 'Unter den Linden 77', city: 'Berlin', postalCode: '10117', countryCode: 'DE' },
    privacy: { emailConsent: true, smsConsent: false },
  },
  claimedRegion: { countryCode: 'DE', languageCode: 'de' },
});
