import { getRawAsset, isSea } from 'node:sea';
import { zstdDecompressSync } from 'node:zlib';

/** What the binary carries; packed when it is built (`scripts/release/binary.ts`). */
export type EmbeddedName =
  | 'code'
  | 'compiled'
  | 'build'
  | 'documents'
  | 'licenses'
  | 'better-sqlite3'
  | 'sodium-native';

/** Whether the program is the binary; else it runs from its source. */
export const isBinary = isSea();

/** All that is carried is smaller, so that it is unpacked in one piece. What is not written to takes no memory. */
const chunkSize = 4 * 1024 * 1024;

/**
 * Uses something that the binary carries. Its bytes are gone afterwards: the collector would leave them in memory for long in
 * a process that has little to do.
 */
export function embedded<Result>(name: EmbeddedName, use: (bytes: Buffer<ArrayBuffer>) => Result): Result {
  const bytes = zstdDecompressSync(new Uint8Array(getRawAsset(name)), { chunkSize }) as Buffer<ArrayBuffer>;
  try {
    return use(bytes);
  } finally {
    bytes.buffer.transfer(0);
  }
}

/** A text that the binary carries. */
export const embeddedText = (name: EmbeddedName): string => embedded(name, (bytes) => bytes.toString('utf8'));
