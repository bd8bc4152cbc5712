/**
 * The plain service, to compare with: the contract's five operations as one writes them in an afternoon. JSON schemas, plain
 * columns, an API key that is looked up by its hash, one transaction a request. It has no encryption, canonical forms of
 * unique keys, change events, idempotency, erasure log, or metrics. Started as
 * `node plain.ts <file or PostgreSQL URL> <tenant> <API key> <customers>`; stores that many customers if there are none.
 */
import { hash } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { type Static, Type } from '@sinclair/typebox';
import Fastify from 'fastify';
import { mediaType } from '../src/http/envelope.ts';
import { customerBody } from './customer.ts';
import { numberOfUrn } from './fixed-answers.ts';
import { openPlainPostgres } from './plain-postgres.ts';
import { openPlainSqlite } from './plain-sqlite.ts';
import type { PlainRow, StoredRow } from './plain-table.ts';

const text = (maxLength: number) => Type.String({ minLength: 1, maxLength });
const countryCode = Type.String({ pattern: '^[A-Z]{2}$' });
const customerFields = {
  email: Type.Optional(Type.String({ maxLength: 254, pattern: '^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$' })),
  phoneNumber: Type.Optional(Type.String({ pattern: '^\\+\\d{2,15}$' })),
  salutation: Type.Optional(text(32)),
  firstName: Type.Optional(text(64)),
  lastName: Type.Optional(text(64)),
  gender: Type.Optional(Type.String({ enum: ['Female', 'Male', 'Diverse'] })),
  primaryBillingAddress: Type.Optional(
    Type.Object({ street: text(128), city: text(64), postalCode: text(16), countryCode }),
  ),
  privacy: Type.Optional(Type.Object({ emailConsent: Type.Boolean(), smsConsent: Type.Boolean() })),
};
const urn = Type.String({ pattern: '^cu\\.00\\.[1-9]\\d*$' });
const newCustomer = Type.Object({ externalIdentifier: text(64), ...customerFields }, { additionalProperties: false });
const changedCustomer = Type.Object({ customerUrn: urn, ...customerFields }, { additionalProperties: false });
const region = Type.Object({ countryCode, languageCode: Type.String({ pattern: '^[a-z]{2}$' }) });

const json = (value: object | undefined) => (value === undefined ? null : JSON.stringify(value));
const parsed = (value: string | null) => (value === null ? undefined : JSON.parse(value));

function rowOf(tenant: string, customer: Static<typeof newCustomer>, claimedRegion: Static<typeof region>): PlainRow {
  const now = new Date().toISOString();
  return {
    tenant,
    external_id: customer.externalIdentifier,
    ...changesOf(customer),
    claimed_region: JSON.stringify(claimedRegion),
    version: 1,
    created_at: now,
    updated_at: now,
  };
}
const changesOf = (customer: Omit<Static<typeof newCustomer>, 'externalIdentifier'>) => ({
  email: customer.email ?? null,
  phone_number: customer.phoneNumber ?? null,
  salutation: customer.salutation ?? null,
  first_name: customer.firstName ?? null,
  last_name: customer.lastName ?? null,
  gender: customer.gender ?? null,
  billing_address: json(customer.primaryBillingAddress),
  privacy: json(customer.privacy),
});
const customerOf = (row: StoredRow) => ({
  customerUrn: `cu.00.${row.id}`,
  externalIdentifier: row.external_id ?? undefined,
  email: row.email ?? undefined,
  phoneNumber: row.phone_number ?? undefined,
  salutation: row.salutation ?? undefined,
  firstName: row.first_name ?? undefined,
  lastName: row.last_name ?? undefined,
  gender: row.gender ?? undefined,
  legalType: 'Individual',
  primaryBillingAddress: parsed(row.billing_address),
  privacy: parsed(row.privacy),
  status: 'Active',
  claimedRegion: parsed(row.claimed_region),
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
/** The row without its nulls, so that only the fields of a request replace those of the row. */
const given = <Row extends object>(row: Row): Partial<Row> =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as Partial<Row>;

const success = { status: { messageCode: 'SUCCESS' } };
const notFound = { result: null, status: { messageCode: 'CUSTOMER_NOT_FOUND', message: 'there is no such customer' } };
const taken = { result: null, status: { messageCode: 'CUSTOMER_ALREADY_STORED', message: 'a unique value is taken' } };
const options = { availableChannels: ['CARD', 'SEPA'], canSavePaymentMethod: true };

const [place, ownTenant, apiKey, customers] = process.argv.slice(2) as [string, string, string, string];
const digestOf = (key: string) => hash('sha256', key, 'buffer');
function* seed(): Generator<PlainRow> {
  for (let number = 1; number <= Number(customers); number += 1) {
    const { customer, claimedRegion } = customerBody(number);
    yield rowOf(ownTenant, customer, claimedRegion);
  }
}
const open = place.startsWith('postgres:') ? openPlainPostgres : openPlainSqlite;
const store = await open(place, digestOf(apiKey), ownTenant, seed());

const app = Fastify().withTypeProvider<TypeBoxTypeProvider>();
app.addHook('preHandler', async (request, reply) => {
  reply.header('content-type', mediaType).header('cache-control', 'no-store');
  const { 'x-tn': tenant, 'x-api-key': key } = request.headers;
  if (typeof tenant === 'string' && typeof key === 'string' && (await store.hasApiKey(tenant, digestOf(key)))) return;
  return reply
    .code(403)
    .send({ result: null, status: { messageCode: 'FORBIDDEN', message: 'the API key is unknown' } });
});
const tenantOf = (request: { headers: Record<string, unknown> }) => request.headers['x-tn'] as string;

const base = '/api/c2a/customer';
const infoQuery = Type.Object({ urn: Type.Optional(urn), exId: Type.Optional(text(64)) });
app.get(`${base}/info`, { schema: { querystring: infoQuery } }, async (request, reply) => {
  const { urn, exId = '' } = request.query;
  const tenant = tenantOf(request);
  const row = await (urn === undefined
    ? store.find(tenant, 'external_id', exId)
    : store.find(tenant, 'id', numberOfUrn(urn)));
  if (row === undefined) return reply.code(404).send(notFound);
  reply.header('etag', `"${row.version}"`);
  return { result: { ...customerOf(row), options }, ...success };
});
const validateBody = Type.Object({ externalId: text(64) });
app.post(`${base}/validate`, { schema: { body: validateBody } }, async (request) => {
  const row = await store.find(tenantOf(request), 'external_id', request.body.externalId);
  return { isAvailable: row === undefined, ...success };
});
const storeBody = Type.Object({ customer: newCustomer, claimedRegion: region });
app.post(`${base}/store`, { schema: { body: storeBody } }, async (request, reply) => {
  const row = rowOf(tenantOf(request), request.body.customer, request.body.claimedRegion);
  const id = await store.insert(row);
  if (id === undefined) return reply.code(409).send(taken);
  reply.header('etag', '"1"');
  return { result: customerOf({ ...row, id }), ...success };
});
const updateBody = Type.Object({ customer: changedCustomer });
app.post(`${base}/update`, { schema: { body: updateBody } }, async (request, reply) => {
  const { customerUrn, ...changes } = request.body.customer;
  const row = await store.change(tenantOf(request), numberOfUrn(customerUrn), (before) => ({
    ...before,
    ...given(changesOf(changes)),
    version: before.version + 1,
    updated_at: new Date().toISOString(),
  }));
  if (row === undefined) return reply.code(404).send(notFound);
  reply.header('etag', `"${row.version}"`);
  return { result: customerOf(row), ...success };
});
app.post(`${base}/delete`, { schema: { body: Type.Object({ customerUuid: urn }) } }, async (request, reply) => {
  const row = await store.change(tenantOf(request), numberOfUrn(request.body.customerUuid), (before) => ({
    ...before,
    external_id: null,
    ...changesOf({ firstName: 'Anonymized', lastName: 'Anonymized' }),
    version: before.version + 1,
    updated_at: new Date().toISOString(),
  }));
  return row === undefined ? reply.code(404).send(notFound) : success;
});
console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
