import { getRawAsset, isSea } from 'node:sea';
import { zstdDecompressSync } from 'node:zlib';

/** Assets embedded in the binary, compressed when it is built (`scripts/release/binary.ts`). */
export type EmbeddedName =
  | 'code'
  | 'compiled'
  | 'build'
  | 'documents'
  | 'licenses'
  | 'better-sqlite3'
  | 'sodium-native';

/** True in the single-file binary, false when run from source. */
export const isBinary = isSea();

/** Larger than every asset, so that each is decompressed into one chunk. Unused pages take no memory. */
const chunkSize = 4 * 1024 * 1024;

/** Calls `use` with the bytes of an embedded asset, then frees them without waiting for the garbage collector. */
export function embedded<Result>(name: EmbeddedName, use: (bytes: Buffer<ArrayBuffer>) => Result): Result {
  const bytes = zstdDecompressSync(new Uint8Array(getRawAsset(name)), { chunkSize }) as Buffer<ArrayBuffer>;
  try {
    return use(bytes);
  } finally {
    bytes.buffer.transfer(0);
  }
}

export const embeddedText = (name: EmbeddedName): string => embedded(name, (bytes) => bytes.toString('utf8'));
