/**
 * Envelope encryption of personal data. The master key (a file) wraps the root keys; a root key wraps one data key per
 * customer; the data key seals the customer's record. Destroying a data key erases every copy of the record.
 *
 * Keys are in libsodium's secure memory. The master key is wiped once the root keys are unwrapped, and a data key after
 * each use. The root keys stay until the process ends.
 */
import { createHash } from 'node:crypto';
import sodium from 'sodium-native';
import { decrypt, encrypt, isLocked, keyBytes, keyedHash, secureBuffer } from './primitives.ts';
import { newRoots, type Roots, unwrapRoots, type WrappedRoots } from './root-keys.ts';

/** 128 bits: among a billion values a collision has a chance of 1 in 10^20. */
const indexBytes = 16;
const digestBytes = 32;

/** Opens a vault with wrapped root keys. Throws if the master key is the wrong one, and otherwise wipes it. */
export function openVault(masterKey: Buffer, wrapped: WrappedRoots): Vault {
  const roots = unwrapRoots(wrapped, masterKey);
  sodium.sodium_memzero(masterKey);
  return new Vault(roots);
}

/** A vault whose keys exist only in this process. */
export function ephemeralVault(): Vault {
  const masterKey = secureBuffer(keyBytes);
  sodium.randombytes_buf(masterKey);
  return openVault(masterKey, newRoots(masterKey));
}

export class Vault {
  /** False if the system refused to keep key memory out of swap (RLIMIT_MEMLOCK). */
  readonly isLocked: boolean;
  /** Verifies the signatures of `sign`: 32 bytes. */
  readonly publicKey = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES);

  readonly #dataRoot: Buffer;
  readonly #indexRoot: Buffer;
  readonly #digestKey: Buffer;
  readonly #secretKey: Buffer;
  readonly #erasureHashKey: Buffer;
  readonly #logKey: Buffer;
  readonly #chainKey: Buffer;
  readonly #signingKey = secureBuffer(sodium.crypto_sign_SECRETKEYBYTES);

  /** Holds one data key while it is used. One buffer suffices: no call awaits between unwrapping and wiping. */
  readonly #dataKey = secureBuffer(keyBytes);
  /** The key of the last tenant's blind indexes, kept because consecutive requests are often of one tenant. */
  readonly #tenantKey = secureBuffer(keyBytes);
  #tenant: string | undefined;

  constructor(roots: Roots) {
    this.isLocked = isLocked(this.#dataKey);
    this.#dataRoot = roots.data;
    this.#indexRoot = roots.index;
    this.#digestKey = derivedKey(roots.index, 'digest');
    this.#secretKey = derivedKey(roots.index, 'secret');
    this.#erasureHashKey = derivedKey(roots.erasure_log, 'hash');
    this.#logKey = derivedKey(roots.erasure_log, 'seal');
    this.#chainKey = derivedKey(roots.erasure_log, 'chain');
    sodium.crypto_sign_seed_keypair(this.publicKey, this.#signingKey, roots.receipts);
  }

  /** A new data key, wrapped for storage and bound to its owner. */
  newDataKey(owner: string): Buffer {
    sodium.randombytes_buf(this.#dataKey);
    try {
      return encrypt(this.#dataKey, this.#dataRoot, owner);
    } finally {
      sodium.sodium_memzero(this.#dataKey);
    }
  }

  /** Seals a text, bound to `context`, with a new data key, which is returned wrapped and bound to `owner`. */
  sealNew(owner: string, text: string, context: string): { readonly dataKey: Buffer; readonly sealed: Buffer } {
    sodium.randombytes_buf(this.#dataKey);
    try {
      const sealed = encrypt(Buffer.from(text, 'utf8'), this.#dataKey, context);
      return { dataKey: encrypt(this.#dataKey, this.#dataRoot, owner), sealed };
    } finally {
      sodium.sodium_memzero(this.#dataKey);
    }
  }

  /** Seals a text, bound to `context`, with a wrapped data key. Throws if the key is damaged or of another owner. */
  seal(dataKey: Buffer, owner: string, text: string, context: string): Buffer {
    decrypt(dataKey, this.#dataRoot, owner, this.#dataKey);
    try {
      return encrypt(Buffer.from(text, 'utf8'), this.#dataKey, context);
    } finally {
      sodium.sodium_memzero(this.#dataKey);
    }
  }

  /** The text that was sealed. Throws if data key, owner, context or bytes differ from those of the sealing. */
  open(dataKey: Buffer, owner: string, sealed: Buffer, context: string): string {
    decrypt(dataKey, this.#dataRoot, owner, this.#dataKey);
    try {
      return decrypt(sealed, this.#dataKey, context).toString('utf8');
    } finally {
      sodium.sodium_memzero(this.#dataKey);
    }
  }

  /** A keyed hash by which a value of a tenant is found. Without the key, the hash reveals nothing. 16 bytes. */
  blindIndex(tenant: string, kind: string, value: string): Buffer {
    if (this.#tenant !== tenant) {
      keyedHash(this.#tenantKey, ['blind index', tenant], this.#indexRoot);
      this.#tenant = tenant;
    }
    return keyedHash(Buffer.allocUnsafe(indexBytes), [kind, value], this.#tenantKey);
  }

  /** The port `Digest`: a keyed hash over a list of strings, encoded unambiguously. 32 bytes. */
  readonly digest = (...parts: readonly string[]): Buffer =>
    keyedHash(Buffer.allocUnsafe(digestBytes), parts, this.#digestKey);

  /** The keyed hash that identifies a customer in the erasure log. 32 bytes. */
  erasureHash(owner: string): Buffer {
    return keyedHash(Buffer.allocUnsafe(digestBytes), [owner], this.#erasureHashKey);
  }

  /** Seals a text for the erasure log, with a key of the deployment, as the entry outlives the customer's data key. */
  sealForLog(text: string, context: string): Buffer {
    return encrypt(Buffer.from(text, 'utf8'), this.#logKey, context);
  }

  /** The text that `sealForLog` sealed. Throws if context, deployment or bytes differ from those of the sealing. */
  openFromLog(sealed: Buffer, context: string): string {
    return decrypt(sealed, this.#logKey, context).toString('utf8');
  }

  /** Seals a secret of a tenant, such as that of a webhook, with a key of the deployment. */
  sealSecret(text: string, context: string): Buffer {
    return encrypt(Buffer.from(text, 'utf8'), this.#secretKey, context);
  }

  /** The text that `sealSecret` sealed. Throws if context, deployment or bytes differ from those of the sealing. */
  openSecret(sealed: Uint8Array, context: string): string {
    return decrypt(Buffer.from(sealed), this.#secretKey, context).toString('utf8');
  }

  /**
   * A link of the erasure log's hash chain, 32 bytes: a keyed hash over the previous link (empty for the first) and the
   * parts, each preceded by its length. A number is a non-negative integer of 8 bytes, big-endian.
   */
  chainLink(previous: Uint8Array, ...parts: readonly (Uint8Array | string | number)[]): Buffer {
    const link = Buffer.allocUnsafe(digestBytes);
    sodium.crypto_generichash(link, Buffer.concat([previous, ...parts].flatMap(framed)), this.#chainKey);
    return link;
  }

  /** The Ed25519 signature (RFC 8032) over the UTF-8 bytes of a text: 64 bytes. */
  sign(text: string): Buffer {
    const signature = Buffer.alloc(sodium.crypto_sign_BYTES);
    sodium.crypto_sign_detached(signature, Buffer.from(text, 'utf8'), this.#signingKey);
    return signature;
  }

  /** See `Signer.verify`. */
  verify(text: string, signature: Uint8Array): boolean {
    return verifySignature(Buffer.from(signature), text, this.publicKey);
  }

  /** See `Signer.hash`. */
  hash(text: string): Buffer {
    return createHash('sha256').update(text).digest();
  }
}

/** Whether `signature` is a valid Ed25519 signature of a text by the public key. False if a length is wrong. */
export function verifySignature(signature: Buffer, text: string, publicKey: Buffer): boolean {
  if (signature.length !== sodium.crypto_sign_BYTES || publicKey.length !== sodium.crypto_sign_PUBLICKEYBYTES) {
    return false;
  }
  return sodium.crypto_sign_verify_detached(signature, Buffer.from(text, 'utf8'), publicKey);
}

/** The bytes of a part, preceded by their length in 32 bits, big-endian. */
function framed(part: Uint8Array | string | number): Uint8Array[] {
  const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : typeof part === 'number' ? uint64(part) : part;
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(bytes.byteLength);
  return [length, bytes];
}

function uint64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** A key for one purpose, derived from a root key that serves several. In secure memory. */
const derivedKey = (root: Buffer, purpose: string): Buffer =>
  keyedHash(secureBuffer(keyBytes), ['derived', purpose], root);
