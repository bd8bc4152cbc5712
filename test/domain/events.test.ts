import t from 'tap';
import { newCustomer } from '../../src/domain/customer.ts';
import { changedFields } from '../../src/domain/events.ts';
import { customerUrn } from '../../src/domain/identity.ts';
import { content } from '../contract/scenario.ts';

const later = '2026-02-01T00:00:00.000Z';
const address = { street: 'Hauptstraße 1', countryCode: 'DE' };
const customer = newCustomer(
  content('crm-1', { email: 'jane@example.com', firstName: 'Jane', primaryBillingAddress: address }),
  customerUrn('00', 482),
  Date.parse('2026-01-15T09:30:00.000Z'),
);

t.test('a stored customer lists the fields that have a value, in the order of the field schema', async (t) => {
  t.strictSame(changedFields(undefined, customer), [
    'externalIdentifier',
    'email',
    'firstName',
    'legalType',
    'primaryBillingAddress',
    'privacy',
    'status',
    'claimedRegion',
  ]);
});

t.test('an update lists the fields that differ: added, changed and removed', async (t) => {
  const { email: _, ...withoutEmail } = customer;
  const updated = {
    ...withoutEmail,
    lastName: 'Doe',
    primaryBillingAddress: { ...address, city: 'Berlin' },
    claimedRegion: { countryCode: 'AT', languageCode: 'de' },
    updatedAt: later,
  };
  t.strictSame(changedFields(customer, updated), ['email', 'lastName', 'primaryBillingAddress', 'claimedRegion']);
  const onlyLater = { ...customer, updatedAt: later };
  t.strictSame(changedFields(customer, onlyLater), []);
});
