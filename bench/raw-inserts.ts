/**
 * Inserts rows like those of the service into a copy of its file, in synced transactions of 256, and prints rows a second as
 * JSON: `node raw-inserts.ts <file> <rows> <first>`. A row has its three unique indexes and its change event, as in
 * `limit.ts`. Inserts `first` rows before it measures.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';

const [file, rows, first] = process.argv.slice(2) as [string, string, string];
const database = new Database(file);
for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'cache_size = -32000']) database.pragma(pragma);
const tenant = 'acme';
const insert = database.prepare(`insert into customers
  (tenant, number, version, external_id, email, phone_number, sealed, created_at, updated_at)
  values (?, ?, 1, ?, ?, ?, ?, ?, ?)`);
const insertEvent = database.prepare(
  'insert into changes (tenant, number, version, id, at, body) values (?, ?, 1, ?, ?, ?)',
);
const { sealed, body, last } = database
  .prepare(`select (select sealed from customers limit 1) as sealed, (select body from changes limit 1) as body,
    (select max(number) from customers) as last`)
  .get() as { sealed: Buffer; body: string; last: number };

const insertBatch = database.transaction((from: number, to: number) => {
  for (let number = from; number < to; number += 1) {
    const now = Date.now();
    const indexes = randomBytes(48);
    const unique = [indexes.subarray(0, 16), indexes.subarray(16, 32), indexes.subarray(32)];
    insert.run(tenant, number, ...unique, sealed, now, now);
    insertEvent.run(tenant, number, randomUUID(), now, body);
  }
});
function insertRows(from: number, end: number): void {
  for (let at = from; at < end; at += 256) insertBatch.immediate(at, Math.min(at + 256, end));
}
const begin = last + 1 + Number(first);
insertRows(last + 1, begin);
const started = performance.now();
insertRows(begin, begin + Number(rows));
const seconds = (performance.now() - started) / 1000;
database.close();
console.log(JSON.stringify({ rowsPerSecond: Number(rows) / seconds }));
