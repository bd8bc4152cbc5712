/** C2A-01-03 `POST /delete`: retained and rewritten fields, and the operations on an anonymised customer. */
import { claimedRegion, storing } from '../../../support/client.ts';
import { eachStorage, refusedFor } from '../../../support/service.ts';

const jane = {
  externalIdentifier: 'crm-1',
  email: 'jane@example.com',
  phoneNumber: '+491701234567',
  salutation: 'Ms.',
  firstName: 'Jane',
  lastName: 'Doe',
  gender: 'Female',
  legalType: 'Corporate',
  primaryBillingAddress: {
    street: 'Hauptstraße 1',
    street2: '2. Stock',
    city: 'Berlin',
    postalCode: '10115',
    state: 'Berlin',
    countryCode: 'DE',
  },
  corporationInfo: { companyName: 'ACME', taxNumber: '1', taxOffice: 'Mitte', registrationNumber: 'HRB 1' },
  privacy: { emailConsent: true, smsConsent: true, phoneConsent: true, pushConsent: true, profilingConsent: true },
  status: 'Inactive',
};
const anonymized = {
  customerUrn: 'cu.00.1',
  externalIdentifier: 'anonymized-cu.00.1',
  email: 'anonymized-cu.00.1@anonymized.invalid',
  firstName: 'Anonymized',
  lastName: 'Anonymized',
  legalType: 'Corporate',
  primaryBillingAddress: { countryCode: 'DE' },
  privacy: { emailConsent: false, smsConsent: false, phoneConsent: false, pushConsent: false, profilingConsent: false },
  status: 'Anonymized',
  claimedRegion,
  createdAt: '2026-01-15T09:30:00.000Z',
  updatedAt: '2026-01-15T10:30:00.000Z',
  anonymizedAt: '2026-01-15T10:30:00.000Z',
  options: { availableChannels: [], canSavePaymentMethod: false },
  subscriptionSummary: { total: 0, active: 0, canceled: 0 },
};
const done = '{"status":{"messageCode":"SUCCESS"}}';

eachStorage((start, t) => {
  /** A service in which Jane was stored an hour ago as `cu.00.1`. */
  async function withJane(test: Parameters<typeof start>[0]) {
    const service = await start(test);
    await service.post('store', storing(jane));
    service.clock.now += 3_600_000;
    return service;
  }

  for (const name of [{ customerUuid: 'cu.00.1' }, { customerUrn: ' cu.00.1 ' }, { externalIdentifier: 'crm-1' }]) {
    t.test(`rewrites the record that ${Object.keys(name)[0]} names`, async (t) => {
      const { post, info } = await withJane(t);
      const answer = await post('delete', name);
      t.equal(answer.text, done);
      t.notOk(answer.headers.etag);
      t.strictSame((await info({ urn: 'cu.00.1' })).result, anonymized);
    });
  }

  t.test('adds no billing address', async (t) => {
    const { post, info } = await start(t);
    await post('store', storing({ externalIdentifier: 'crm-1' }));
    await post('delete', { customerUuid: 'cu.00.1' });
    const { result } = await info({ urn: 'cu.00.1' });
    t.notOk('primaryBillingAddress' in result);
    t.equal(result.legalType, 'Individual');
  });

  t.test('is idempotent: a second delete changes nothing, not even updatedAt', async (t) => {
    const { post, info, clock } = await withJane(t);
    await post('delete', { customerUuid: 'cu.00.1' });
    const { headers } = await info({ urn: 'cu.00.1' });
    clock.now += 3_600_000;
    t.equal((await post('delete', { customerUuid: 'cu.00.1' })).text, done);
    t.equal((await post('delete', { customerUrn: 'cu.00.1' })).text, done);
    const after = await info({ urn: 'cu.00.1' });
    t.strictSame(after.result, anonymized);
    t.equal(after.headers.etag, headers.etag);
  });

  t.test('frees the unique keys at once; a new store is a new customer', async (t) => {
    const { post, info } = await withJane(t);
    await post('delete', { externalIdentifier: 'crm-1' });
    t.match((await post('validate', { externalId: 'crm-1' })).body, { isAvailable: true });
    const again = await post('store', storing(jane));
    t.equal(again.result.customerUrn, 'cu.00.2');
    t.equal((await info({ exId: 'crm-1' })).result.customerUrn, 'cu.00.2');
    t.strictSame((await info({ urn: 'cu.00.1' })).result, anonymized, 'the two are not linked');
    t.equal((await post('delete', { externalIdentifier: 'crm-1' })).status, 200);
    t.equal((await info({ urn: 'cu.00.2' })).result.email, 'anonymized-cu.00.2@anonymized.invalid');
  });

  t.test('an anonymised customer is found only by its URN, and cannot be updated', async (t) => {
    const { post, info } = await withJane(t);
    await post('delete', { customerUuid: 'cu.00.1' });
    const gone = '404 CUSTOMER_NOT_FOUND';
    t.equal((await info({ exId: 'crm-1' })).outcome, gone);
    t.equal((await info({ exId: 'anonymized-cu.00.1' })).outcome, gone);
    t.equal((await post('delete', { externalIdentifier: 'crm-1' })).outcome, gone);
    t.equal((await post('delete', { externalIdentifier: 'anonymized-cu.00.1' })).outcome, gone);
    for (const named of [{ customerUrn: 'cu.00.1' }, { externalIdentifier: 'crm-1' }]) {
      t.equal((await post('update', { customer: { ...named, firstName: 'J' } })).outcome, gone);
    }
    t.equal((await post('update', { customer: { customerUrn: 'cu.00.1' } }, { 'if-match': '"1"' })).outcome, gone);
  });

  t.test('an unknown customer is not found', async (t) => {
    const { post } = await start(t);
    for (const name of [{ customerUuid: 'cu.00.1' }, { externalIdentifier: 'x' }, { externalIdentifier: 'cu.00.1' }]) {
      const answer = await post('delete', name);
      t.equal(answer.outcome, '404 CUSTOMER_NOT_FOUND');
      t.same(Object.keys(answer.body as object), ['status']);
    }
  });

  t.test('honours If-Match, but not for a customer that is already erased', async (t) => {
    const { post, info } = await withJane(t);
    const remove = (ifMatch: string, urn = 'cu.00.1') => post('delete', { customerUuid: urn }, { 'if-match': ifMatch });
    await post('update', { customer: { customerUrn: 'cu.00.1', lastName: 'Dow' } });
    for (const other of ['"1"', '"3"', 'W/"2"', '2', '"2" more', '']) {
      t.equal((await remove(other)).outcome, '412 VERSION_MISMATCH', other);
    }
    t.match((await info({ urn: 'cu.00.1' })).result, { lastName: 'Dow', email: jane.email }, 'nothing was erased');
    t.equal((await remove('"2"', 'cu.00.9')).outcome, '404 CUSTOMER_NOT_FOUND');
    t.equal((await remove('"7", "2"')).text, done);
    t.equal((await remove('"2"')).text, done, 'a retry without an Idempotency-Key');
    t.match((await info({ urn: 'cu.00.1' })).result, { status: 'Anonymized' });
    await post('store', storing(jane));
    t.equal((await remove('*', 'cu.00.2')).text, done);
  });

  t.test('accepts a case number of at most 64 visible characters', async (t) => {
    const { post } = await withJane(t);
    const remove = (reference: unknown) => post('delete', { customerUuid: 'cu.00.1', reference });
    for (const wrong of ['a b', 'ä', '\u200b', 'a\n1'])
      refusedFor(t, await remove(wrong), ['reference: invalid_format']);
    refusedFor(t, await remove('x'.repeat(65)), ['reference: too_long']);
    refusedFor(t, await remove(42), ['reference: invalid_type']);
    refusedFor(t, await post('delete', { reference: 'DSAR-1' }), ['customerUuid: exactly_one']);
    t.equal((await remove('!'.repeat(64))).text, done);
    for (const none of [null, '', ' DSAR-2 ']) t.equal((await remove(none)).text, done);
  });

  t.test('requires exactly one identifier, and a valid one', async (t) => {
    const { post } = await withJane(t);
    const cases: [body: object, ...violations: string[]][] = [
      [{}, 'customerUuid: exactly_one'],
      [{ customerUuid: null }, 'customerUuid: exactly_one'],
      [{ customerUuid: ' ' }, 'customerUuid: exactly_one'],
      [{ customerUuid: 'cu.00.1', customerUrn: 'cu.00.1' }, 'customerUuid: exactly_one'],
      [{ customerUrn: 'cu.00.1', externalIdentifier: 'crm-1' }, 'customerUuid: exactly_one'],
      [{ customerUuid: 'crm-1' }, 'customerUuid: invalid_format'],
      [{ customerUrn: 5 }, 'customerUrn: invalid_type'],
      [{ externalIdentifier: 'x'.repeat(129) }, 'externalIdentifier: too_long'],
      [{ customerUuid: 'crm-1', customerUrn: 'cu.00.1' }, 'customerUuid: invalid_format', 'customerUuid: exactly_one'],
      [{ customerUuid: 'cu.00.1', reason: 'x' }, 'reason: unknown_field'],
      [{ customer: { customerUrn: 'cu.00.1' } }, 'customer: unknown_field', 'customerUuid: exactly_one'],
    ];
    for (const [body, ...violations] of cases) refusedFor(t, await post('delete', body), violations);
    t.equal((await post('delete', { customerUuid: null, customerUrn: 'cu.00.1' })).text, done, 'null is absent');
  });

  t.test('concurrent updates cannot restore erased data', async (t) => {
    const { post, info } = await withJane(t);
    const update = (index: number) => post('update', { customer: { customerUrn: 'cu.00.1', firstName: `J${index}` } });
    const updates = Array.from({ length: 10 }, (_, index) => update(index));
    const [deleted, ...outcomes] = await Promise.all([post('delete', { customerUuid: 'cu.00.1' }), ...updates]);
    t.equal(deleted.status, 200);
    for (const { outcome } of outcomes) t.match(outcome, /^200 SUCCESS$|^404 CUSTOMER_NOT_FOUND$/);
    t.match((await info({ urn: 'cu.00.1' })).result, anonymized);
  });
});
