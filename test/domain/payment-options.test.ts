import t from 'tap';
import type { Customer } from '../../src/domain/customer.ts';
import { paymentOptions } from '../../src/domain/payment-options.ts';

const settings = {
  channels: [{ channel: 'CARD' }, { channel: 'SEPA', countries: ['DE', 'FR'] }, { channel: 'PIX', countries: ['BR'] }],
  canSavePaymentMethod: true,
};
const optionsOf = (status: Customer['status'], countryCode: string) =>
  paymentOptions({ status, claimedRegion: { countryCode, languageCode: 'de' } } as Customer, settings);

t.test('the channels are those that the tenant offers in the claimed country', async (t) => {
  t.same(optionsOf('Active', 'DE'), { availableChannels: ['CARD', 'SEPA'], canSavePaymentMethod: true });
  t.same(optionsOf('Inactive', 'BR'), { availableChannels: ['CARD', 'PIX'], canSavePaymentMethod: true });
  t.same(optionsOf('Churned', 'US'), { availableChannels: ['CARD'], canSavePaymentMethod: true });
});

t.test('a blocked or anonymized customer has no payment options', async (t) => {
  for (const status of ['Blocked', 'Anonymized'] as const) {
    t.same(optionsOf(status, 'DE'), { availableChannels: [], canSavePaymentMethod: false });
  }
});
