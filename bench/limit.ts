/**
 * The durable limit on SQLite: a bare Fastify that runs raw prepared statements on a copy of the service's files, and
 * sends fixed answers. No rules, no authentication, no encryption, no cache. A write stores what the service must make
 * durable: the row with its three unique indexes, and its change event. Started as `node limit.ts <answers> <folder>`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { bodyOf, numberOfExternalId, numberOfUrn, serveAnswers } from './fixed-answers.ts';

const [answers, folder] = process.argv.slice(2) as [string, string];
const tenant = 'acme';

/** As the service: every commit is synced, and the log is moved into the file at the same length. */
function open(name: string): Database.Database {
  const database = new Database(join(folder, name));
  for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'cache_size = -32000']) database.pragma(pragma);
  return database;
}
const records = open('customers.db');
/** Only a deletion needs the keys. */
const keys = open('keys.db');

const recordColumns = 'number, version, sealed, created_at, updated_at, erasure';
const readByNumber = records.prepare(`select ${recordColumns} from customers where tenant = ? and number = ?`);
const readByExternalId = records.prepare(`select ${recordColumns} from customers where tenant = ? and external_id = ?`);
const findHolder = records.prepare('select number from customers where tenant = ? and external_id = ?');
const insert = records.prepare(`insert into customers
  (tenant, number, version, external_id, email, phone_number, sealed, created_at, updated_at)
  values (?, ?, 1, ?, ?, ?, ?, ?, ?) on conflict do nothing`);
const update = records.prepare(`update customers set version = version + 1, sealed = ?, updated_at = ?
  where tenant = ? and number = ?`);
const anonymize = records.prepare(`update customers set version = version + 1, external_id = null, email = null,
  phone_number = null, sealed = ?, updated_at = ?, erasure = ? where tenant = ? and number = ?`);
const insertEvent = records.prepare(
  'insert into changes (tenant, number, version, id, at, body) values (?, ?, ?, ?, ?, ?)',
);
const destroyKey = keys.prepare('delete from data_keys where tenant = ? and number = ?');

/** Bytes and text as long as those of the service. */
const sealed = randomBytes((readByNumber.get(tenant, 1) as { sealed: Buffer }).sealed.length);
const eventBody = records.prepare('select body from changes limit 1').pluck().get() as string;
let last = records.prepare('select max(number) from customers').pluck().get() as number;

/** ExternalIds of customers of the file. A file has no way from `crm-1` to the blind index without the service's keys. */
const externalIds = sampleExternalIds(100_000);
function sampleExternalIds(most: number): Buffer[] {
  const highest = last;
  const read = records.prepare('select external_id from customers where tenant = ? and number = ?').pluck();
  const numbers =
    highest <= most
      ? Array.from({ length: highest }, (_, index) => index + 1)
      : Array.from({ length: most }, () => 1 + Math.floor(Math.random() * highest));
  return numbers.map((number) => read.get(tenant, number)).filter((id): id is Buffer => id instanceof Buffer);
}
const externalIdOf = (text: string) => externalIds[numberOfExternalId(text) % externalIds.length];

/**
 * Group commit with the policy of the service, which is also the best one here: while requests keep arriving, a write
 * waits for others, for the time of six commits, but at most 10 ms.
 */
class Group {
  readonly #begin;
  readonly #commit;
  #waiting: { write: () => void; resolve: () => void; since: number }[] = [];
  #isBusyTurn = false;
  #lastMs: readonly [number, number] = [0, 0];

  constructor(database: Database.Database) {
    this.#begin = database.prepare('begin immediate');
    this.#commit = database.prepare('commit');
  }

  /** To be called for each request. */
  noteRequest(): void {
    this.#isBusyTurn = true;
  }

  write(write: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ write, resolve, since: performance.now() });
      if (this.#waiting.length === 1) setImmediate(this.#flushWhenQuiet);
    });
  }

  readonly #flushWhenQuiet = (): void => {
    const waitedMs = performance.now() - (this.#waiting[0]?.since ?? 0);
    const isWorthWaiting =
      this.#isBusyTurn && this.#waiting.length < 256 && waitedMs < Math.min(6 * Math.min(...this.#lastMs), 10);
    this.#isBusyTurn = false;
    if (isWorthWaiting) setImmediate(this.#flushWhenQuiet);
    else this.#flush();
  };

  #flush(): void {
    const jobs = this.#waiting;
    this.#waiting = [];
    const started = performance.now();
    this.#begin.run();
    for (const { write } of jobs) write();
    this.#commit.run();
    this.#lastMs = [performance.now() - started, this.#lastMs[0]];
    for (const { resolve } of jobs) resolve();
  }
}
const recordWrites = new Group(records);
const keyWrites = new Group(keys);

/** Moves a log into its file and truncates it. Callers of one turn share a checkpoint. */
function checkpoints(database: Database.Database): () => Promise<void> {
  let shared: Promise<void> | undefined;
  return () => {
    shared ??= new Promise((resolve) => {
      setImmediate(() => {
        shared = undefined;
        database.pragma('wal_checkpoint(TRUNCATE)');
        resolve();
      });
    });
    return shared;
  };
}
const checkpointRecords = checkpoints(records);
const checkpointKeys = checkpoints(keys);

const addEvent = (number: number, at: number) => insertEvent.run(tenant, number, 1, randomUUID(), at, eventBody);

function store(): void {
  last += 1;
  const now = Date.now();
  const indexes = randomBytes(48);
  insert.run(tenant, last, indexes.subarray(0, 16), indexes.subarray(16, 32), indexes.subarray(32), sealed, now, now);
  addEvent(last, now);
}

/** The contract's order: the key is destroyed, and is in no file any more, before the record is anonymized. */
async function erase(number: number): Promise<void> {
  await keyWrites.write(() => destroyKey.run(tenant, number));
  await checkpointKeys();
  await recordWrites.write(() => {
    const now = Date.now();
    anonymize.run(sealed, now, number, tenant, number);
    addEvent(number, now);
  });
  await checkpointRecords();
}

await serveAnswers(JSON.parse(answers), {
  info(request) {
    recordWrites.noteRequest();
    const { urn, exId } = request.query as { urn?: string; exId?: string };
    if (urn !== undefined) readByNumber.get(tenant, numberOfUrn(urn));
    else if (exId !== undefined) readByExternalId.get(tenant, externalIdOf(exId));
    return undefined;
  },
  validate(request) {
    recordWrites.noteRequest();
    findHolder.get(tenant, externalIdOf(bodyOf(request).externalId));
    return undefined;
  },
  store() {
    recordWrites.noteRequest();
    return recordWrites.write(store);
  },
  update(request) {
    recordWrites.noteRequest();
    const number = numberOfUrn(bodyOf(request).customer.customerUrn);
    return recordWrites.write(() => {
      const now = Date.now();
      update.run(sealed, now, tenant, number);
      addEvent(number, now);
    });
  },
  delete: (request) => erase(numberOfUrn(bodyOf(request).customerUuid)),
});
