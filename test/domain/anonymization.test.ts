import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { anonymize, isAnonymized, rewrittenFields } from '../../src/domain/anonymization.ts';
import { type CustomerContent, customerFields, newCustomer, uniqueKeysOf } from '../../src/domain/customer.ts';
import { type CustomerUrn, customerUrn } from '../../src/domain/identity.ts';
import { markedRecords, referenceData } from './arbitraries.ts';

const mark = 'personal-5d1c';
const urn: CustomerUrn = customerUrn('00', 482);
const storedAt = Date.parse('2026-01-15T09:30:00.000Z');
const erasedAt = '2026-02-01T00:00:00.000Z';
const customers = markedRecords(mark).map((content) =>
  newCustomer(
    { ...content, claimedRegion: { countryCode: 'DE', languageCode: 'de' } } as CustomerContent,
    urn,
    storedAt,
  ),
);

t.test('only the retained fields survive, of whatever fields a customer has', async () => {
  fc.assert(
    fc.property(customers, (customer) => {
      const left = anonymize(customer, erasedAt);
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
        updatedAt: erasedAt,
        anonymizedAt: erasedAt,
      });
    }),
  );
});

t.test('anonymizing twice equals anonymizing once, updatedAt included', async () => {
  fc.assert(
    fc.property(customers, (customer) => {
      const once = anonymize(customer, erasedAt);
      return isAnonymized(once) && anonymize(once, '2027-01-01T00:00:00.000Z') === once;
    }),
  );
});

t.test('an anonymized customer has no unique keys', async () => {
  fc.assert(
    fc.property(customers, (customer) => uniqueKeysOf(anonymize(customer, erasedAt), referenceData) === undefined),
  );
});

t.test('the rewritten fields are those with a value that differ from the anonymized record', async () => {
  fc.assert(
    fc.property(customers, (generated) => {
      // A clone, because the generated objects may have no prototype, which the comparison would take for a difference.
      const customer = structuredClone(generated);
      const after = anonymize(customer, erasedAt);
      for (const name of Object.keys(customerFields) as (keyof typeof customerFields)[]) {
        const isRewritten = customer[name] !== undefined && !isDeepStrictEqual(customer[name], after[name]);
        assert.equal(rewrittenFields(customer).includes(name), isRewritten, name);
      }
    }),
  );
});
