/**
 * A digest of 32 bytes over a list of strings. The list is encoded unambiguously, so `('a', 'bc')` and `('ab', 'c')`
 * differ. An adapter that stores digests must use a secret key.
 */
export type Digest = (...parts: readonly string[]) => Uint8Array;
