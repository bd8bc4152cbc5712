/** Root keys as they are stored: each wrapped (encrypted) by the master key. */
import sodium from 'sodium-native';
import { decryptKey, encrypt, keyBytes, secureBuffer } from './primitives.ts';

/** `data` wraps data keys, `index` makes blind indexes and digests, `receipts` is the seed of the signing key. */
const rootNames = ['data', 'index', 'erasure_log', 'receipts'] as const;
type RootName = (typeof rootNames)[number];
export type Roots = Readonly<Record<RootName, Buffer>>;
export type WrappedRoots = Readonly<Record<RootName, Buffer>>;

/** The root keys are wrapped by another master key, or are damaged. */
class WrongMasterKey extends Error {
  constructor() {
    super('the master key is not the one that the data was sealed with (C2A_MASTER_KEY_FILE)');
  }
}

/** New root keys, wrapped by the master key. */
export function newRoots(masterKey: Buffer): WrappedRoots {
  const key = secureBuffer(keyBytes);
  const wrapped = rootNames.map((name) => {
    sodium.randombytes_buf(key);
    return [name, wrapRoot(name, key, masterKey)];
  });
  sodium.sodium_memzero(key);
  return Object.fromEntries(wrapped) as WrappedRoots;
}

/** The same root keys, wrapped by another master key. Wipes both master keys. Throws `WrongMasterKey`. */
export function rewrapRoots(wrapped: WrappedRoots, from: Buffer, to: Buffer): WrappedRoots {
  const roots = unwrapRoots(wrapped, from);
  const rewrapped = rootNames.map((name) => {
    const rewrappedRoot = wrapRoot(name, roots[name], to);
    sodium.sodium_memzero(roots[name]);
    return [name, rewrappedRoot];
  });
  sodium.sodium_memzero(from);
  sodium.sodium_memzero(to);
  return Object.fromEntries(rewrapped) as WrappedRoots;
}

/** The root keys themselves, in secure memory. Throws `WrongMasterKey`. */
export function unwrapRoots(wrapped: WrappedRoots, masterKey: Buffer): Roots {
  try {
    const roots = rootNames.map((name) => [name, decryptKey(wrapped[name], masterKey, contextOf(name))]);
    return Object.fromEntries(roots) as Roots;
  } catch {
    throw new WrongMasterKey();
  }
}

const wrapRoot = (name: RootName, key: Buffer, masterKey: Buffer): Buffer => encrypt(key, masterKey, contextOf(name));

/** Binds a wrapped key to its name, so that none can take the place of another. */
const contextOf = (name: RootName): string => `root ${name}`;
