/**
 * The durable limit on PostgreSQL: a bare Fastify that runs one prepared statement through `pg` on copies of the service's
 * tables, and sends fixed answers. No rules, no authentication, no encryption. A write stores what the service must make durable:
 * the row with its three unique indexes, and its change event. Started as `node limit-postgres.ts <answers> <URL>`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import { bodyOf, numberOfExternalId, numberOfUrn, serveAnswers } from './fixed-answers.ts';

const [answers, connectionString] = process.argv.slice(2) as [string, string];
const tenant = 'acme';

const connection = { connectionString, options: '-c search_path=durable_limit' };
/** Reads share a connection and do not wait for earlier answers. Writes have as many connections as the service. */
const reads = new pg.Client({ ...connection, pipeline: true });
await reads.connect();
const writes = new pg.Pool({ ...connection, max: 10 });

await writes.query('create schema durable_limit');
for (const table of ['c2a.customers', 'c2a.changes', 'c2a_keys.data_keys']) {
  const copy = table.split('.')[1];
  await writes.query(`create table ${copy} (like ${table} including all)`);
  await writes.query(`insert into ${copy} select * from ${table}`);
}

const recordColumns = 'number, version, sealed, created_at, updated_at, erasure';
const withEvent = (write: string, first: number) => `with written as (${write} returning number, version)
  insert into changes (tenant, number, version, id, at, body)
  select $1::text, number, version, $${first}::text, $${first + 1}::bigint, $${first + 2}::text from written`;
const statements = {
  readByNumber: `select ${recordColumns} from customers where tenant = $1 and number = $2`,
  readByExternalId: `select ${recordColumns} from customers where tenant = $1 and external_id = $2`,
  findHolder: 'select number from customers where tenant = $1 and external_id = $2',
  insert: withEvent(
    `insert into customers
      (tenant, number, version, external_id, email, phone_number, sealed, created_at, updated_at)
      values ($1, $2, 1, $3, $4, $5, $6, $7, $7) on conflict do nothing`,
    8,
  ),
  update: withEvent(
    'update customers set version = version + 1, sealed = $3, updated_at = $4 where tenant = $1 and number = $2',
    5,
  ),
  destroyKey: 'delete from data_keys where tenant = $1 and number = $2',
  anonymize: withEvent(
    `update customers set version = version + 1, external_id = null, email = null, phone_number = null,
      sealed = $3, updated_at = $4, erasure = $2 where tenant = $1 and number = $2`,
    5,
  ),
};
async function run(client: pg.Client | pg.Pool, name: keyof typeof statements, ...values: unknown[]): Promise<void> {
  await client.query({ name, text: statements[name], values: [tenant, ...values] });
}

async function column<Value>(query: string): Promise<Value[]> {
  const { rows } = await writes.query({ text: query, rowMode: 'array' });
  return (rows as Value[][]).map(([value]) => value as Value);
}
/** Bytes and text as long as those of the service. */
const [sealedLength] = await column<number>('select length(sealed) from customers limit 1');
const sealed = randomBytes(sealedLength as number);
const [eventBody] = await column<string>('select body from changes limit 1');
let last = Number((await column<string>('select max(number) from customers'))[0]) + 10 ** 9;
/** ExternalIds of customers: without the service's keys, there is no way from `crm-1` to the blind index. */
const externalIds = await column<Buffer>(
  'select external_id from customers where external_id is not null order by random() limit 100000',
);
const externalIdOf = (text: string) => externalIds[numberOfExternalId(text) % externalIds.length];

const event = (at: number) => [randomUUID(), at, eventBody] as const;

function store(): Promise<void> {
  last += 1;
  const now = Date.now();
  const [externalId, email, phoneNumber] = [randomBytes(16), randomBytes(16), randomBytes(16)];
  return run(writes, 'insert', last, externalId, email, phoneNumber, sealed, now, ...event(now));
}

/** The contract's order: the key is destroyed before the record is anonymized. */
async function erase(number: number): Promise<void> {
  await run(writes, 'destroyKey', number);
  const now = Date.now();
  await run(writes, 'anonymize', number, sealed, now, ...event(now));
}

await serveAnswers(JSON.parse(answers), {
  info(request) {
    const { urn, exId = '' } = request.query as { urn?: string; exId?: string };
    return urn === undefined
      ? run(reads, 'readByExternalId', externalIdOf(exId))
      : run(reads, 'readByNumber', numberOfUrn(urn));
  },
  validate: (request) => run(reads, 'findHolder', externalIdOf(bodyOf(request).externalId)),
  store,
  update(request) {
    const now = Date.now();
    return run(writes, 'update', numberOfUrn(bodyOf(request).customer.customerUrn), sealed, now, ...event(now));
  },
  delete: (request) => erase(numberOfUrn(bodyOf(request).customerUuid)),
});
