/** Searches the bytes of files on disk. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { withRawSqlite } from './storage.ts';

/** The content of each file of a folder, by name. */
export const filesOf = (folder: string): Record<string, Buffer> =>
  Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name))]),
  );

/** How often a byte string occurs in another, overlaps included. */
export function occurrences(bytes: Buffer, wanted: Buffer): number {
  let found = 0;
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) found += 1;
  return found;
}

/** The wrapped data keys of all customers, without the unused keys of id blocks. */
export function wrappedKeys(dataDir: string): Buffer[] {
  const { keys, data } = sqliteFiles(dataDir);
  return withRawSqlite(keys, (raw) => {
    raw.prepare('ATTACH ? AS data').run(data);
    const ofCustomers = 'SELECT wrapped FROM data_keys JOIN data.customers USING (tenant, number)';
    return raw.prepare<[], Buffer>(ofCustomers).pluck().all();
  });
}

/** The number of occurrences of these wrapped keys in `keys.db` and its write-ahead log. */
export function copiesOf(keys: readonly Buffer[], dataDir: string): number {
  const { keys: file } = sqliteFiles(dataDir);
  const bytes = Buffer.concat([file, `${file}-wal`].filter(existsSync).map((path) => readFileSync(path)));
  return keys.reduce((found, key) => found + occurrences(bytes, key), 0);
}
