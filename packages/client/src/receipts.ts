import type { SignedReceipt } from './outcome.ts';
import { isSigned } from './signatures.ts';

/**
 * Whether the signature of an erasure receipt (Ed25519, RFC 8032) is that of the deployment with this key.
 *
 * @param signed the `result` of `erasureReceipt`. Keep the order of its members: the signature covers them as JSON.
 * @param publicKey the key of the deployment, base64url, as `receiptKey` returns it. Keep it from the time when you trusted
 *   the deployment: a forger would send a key of their own with a receipt.
 * @throws if the runtime has no Ed25519
 */
export async function verifyErasureReceipt(signed: SignedReceipt, publicKey: string): Promise<boolean> {
  return isSigned({ name: 'Ed25519' }, publicKey, signed.signature.value, JSON.stringify(signed.receipt));
}
