import { anonymizedStatus, type Customer } from './customer.ts';

/** A payment channel that a tenant offers, e.g. `CARD`; limited to these countries (ISO 3166-1) where any are named. */
interface PaymentChannel {
  readonly channel: string;
  readonly countries?: readonly string[];
}

export interface PaymentSettings {
  readonly channels: readonly PaymentChannel[];
  readonly canSavePaymentMethod: boolean;
}

export interface PaymentOptions {
  readonly availableChannels: readonly string[];
  readonly canSavePaymentMethod: boolean;
}

const noOptions: PaymentOptions = { availableChannels: [], canSavePaymentMethod: false };

/** What a customer may pay with: the tenant's channels for the claimed country; nothing for one who is blocked or gone. */
export function paymentOptions({ status, claimedRegion }: Customer, settings: PaymentSettings): PaymentOptions {
  if (status === 'Blocked' || status === anonymizedStatus) return noOptions;
  const { channels, canSavePaymentMethod } = settings;
  const offered = channels.filter(({ countries }) => !countries || countries.includes(claimedRegion.countryCode));
  return { availableChannels: offered.map(({ channel }) => channel), canSavePaymentMethod };
}
