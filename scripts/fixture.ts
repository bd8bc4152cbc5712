/**
 * `npm run generate:fixture`: writes a small data folder of the present schema version, test/fixtures/schema-<version>.
 * It is run once, for the release that adds the version. Later releases test their upgrade with that folder.
 */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import pino from 'pino';
import { migrations } from '../src/adapters/sql/schema/migrations.ts';
import { openServer, openServices } from '../src/compose.ts';
import { readConfig } from '../src/config.ts';
import { createDemoTenant } from '../src/process/demo.ts';

// Each part has its own migrations; version 1 has one migration of each part. A release may add several.
const version = migrations.data.length + migrations.keys.length - 1;
const folder = resolve(import.meta.dirname, '../test/fixtures', `schema-${version}`);
if (existsSync(folder)) throw new Error(`${folder} already exists and must not change`);
mkdirSync(folder, { recursive: true });

const config = readConfig({}, { C2A_DATA_DIR: folder });
const services = await openServices(config, { mayCreate: true });
const app = await openServer(services, config, pino({ level: 'silent' }));
const credentials = await createDemoTenant(services, 'acme');

const ask = async (method: 'GET' | 'POST', path: string, payload?: object, headers: Record<string, string> = {}) => {
  const url = `/api/c2a/customer/${path}`;
  const request = { method, url, headers: { ...credentials, ...headers }, ...(payload && { payload }) };
  const answer = await app.inject(request);
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.body}`);
  return answer.json().result;
};
const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
const store = async (customer: object, headers?: Record<string, string>): Promise<string> =>
  (await ask('POST', 'store', { customer, claimedRegion }, headers)).customerUrn;

const jane = await store(
  {
    externalIdentifier: 'crm-1',
    email: 'jane.doe@example.com',
    phoneNumber: '+491701234567',
    firstName: 'Jane',
    lastName: 'Doe',
    primaryBillingAddress: { street: 'Weg 1', city: 'Köln', postalCode: '50667', countryCode: 'DE' },
    privacy: { emailConsent: true },
  },
  { 'idempotency-key': 'first' },
);
const changed = await store({ externalIdentifier: 'crm-2', email: 'joan@example.com' });
await ask('POST', 'update', { customer: { customerUrn: changed, lastName: 'Smith', email: null } });
const erased = await store({ externalIdentifier: 'crm-3', email: 'gone@example.com', phoneNumber: '+491701234568' });
await ask('POST', 'delete', { customerUrn: erased });
const synced = { customer: { externalIdentifier: 'crm-4', firstName: 'Kim' }, claimedRegion, sourceRevision: 7 };
const { customerUrn: known } = await ask('POST', 'sync', synced);
const merged = await store({ externalIdentifier: 'crm-5', email: 'jane@example.com' });
await ask('POST', 'merge', { from: merged, into: jane });

await ask('POST', 'references', { customerUrn: jane, kind: 'subscription', reference: 'sub.00.17', state: 'active' });
await ask('POST', 'find', { email: 'jane.doe@example.com', reference: 'TICKET-7' });

const records = [];
for (const urn of [jane, changed, erased, known, merged]) records.push(await ask('GET', `info?urn=${urn}`));
await app.close();
// The API key is not written: a test issues its own.
writeFileSync(join(folder, 'expected.json'), `${JSON.stringify({ records, erased }, null, 2)}\n`);
for (const name of ['customers.db', 'keys.db', 'master.key']) chmodSync(join(folder, name), 0o644);
