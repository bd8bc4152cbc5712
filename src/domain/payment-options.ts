import { anonymizedStatus, type Customer } from './customer.ts';

/** The payment channels that a tenant offers. */
export interface PaymentSettings {
  readonly channels: readonly {
    /** E.g. `CARD`. */
    readonly channel: string;
    /** Countries where the channel is offered (ISO 3166-1 alpha-2). If absent, it is offered in all countries. */
    readonly countries?: readonly string[];
  }[];
  readonly canSavePaymentMethod: boolean;
}

export interface PaymentOptions {
  readonly availableChannels: readonly string[];
  readonly canSavePaymentMethod: boolean;
}

const noOptions: PaymentOptions = { availableChannels: [], canSavePaymentMethod: false };

/** A customer's payment options: the tenant's channels for the claimed country; none for a blocked or anonymized customer. */
export function paymentOptions({ status, claimedRegion }: Customer, settings: PaymentSettings): PaymentOptions {
  if (status === 'Blocked' || status === anonymizedStatus) return noOptions;
  const { channels, canSavePaymentMethod } = settings;
  const offered = channels.filter(({ countries }) => !countries || countries.includes(claimedRegion.countryCode));
  return { availableChannels: offered.map(({ channel }) => channel), canSavePaymentMethod };
}
