import type { ChangeEvent } from './outcome.ts';
import { isSigned } from './signatures.ts';

/** The body of a delivery. The type `webhook.test` is that of `c2a webhook test`. */
export interface WebhookEvent {
  readonly type: ChangeEvent['type'] | 'webhook.test';
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly data: ChangeEvent;
}

export interface Delivery {
  /** The secret of the webhook, `whsec_…`. */
  readonly secret: string;
  /** The body as it was received, before it is parsed. */
  readonly body: string | Uint8Array;
  /** The headers of the request: those of Fetch, or an object with names in lower case, as Node has it. */
  readonly headers: Headers | Readonly<Record<string, unknown>>;
  /** How far the clocks may differ, in seconds. Default: 300. */
  readonly toleranceSeconds?: number;
}

export interface VerifiedDelivery {
  /** The same for each delivery of an event: ignore one that you have seen. */
  readonly id: string;
  readonly event: WebhookEvent;
}

const hmac = { name: 'HMAC', hash: 'SHA-256' } as const;

/**
 * The event of a delivery, by the Standard Webhooks specification 1.0.0. Undefined if the delivery is not genuine: a header is
 * missing, its time is too far away, or no signature (HMAC-SHA-256) is right.
 *
 * @throws TypeError if the secret is none
 */
export async function verifyWebhook(delivery: Delivery): Promise<VerifiedDelivery | undefined> {
  const { secret, body, headers, toleranceSeconds = 300 } = delivery;
  const header = (name: string) => `${headers instanceof Headers ? headers.get(name) : headers[name]}`;
  const [id, time] = [header('webhook-id'), header('webhook-timestamp')];
  const text = typeof body === 'string' ? body : new TextDecoder('utf-8', { ignoreBOM: true }).decode(body);
  // False for a time that is no number.
  const isOnTime = Math.abs(Date.now() / 1_000 - Number(time)) <= toleranceSeconds;
  const key = secret.replace('whsec_', '');
  // While a secret is rotated, there is a signature of each.
  for (const signature of header('webhook-signature').split(' ')) {
    const [version, value = ''] = signature.split(',');
    const isGenuine = version === 'v1' && (await isSigned(hmac, key, value, `${id}.${time}.${text}`));
    if (isGenuine && isOnTime) return { id, event: JSON.parse(text) };
  }
  return undefined;
}
