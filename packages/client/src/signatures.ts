type Bytes = Uint8Array<ArrayBuffer>;

/** The bytes of base64 or base64url, with or without padding (RFC 4648); undefined if it is neither. */
function fromBase64(text: string): Bytes | undefined {
  try {
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/**
 * Whether a text has the signature. Takes the same time for every wrong signature.
 *
 * @param key base64 or base64url
 * @param signature base64 or base64url; false if it is neither
 * @throws TypeError if the key is neither; NotSupportedError if the runtime lacks the algorithm
 */
export async function isSigned(
  algorithm: { readonly name: 'HMAC'; readonly hash: 'SHA-256' } | { readonly name: 'Ed25519' },
  key: string,
  signature: string,
  text: string,
): Promise<boolean> {
  const [keyBytes, signatureBytes] = [fromBase64(key), fromBase64(signature)];
  if (keyBytes === undefined) throw new TypeError('the key or secret is not base64');
  if (signatureBytes === undefined) return false;
  const imported = await crypto.subtle.importKey('raw', keyBytes, algorithm, false, ['verify']);
  return crypto.subtle.verify(algorithm.name, imported, signatureBytes, new TextEncoder().encode(text));
}
