import type { Customer } from '../domain/customer.ts';
import { type PaymentOptions, paymentOptions } from '../domain/payment-options.ts';
import { completed, type Outcome, refusal } from './outcome.ts';
import type { StoredCustomer } from './ports/customer-repository.ts';
import type { Tenant } from './ports/tenant-directory.ts';

/** A customer and its payment options. */
export interface Snapshot extends Customer {
  readonly options: PaymentOptions;
}

/** The snapshot of a customer, with its version. CUSTOMER_NOT_FOUND if `stored` is undefined. */
export function showSnapshot({ payment }: Tenant, stored: StoredCustomer | undefined): Outcome<Snapshot> {
  if (stored === undefined) return refusal('CUSTOMER_NOT_FOUND');
  const { customer, version } = stored;
  return { ...completed({ ...customer, options: paymentOptions(customer, payment) }), version };
}
