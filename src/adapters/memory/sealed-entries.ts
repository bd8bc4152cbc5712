import Database from 'better-sqlite3';
import sodium from 'sodium-native';
import { decrypt, encrypt, keyBytes, keyedHash, secureBuffer } from '../crypto/primitives.ts';
import type { Entries } from './customer-table.ts';

/** 128 bits: among a billion names a collision has a chance of 1 in 10^20. */
const digestBytes = 16;
const cacheKiB = 16_384;

/** Maps of any size, in one temporary file. */
export interface SealedEntries {
  /** An empty map. @param name lower-case letters, another one for each map */
  open<Value>(name: string): Entries<Value>;
  /** Deletes everything. */
  close(): void;
}

/**
 * Makes maps from text to JSON values that take a bounded part of memory. What exceeds it is in a file, which SQLite makes
 * in the folder for temporary files and which has no name, so that it disappears with the process. Nothing in the file is
 * readable: names are keyed digests, values are encrypted, and the key never leaves this process.
 */
export function createSealedEntries(): SealedEntries {
  const key = secureBuffer(keyBytes);
  sodium.randombytes_buf(key);
  const database = new Database('');
  database.pragma('journal_mode = OFF');
  database.pragma('synchronous = OFF');
  database.pragma(`cache_size = -${cacheKiB}`);
  // One transaction without an end: nothing is ever durable.
  database.exec('BEGIN');
  return {
    open: (name) => openMap(database, key, name),
    close() {
      database.close();
      sodium.sodium_memzero(key);
    },
  };
}

function openMap<Value>(database: Database.Database, key: Buffer, map: string): Entries<Value> {
  // Values are appended; only the index is written in the order of the digests, which is no order.
  database.exec(`CREATE TABLE ${map} (digest BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL) STRICT`);
  const select = database.prepare<[Buffer], Buffer>(`SELECT sealed FROM ${map} WHERE digest = ?`).pluck();
  const insert = database.prepare(
    `INSERT INTO ${map} VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET sealed = excluded.sealed`,
  );
  const remove = database.prepare(`DELETE FROM ${map} WHERE digest = ?`);
  const selectAll = database.prepare<[], Buffer>(`SELECT sealed FROM ${map} ORDER BY rowid`).pluck();
  const digestOf = (name: string) => keyedHash(Buffer.allocUnsafe(digestBytes), [map, name], key);
  const opened = (sealed: Buffer): [string, Value] => JSON.parse(decrypt(sealed, key, map).toString('utf8'));

  return {
    get(name) {
      const sealed = select.get(digestOf(name));
      return sealed && opened(sealed)[1];
    },
    set(name, value) {
      insert.run(digestOf(name), encrypt(Buffer.from(JSON.stringify([name, value]), 'utf8'), key, map));
    },
    delete: (name) => remove.run(digestOf(name)).changes > 0,
    entries: () => selectAll.all().map(opened).values(),
  };
}
