/** Root keys as they are stored: each wrapped (encrypted) by the master key. */
import sodium from 'sodium-native';
import { decrypt, encrypt, keyBytes, secureBuffer } from './primitives.ts';

/**
 * `data` wraps data keys. `index` makes blind indexes and digests, and seals the secrets of webhooks. `erasure_log`
 * hashes, seals and chains the entries of the erasure log. `receipts` is the seed of the signing key.
 */
const rootNames = ['data', 'index', 'erasure_log', 'receipts'] as const;
type RootName = (typeof rootNames)[number];
export type Roots = Readonly<Record<RootName, Buffer>>;
export type WrappedRoots = Readonly<Record<RootName, Buffer>>;

/** New root keys, wrapped by the master key. */
export function newRoots(masterKey: Buffer): WrappedRoots {
  return wrapRoots(() => {
    const root = secureBuffer(keyBytes);
    sodium.randombytes_buf(root);
    return root;
  }, masterKey);
}

/** The same root keys, wrapped by another master key. Wipes both master keys. Throws like `unwrapRoots`. */
export function rewrapRoots(wrapped: WrappedRoots, from: Buffer, to: Buffer): WrappedRoots {
  const roots = unwrapRoots(wrapped, from);
  const rewrapped = wrapRoots((name) => roots[name], to);
  sodium.sodium_memzero(from);
  sodium.sodium_memzero(to);
  return rewrapped;
}

/** The root keys themselves, in secure memory. Throws if another master key wrapped them, or they are damaged. */
export function unwrapRoots(wrapped: WrappedRoots, masterKey: Buffer): Roots {
  const unwrap = (name: RootName) => decrypt(wrapped[name], masterKey, contextOf(name), secureBuffer(keyBytes));
  try {
    return Object.fromEntries(rootNames.map((name) => [name, unwrap(name)])) as Roots;
  } catch {
    throw new Error('the master key is not the one that the data was sealed with (C2A_MASTER_KEY_FILE)');
  }
}

/** Wraps each root key, and wipes it. */
function wrapRoots(rootOf: (name: RootName) => Buffer, masterKey: Buffer): WrappedRoots {
  const wrapped = rootNames.map((name) => {
    const root = rootOf(name);
    const entry = [name, encrypt(root, masterKey, contextOf(name))];
    sodium.sodium_memzero(root);
    return entry;
  });
  return Object.fromEntries(wrapped) as WrappedRoots;
}

/** Binds a wrapped key to its name, so that wrapped keys cannot be swapped. */
const contextOf = (name: RootName): string => `root ${name}`;
