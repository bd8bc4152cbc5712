/** `c2a-customers-client/verify`: checks webhooks and receipts with Web Crypto alone, without the service and without a client. */
import type { ChangeEvent, SignedReceipt } from './outcome.ts';

/** The body of a delivery; `timestamp` is ISO 8601, UTC. `webhook.test` is sent by `c2a webhook test`. */
export type WebhookEvent =
  | { readonly type: ChangeEvent['type']; readonly timestamp: string; readonly data: ChangeEvent }
  | { readonly type: 'webhook.test'; readonly timestamp: string; readonly data: { readonly webhook: string } };

export interface Delivery {
  /** The secret of the webhook, `whsec_…`. */
  readonly secret: string;
  /** The body as it was received, before it is parsed. */
  readonly body: string | Uint8Array;
  /** The headers of the request: those of Fetch, or an object with names in lower case, as Node has it. */
  readonly headers: Headers | Readonly<Record<string, unknown>>;
  /** How far the clocks may differ, in seconds. Default: 300. */
  readonly toleranceSeconds?: number | undefined;
}

export interface VerifiedDelivery {
  /** The same for each delivery of an event: ignore one that you have seen. */
  readonly id: string;
  readonly event: WebhookEvent;
}

const hmac = { name: 'HMAC', hash: 'SHA-256' } as const;
/** A service signs with one secret or, while it is rotated, with a few. More would only cost time. */
const maxSignatures = 10;

/**
 * The event of a delivery, by the Standard Webhooks specification 1.0.0. Undefined if the delivery is not genuine: a header is
 * missing, its time is too far away, or no signature (HMAC-SHA-256) is right.
 *
 * @throws TypeError if the secret is not base64
 */
export async function verifyWebhook(delivery: Delivery): Promise<VerifiedDelivery | undefined> {
  const { secret, body, headers, toleranceSeconds = 300 } = delivery;
  const header = (name: string) => `${headers instanceof Headers ? headers.get(name) : headers[name]}`;
  const [id, time] = [header('webhook-id'), header('webhook-timestamp')];
  // False for NaN.
  const isOnTime = Math.abs(Date.now() / 1_000 - Number(time)) <= toleranceSeconds;
  const candidates = header('webhook-signature')
    .split(' ', maxSignatures)
    .flatMap((signature) => (isOnTime && signature.startsWith('v1,') ? [signature.slice('v1,'.length)] : []));
  const text = typeof body === 'string' ? body : new TextDecoder('utf-8', { ignoreBOM: true }).decode(body);
  const isGenuine = await isSigned(hmac, secret.replace('whsec_', ''), candidates, `${id}.${time}.${text}`);
  return isGenuine ? { id, event: JSON.parse(text) } : undefined;
}

/**
 * Whether the signature of an erasure receipt (Ed25519, RFC 8032) is that of the deployment with this key.
 *
 * @param signed the `result` of `erasureReceipt`. Keep it as text: the signature covers its members in their order.
 * @param publicKey the key of the deployment, base64url, as `receiptKey` returns it. Keep it from the time when you trusted
 *   the deployment: a forger would send a key of their own with a receipt.
 * @throws TypeError if the key is not base64; NotSupportedError if the runtime has no Ed25519
 */
export async function verifyErasureReceipt(signed: SignedReceipt, publicKey: string): Promise<boolean> {
  return isSigned({ name: 'Ed25519' }, publicKey, [signed.signature.value], JSON.stringify(signed.receipt));
}

/**
 * Whether one of the candidates is the signature of a text. Takes the same time for every wrong one.
 *
 * @param key base64 or base64url
 * @param candidates base64 or base64url; others are no signatures
 */
async function isSigned(
  algorithm: typeof hmac | { readonly name: 'Ed25519' },
  key: string,
  candidates: readonly string[],
  text: string,
): Promise<boolean> {
  const keyBytes = fromBase64(key);
  if (!keyBytes?.length) throw new TypeError('the key or secret is not base64');
  const imported = await crypto.subtle.importKey('raw', keyBytes, algorithm, false, ['verify']);
  const signed = new TextEncoder().encode(text);
  for (const candidate of candidates) {
    const signature = fromBase64(candidate);
    if (signature?.length && (await crypto.subtle.verify(algorithm.name, imported, signature, signed))) return true;
  }
  return false;
}

/** The bytes of base64 or base64url, with or without padding (RFC 4648); undefined if it is neither. */
function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
