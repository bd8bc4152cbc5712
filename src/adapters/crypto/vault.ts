/**
 * The cryptography of personal data, by libsodium alone: XChaCha20-Poly1305 (its 192-bit nonce may be random for any
 * number of messages) for sealing, keyed BLAKE2b for blind indexes and digests, Ed25519 for receipts. Keys are in
 * libsodium's guarded memory. The master key is wiped once the root keys are open, a data key after each use; the root
 * keys stay as long as the process.
 *
 * Three layers of keys: the master key (a file) wraps the root keys; they wrap a data key per customer; that seals one
 * customer's record. To destroy a data key is to erase whatever it sealed, wherever copies of it lie.
 */
import sodium from 'sodium-native';

const keyBytes = sodium.crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
const nonceBytes = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
const tagBytes = sodium.crypto_aead_xchacha20poly1305_ietf_ABYTES;
/** 128 bits: two of a billion values meet with a chance of one in 10^20. */
const indexBytes = 16;
const digestBytes = 32;

/** Memory that is kept from swap and core dumps, with guard pages around it. */
export function secureBuffer(bytes: number): Buffer {
  return sodium.sodium_malloc(bytes) as Buffer;
}

/** The root keys as they are stored: each wrapped by the master key. */
export type WrappedRoots = Readonly<Record<RootName, Buffer>>;
const rootNames = ['data', 'index', 'ledger', 'receipts'] as const;
type RootName = (typeof rootNames)[number];

export interface Vault {
  /** False where the system did not let key memory be kept from swap (RLIMIT_MEMLOCK). */
  readonly isLocked: boolean;
  /** Seals a text under a new data key, which comes wrapped for storage and bound to its customer. See `seal`. */
  sealNew(owner: string, text: string, context: string): { readonly dataKey: Buffer; readonly sealed: Buffer };
  /** A new data key, wrapped for storage and bound to its customer. */
  newDataKey(owner: string): Buffer;
  /** Seals a text under a wrapped data key. `context` is authenticated: the same is needed to open it. */
  seal(dataKey: Buffer, owner: string, text: string, context: string): Buffer;
  /** The text that was sealed. Throws where key, owner, context or bytes are not those of the sealing. */
  open(dataKey: Buffer, owner: string, sealed: Buffer, context: string): string;
  /** A keyed digest by which a value of a tenant is found; without the key it tells nothing. 16 bytes. */
  blindIndex(tenant: string, kind: string, value: string): Buffer;
  /** A keyed digest over parts that cannot run into each other: 32 bytes. */
  digest(...parts: readonly string[]): Buffer;
  /** A keyed digest of a customer for the ledger of erasures: 32 bytes. */
  ledgerHash(owner: string): Buffer;
  /** Seals what outlives a data key, under a key of the deployment: an entry of the ledger, what remains of a record. */
  sealLasting(text: string, context: string): Buffer;
  /** The text that was sealed. Throws where it was sealed in another context. */
  openLasting(sealed: Buffer, context: string): string;
  /** Ed25519 over the bytes of a text, and the public key that checks it. */
  sign(text: string): Buffer;
  readonly publicKey: Buffer;
}

/** New root keys, wrapped by the master key. */
export function newRoots(masterKey: Buffer): WrappedRoots {
  const key = secureBuffer(keyBytes);
  const wrapped = rootNames.map((name) => {
    sodium.randombytes_buf(key);
    return [name, encrypt(key, masterKey, `root ${name}`)];
  });
  sodium.sodium_memzero(key);
  return Object.fromEntries(wrapped) as WrappedRoots;
}

/** The same root keys, wrapped by another master key; both master keys are wiped. Throws `WrongMasterKey`. */
export function rewrapRoots(roots: WrappedRoots, from: Buffer, to: Buffer): WrappedRoots {
  const opened = unwrapRoots(from, roots);
  const rewrapped = rootNames.map((name) => {
    const wrapped = encrypt(opened[name], to, `root ${name}`);
    sodium.sodium_memzero(opened[name]);
    return [name, wrapped];
  });
  sodium.sodium_memzero(from);
  sodium.sodium_memzero(to);
  return Object.fromEntries(rewrapped) as WrappedRoots;
}

/** Opens the root keys, and wipes the master key, which is not needed any more. Throws `WrongMasterKey`. */
export function openVault(masterKey: Buffer, wrapped: WrappedRoots): Vault {
  const root = unwrapRoots(masterKey, wrapped);
  sodium.sodium_memzero(masterKey);
  // One root key, two purposes: each has a key of its own, derived.
  const ledgerHashKey = derivedKey(root.ledger, 'hash');
  const digestKey = derivedKey(root.index, 'digest');
  const lastingKey = derivedKey(root.ledger, 'seal');
  const tenantKey = secureBuffer(keyBytes);
  let tenantOfKey: string | undefined;
  /** The key of a tenant's blind indexes. The last one is kept: requests of one tenant often come together. */
  function indexKeyOf(tenant: string): Buffer {
    if (tenantOfKey !== tenant) {
      keyedHashInto(tenantKey, ['blind index', tenant], root.index);
      tenantOfKey = tenant;
    }
    return tenantKey;
  }
  const publicKey = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES);
  const signingKey = secureBuffer(sodium.crypto_sign_SECRETKEYBYTES);
  sodium.crypto_sign_seed_keypair(publicKey, signingKey, root.receipts);

  /** One scratch key for all: nothing awaits between unwrapping a data key and wiping it. */
  const scratch = secureBuffer(keyBytes);
  function withDataKey<Result>(dataKey: Buffer, owner: string, use: (key: Buffer) => Result): Result {
    decryptInto(scratch, dataKey, root.data, owner);
    try {
      return use(scratch);
    } finally {
      sodium.sodium_memzero(scratch);
    }
  }
  function withNewKey<Result>(use: (key: Buffer) => Result): Result {
    sodium.randombytes_buf(scratch);
    try {
      return use(scratch);
    } finally {
      sodium.sodium_memzero(scratch);
    }
  }

  return {
    isLocked: isLocked(scratch),

    sealNew: (owner, text, context) =>
      withNewKey((key) => {
        const sealed = encrypt(Buffer.from(text, 'utf8'), key, context);
        return { dataKey: encrypt(key, root.data, owner), sealed };
      }),
    newDataKey: (owner) => withNewKey((key) => encrypt(key, root.data, owner)),
    seal: (dataKey, owner, text, context) =>
      withDataKey(dataKey, owner, (key) => encrypt(Buffer.from(text, 'utf8'), key, context)),
    open: (dataKey, owner, sealed, context) => withDataKey(dataKey, owner, (key) => decryptText(sealed, key, context)),
    blindIndex: (tenant, kind, value) => keyedHash(indexBytes, [kind, value], indexKeyOf(tenant)),
    digest: (...parts) => keyedHash(digestBytes, parts, digestKey),
    ledgerHash: (owner) => keyedHash(digestBytes, [owner], ledgerHashKey),
    sealLasting: (text, context) => encrypt(Buffer.from(text, 'utf8'), lastingKey, context),
    openLasting: (sealed, context) => decryptText(sealed, lastingKey, context),
    sign(text) {
      const signature = Buffer.alloc(sodium.crypto_sign_BYTES);
      sodium.crypto_sign_detached(signature, Buffer.from(text, 'utf8'), signingKey);
      return signature;
    },
    publicKey,
  };
}

/** A vault whose keys are nowhere but in this process. */
export function ephemeralVault(): Vault {
  const masterKey = secureBuffer(keyBytes);
  sodium.randombytes_buf(masterKey);
  return openVault(masterKey, newRoots(masterKey));
}

/** Whether a signature over a text was made by the owner of a public key. */
export function verifySignature(signature: Buffer, text: string, publicKey: Buffer): boolean {
  if (signature.length !== sodium.crypto_sign_BYTES || publicKey.length !== sodium.crypto_sign_PUBLICKEYBYTES) {
    return false;
  }
  return sodium.crypto_sign_verify_detached(signature, Buffer.from(text, 'utf8'), publicKey);
}

/** The root keys are wrapped by another key than the one that was given. */
class WrongMasterKey extends Error {
  constructor() {
    super('the master key is not the one that the data was sealed with (C2A_MASTER_KEY_FILE)');
  }
}

function unwrapRoots(masterKey: Buffer, wrapped: WrappedRoots): Record<RootName, Buffer> {
  try {
    const roots = rootNames.map((name) => [name, decrypt(wrapped[name], masterKey, `root ${name}`)]);
    return Object.fromEntries(roots) as Record<RootName, Buffer>;
  } catch {
    throw new WrongMasterKey();
  }
}

/** Nonce, ciphertext and tag in one. */
function encrypt(plain: Buffer, key: Buffer, context: string): Buffer {
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

/** Nonces are random but not secret. They are drawn many at once: each draw is a system call. */
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

function decryptText(sealed: Buffer, key: Buffer, context: string): string {
  const text = Buffer.allocUnsafe(sealed.length - nonceBytes - tagBytes);
  decryptInto(text, sealed, key, context);
  return text.toString('utf8');
}

/** For keys: into guarded memory. */
function decrypt(sealed: Buffer, key: Buffer, context: string): Buffer {
  const plain = secureBuffer(sealed.length - nonceBytes - tagBytes);
  decryptInto(plain, sealed, key, context);
  return plain;
}

function decryptInto(plain: Buffer, sealed: Buffer, key: Buffer, context: string): void {
  sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
    plain,
    null,
    sealed.subarray(nonceBytes),
    Buffer.from(context, 'utf8'),
    sealed.subarray(0, nonceBytes),
    key,
  );
}

function keyedHash(bytes: number, parts: readonly string[], key: Buffer): Buffer {
  const hash = Buffer.allocUnsafe(bytes);
  keyedHashInto(hash, parts, key);
  return hash;
}

function keyedHashInto(hash: Buffer, parts: readonly string[], key: Buffer): void {
  sodium.crypto_generichash(hash, Buffer.from(JSON.stringify(parts), 'utf8'), key);
}

function derivedKey(key: Buffer, purpose: string): Buffer {
  const derived = secureBuffer(keyBytes);
  keyedHashInto(derived, ['derived', purpose], key);
  return derived;
}

/** libsodium goes on where the system refuses to lock memory; asked in so many words, it says so. */
function isLocked(memory: Buffer): boolean {
  try {
    sodium.sodium_mlock(memory);
    return true;
  } catch {
    return false;
  }
}
