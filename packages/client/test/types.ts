/**
 * What the compiler must accept and refuse. `npm run check` compiles this file with the source of the client, and
 * package.test.ts with the package.
 */
import { expectTypeOf } from 'expect-type';
import {
  type ChangesPage,
  type Conflict,
  type Customer,
  createClient,
  type ImportAnswer,
  type Outcome,
  type Violation,
} from '../src/index.ts';
import { verifyWebhook } from '../src/verify.ts';

const c2a = createClient({ baseUrl: 'https://customers.example.com', tenant: 'acme', apiKey: 'sk_live_1' });
const claimedRegion = { countryCode: 'DE', languageCode: 'de' };

export async function outcomes() {
  const stored = await c2a.store({ customer: { externalIdentifier: 'crm-1', email: null }, claimedRegion });
  expectTypeOf(stored).toEqualTypeOf<Outcome<'store'>>();
  // @ts-expect-error only a success has a result
  stored.result;
  if (stored.messageCode === 'SUCCESS') {
    expectTypeOf(stored.result).toEqualTypeOf<Customer>();
    expectTypeOf(stored.etag).toEqualTypeOf<string | undefined>();
  }
  if (stored.messageCode === 'INVALID_REQUEST') expectTypeOf(stored.errors).toEqualTypeOf<readonly Violation[]>();
  if (stored.messageCode === 'USER_WITH_SAME_EMAIL_EXISTS') {
    expectTypeOf(stored.conflicts).toEqualTypeOf<readonly Conflict[]>();
  }
  // @ts-expect-error a store finds no other customer
  if (stored.messageCode === 'CUSTOMER_NOT_FOUND') return;
  // @ts-expect-error a misspelt code
  if (stored.messageCode === 'UNAUTHORISED') return;

  const synced = await c2a.sync({ customer: { externalIdentifier: 'crm-1' }, claimedRegion, sourceRevision: 7 });
  if (synced.messageCode === 'SUCCESS') {
    expectTypeOf(synced.outcome).toEqualTypeOf<'created' | 'updated' | 'unchanged' | 'stale'>();
    expectTypeOf(synced.result).toEqualTypeOf<Customer | null>();
  }
}

/** The compiler complains of a code that this function forgets. */
export function everyCode(outcome: Outcome<'info'>): string {
  switch (outcome.messageCode) {
    case 'SUCCESS':
      return outcome.result.customerUrn;
    case 'CUSTOMER_NOT_FOUND':
    case 'UNAUTHORIZED':
    case 'BAD_REQUEST':
    case 'HEADERS_TOO_LARGE':
    case 'TOO_MANY_REQUESTS':
    case 'SQL_DATABASE_FAILURE':
    case 'INTERNAL_SERVER_ERROR':
    case 'SERVICE_UNAVAILABLE':
      return outcome.message;
    case 'INVALID_REQUEST':
      return outcome.errors.map(({ field }) => field).join();
  }
}

// @ts-expect-error a code is forgotten, so the end can be reached
export function forgottenCode(outcome: Outcome<'info'>): string {
  switch (outcome.messageCode) {
    case 'SUCCESS':
      return outcome.result.customerUrn;
  }
}

export async function misspelt() {
  // @ts-expect-error a field
  await c2a.store({ customer: { externalIdentifier: 'crm-1', emial: 'a@example.com' }, claimedRegion });
  // @ts-expect-error a required field is missing
  await c2a.store({ customer: { email: 'a@example.com' }, claimedRegion });
  // @ts-expect-error a member of the body
  await c2a.sync({ customer: { externalIdentifier: 'crm-1' }, claimedRegion, sourceRevison: 1 });
  // @ts-expect-error a field of an address
  await c2a.update({ customer: { customerUrn: 'cu.00.1', primaryBillingAddress: { stret: 'Hauptstraße 1' } } });
  // @ts-expect-error a value of a choice
  await c2a.update({ customer: { customerUrn: 'cu.00.1', gender: 'female' } });
  // @ts-expect-error a name of a customer
  await c2a.info({ exID: 'crm-1' });
  // @ts-expect-error two names
  await c2a.info({ exId: 'crm-1', urn: 'cu.00.1' });
  // @ts-expect-error a look-up by a name
  await c2a.find({ firstName: 'Jane' });
  // @ts-expect-error a kind of a reference
  await c2a.references.bind({ customerUrn: 'cu.00.1', kind: 'invoice', reference: 'r', state: 'active' });
  // @ts-expect-error a read has no Idempotency-Key
  await c2a.info({ exId: 'crm-1' }, { idempotencyKey: 'k' });
  // @ts-expect-error no If-Match for a store
  await c2a.store({ customer: { externalIdentifier: 'crm-1' }, claimedRegion }, { ifMatch: '"1"' });
  // @ts-expect-error an option of the client
  createClient({ baseUrl: 'https://customers.example.com', tennant: 'acme', apiKey: 'sk_live_1' });
}

export async function streams() {
  // @ts-expect-error a field of a row
  c2a.import([{ customer: { externalIdentifier: 'crm-1', emial: 'a@example.com' }, claimedRegion }]);
  // @ts-expect-error an erasure is named by what is erased
  c2a.import([{ delete: { externalId: 'crm-1' } }]);
  async function* rows() {
    yield { customer: { externalIdentifier: 'crm-1' }, claimedRegion };
    yield { delete: { externalIdentifier: 'crm-2', sourceRevision: 1 } };
  }
  // @ts-expect-error complete rows must be repeatable
  c2a.import(rows(), { complete: true });
  c2a.import(rows, { complete: true });
  for await (const answer of c2a.import(rows(), { dryRun: true })) {
    expectTypeOf(answer).toEqualTypeOf<ImportAnswer>();
    if (answer.outcome === 'refused') expectTypeOf(answer.status.message).toBeString();
    if (answer.outcome === 'created') expectTypeOf(answer.line).toBeNumber();
    if (answer.outcome === 'extra') expectTypeOf(answer.externalIdentifier).toBeString();
    if (answer.outcome === 'summary') expectTypeOf(answer.refused).toBeNumber();
  }
  // An export goes into an import.
  c2a.import(c2a.export());
  for await (const customer of c2a.export({ after: 'cu.00.1' })) expectTypeOf(customer).toEqualTypeOf<Customer>();
  for await (const page of c2a.changes({ after: 'start', wait: 30 })) {
    expectTypeOf(page).toEqualTypeOf<ChangesPage>();
    expectTypeOf(page.changes[0]?.type).toEqualTypeOf<
      'customer.stored' | 'customer.updated' | 'customer.merged' | 'customer.anonymized' | undefined
    >();
  }
  const delivery = await verifyWebhook({ secret: 'whsec_', body: '{}', headers: new Headers() });
  // @ts-expect-error it may not be genuine
  delivery.event;
}
