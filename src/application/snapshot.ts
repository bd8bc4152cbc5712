import type { Customer } from '../domain/customer.ts';
import { type PaymentOptions, paymentOptions } from '../domain/payment-options.ts';
import type { SubscriptionSummary } from '../domain/references.ts';
import { completed, type Outcome, refusal } from './outcome.ts';
import type { SummarizedCustomer } from './ports/references.ts';
import type { Tenant } from './ports/tenant-directory.ts';

/** A customer, its payment options, and the summary of its references. */
export interface Snapshot extends Customer {
  readonly options: PaymentOptions;
  readonly subscriptionSummary: SubscriptionSummary;
}

/** The snapshot of a customer, with its version. CUSTOMER_NOT_FOUND if `found` is undefined. */
export function showSnapshot({ payment }: Tenant, found: SummarizedCustomer | undefined): Outcome<Snapshot> {
  if (found === undefined) return refusal('CUSTOMER_NOT_FOUND');
  const { customer, version } = found.stored;
  const options = paymentOptions(customer, payment);
  return { ...completed({ ...customer, options, subscriptionSummary: found.subscriptions }), version };
}
