/** GDPR deletion: nothing personal remains, and what is operational stays. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { anonymize, isAnonymized } from '../../src/domain/anonymization.ts';
import { type CustomerContent, newCustomer, uniqueKeysOf } from '../../src/domain/customer.ts';
import { type CustomerUrn, customerUrn } from '../../src/domain/identity.ts';
import { markedRecords, referenceData } from './arbitraries.ts';

const mark = 'personal-5d1c';
const urn: CustomerUrn = customerUrn('00', 482);
const storedAt = Date.parse('2026-01-15T09:30:00.000Z');
const deletedAt = '2026-02-01T00:00:00.000Z';
const customers = markedRecords(mark).map((content) =>
  newCustomer(
    { ...content, claimedRegion: { countryCode: 'DE', languageCode: 'de' } } as CustomerContent,
    urn,
    storedAt,
  ),
);

t.test('nothing of any field survives save what is kept', async () => {
  fc.assert(
    fc.property(customers, (customer) => {
      const left = anonymize(customer, deletedAt);
      assert.ok(!JSON.stringify(left).includes(mark));
      assert.deepEqual(left, {
        customerUrn: urn,
        externalIdentifier: 'anonymized-cu.00.482',
        email: 'anonymized-cu.00.482@anonymized.invalid',
        firstName: 'Anonymized',
        lastName: 'Anonymized',
        legalType: customer.legalType,
        ...(customer.primaryBillingAddress && {
          primaryBillingAddress: { countryCode: customer.primaryBillingAddress.countryCode },
        }),
        privacy: {
          emailConsent: false,
          smsConsent: false,
          phoneConsent: false,
          pushConsent: false,
          profilingConsent: false,
        },
        status: 'Anonymized',
        claimedRegion: customer.claimedRegion,
        createdAt: customer.createdAt,
        updatedAt: deletedAt,
        anonymizedAt: deletedAt,
      });
    }),
  );
});

t.test('deleting twice is deleting once, updatedAt included', async () => {
  fc.assert(
    fc.property(customers, (customer) => {
      const once = anonymize(customer, deletedAt);
      return isAnonymized(once) && anonymize(once, '2027-01-01T00:00:00.000Z') === once;
    }),
  );
});

t.test('an anonymised customer claims no identity', async () => {
  fc.assert(
    fc.property(customers, (customer) => uniqueKeysOf(anonymize(customer, deletedAt), referenceData) === undefined),
  );
});
