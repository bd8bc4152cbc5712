/**
 * The calls of libsodium that vault and root keys share. Encryption is XChaCha20-Poly1305, whose 192-bit nonce may be
 * random for any number of messages; hashes are keyed BLAKE2b (RFC 7693).
 */
import sodium from 'sodium-native';

export const keyBytes = sodium.crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
const nonceBytes = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
const tagBytes = sodium.crypto_aead_xchacha20poly1305_ietf_ABYTES;

/** Memory for keys: not swapped, not in core dumps, with guard pages around it. */
export function secureBuffer(bytes: number): Buffer {
  return sodium.sodium_malloc(bytes) as Buffer;
}

/** False if the system refused to keep the memory from swap (RLIMIT_MEMLOCK). */
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
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
    sealed.subarray(nonceBytes),
    plain,
    Buffer.from(context, 'utf8'),
    null,
    nonce,
    key,
  );
  return sealed;
}

/** The opposite of `encrypt`, for a text. Throws if key, context or bytes differ from those of the encryption. */
export function decryptText(sealed: Buffer, key: Buffer, context: string): string {
  const text = Buffer.allocUnsafe(sealed.length - nonceBytes - tagBytes);
  decryptInto(text, sealed, key, context);
  return text.toString('utf8');
}

/** The opposite of `encrypt`, for a key: the result is in secure memory. Throws as `decryptText`. */
export function decryptKey(sealed: Buffer, key: Buffer, context: string): Buffer {
  const plain = secureBuffer(sealed.length - nonceBytes - tagBytes);
  decryptInto(plain, sealed, key, context);
  return plain;
}

/** As `decryptText`, into a buffer of the plaintext's length. */
export function decryptInto(plain: Buffer, sealed: Buffer, key: Buffer, context: string): void {
  sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
    plain,
    null,
    sealed.subarray(nonceBytes),
    Buffer.from(context, 'utf8'),
    sealed.subarray(0, nonceBytes),
    key,
  );
}

/** Nonces are drawn 256 at once, as each draw is a system call. They are no secrets. */
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

/** A keyed hash over a list of strings, encoded as JSON so that `('a', 'bc')` and `('ab', 'c')` differ. */
export function keyedHash(bytes: number, parts: readonly string[], key: Buffer): Buffer {
  const hash = Buffer.allocUnsafe(bytes);
  keyedHashInto(hash, parts, key);
  return hash;
}

/** As `keyedHash`, into a buffer. */
export function keyedHashInto(hash: Buffer, parts: readonly string[], key: Buffer): void {
  sodium.crypto_generichash(hash, Buffer.from(JSON.stringify(parts), 'utf8'), key);
}

/** A keyed hash over byte strings, each preceded by its length (32 bits, big-endian). */
export function keyedHashOfBytes(bytes: number, parts: readonly Uint8Array[], key: Buffer): Buffer {
  const hash = Buffer.allocUnsafe(bytes);
  const framed = parts.flatMap((part) => {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(part.byteLength);
    return [length, part];
  });
  sodium.crypto_generichash(hash, Buffer.concat(framed), key);
  return hash;
}

/** A key for one purpose, derived from a root key that serves several. In secure memory. */
export function derivedKey(key: Buffer, purpose: string): Buffer {
  const derived = secureBuffer(keyBytes);
  keyedHashInto(derived, ['derived', purpose], key);
  return derived;
}
