/**
 * References of the flows behind the service (offers, checkout, payment methods, subscriptions): each flow binds what it
 * makes to a customer. A reference is not personal data by itself, and outlives the customer's erasure.
 */
import { choice, format, required, type Values } from './field-schema.ts';

/** A reference as a flow sends it. */
export const referenceFields = {
  customerUrn: required(format('customerUrn', 'The customer; after a merge, the one into which it was merged.')),
  kind: required(choice(['offer', 'checkout', 'paymentMethod', 'subscription'], 'What the reference names.')),
  reference: required(
    format(
      'asciiIdentifier',
      "The flow's own identifier: 1 to 64 visible ASCII characters. Must not be personal data.",
    ),
  ),
  state: required(choice(['active', 'canceled'], 'Its state.')),
} as const;

type Sent = Values<typeof referenceFields>;
export type ReferenceKind = Sent['kind'];
export type ReferenceState = Sent['state'];

/** How many subscriptions of a customer there are, and in which states. */
export interface SubscriptionSummary {
  readonly total: number;
  readonly active: number;
  readonly canceled: number;
}

/** @param active how many of the subscriptions are active */
export const subscriptionSummary = (total: number, active: number): SubscriptionSummary => ({
  total,
  active,
  canceled: total - active,
});
