/**
 * The calls of libsodium that the vault and the root keys share. Encryption is XChaCha20-Poly1305, whose 192-bit nonces
 * may be random for any number of messages. Hashes are keyed BLAKE2b (RFC 7693).
 */
import sodium from 'sodium-native';

export const keyBytes = sodium.crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
const nonceBytes = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
const tagBytes = sodium.crypto_aead_xchacha20poly1305_ietf_ABYTES;

/** Memory for keys: not swapped, not in core dumps, with guard pages around it. */
export const secureBuffer = (bytes: number): Buffer => sodium.sodium_malloc(bytes) as Buffer;

/** False if the system refused to keep the memory out of swap (RLIMIT_MEMLOCK). */
export function isLocked(memory: Buffer): boolean {
  // sodium_malloc ignores a refusal; sodium_mlock reports it.
  try {
    sodium.sodium_mlock(memory);
    return true;
  } catch {
    return false;
  }
}

/** Nonce, ciphertext and tag in one buffer. `context` is authenticated, not stored. */
export function encrypt(plain: Buffer, key: Buffer, context: string): Buffer {
  const sealed = Buffer.allocUnsafe(nonceBytes + plain.length + tagBytes);
  const nonce = sealed.subarray(0, nonceBytes);
  nextNonce(nonce);
  const rest = sealed.subarray(nonceBytes);
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(rest, plain, Buffer.from(context, 'utf8'), null, nonce, key);
  return sealed;
}

/**
 * Decrypts the result of `encrypt`. Throws if key, context or bytes differ from those of the encryption.
 *
 * @param plain receives the plaintext, and must have its length; for a key, use secure memory
 */
export function decrypt(
  sealed: Buffer,
  key: Buffer,
  context: string,
  plain: Buffer = Buffer.allocUnsafe(sealed.length - nonceBytes - tagBytes),
): Buffer {
  const nonce = sealed.subarray(0, nonceBytes);
  const rest = sealed.subarray(nonceBytes);
  sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(plain, null, rest, Buffer.from(context, 'utf8'), nonce, key);
  return plain;
}

/** Nonces are drawn 256 at once, as each draw is a system call. They are not secret. */
const nonces = Buffer.alloc(256 * nonceBytes);
let noncesUsed = nonces.length;

function nextNonce(nonce: Buffer): void {
  if (noncesUsed === nonces.length) {
    sodium.randombytes_buf(nonces);
    noncesUsed = 0;
  }
  nonces.copy(nonce, 0, noncesUsed, noncesUsed + nonceBytes);
  noncesUsed += nonceBytes;
}

/** Writes the keyed hash of `parts` to `hash`. They are encoded as JSON, so `('a', 'bc')` and `('ab', 'c')` differ. */
export function keyedHash(hash: Buffer, parts: readonly string[], key: Buffer): Buffer {
  sodium.crypto_generichash(hash, Buffer.from(JSON.stringify(parts), 'utf8'), key);
  return hash;
}
