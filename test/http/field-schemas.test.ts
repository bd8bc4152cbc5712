/** The schemas of the published description and the domain accept the same requests. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { applyChange, storeFields, updateFields } from '../../src/domain/customer.ts';
import type { FieldTable } from '../../src/domain/field-schema.ts';
import { changes, read, records, referenceData, storeBodies } from '../domain/arbitraries.ts';
import { base } from '../support/client.ts';
import { answerFaults, requestFaults } from '../support/conformance.ts';
import { startService } from '../support/service.ts';

t.test('the conformance check notices an answer that differs from its description', async (t) => {
  const { app, credentials } = await startService(t, { config: { rateLimit: 'off' } });
  const asked = { method: 'GET', url: `${base}/info?exId=x` };
  const answer = await app.inject({ method: 'GET', url: asked.url, headers: { ...credentials } });
  t.same(answerFaults(asked, answer), []);
  const { 'x-request-id': _, ...withoutId } = answer.headers;
  const more = { result: null, status: { messageCode: 'CUSTOMER_NOT_FOUND', message: 'x', detail: 'x' } };
  const doctored: [object, string][] = [
    [{ statusCode: 418 }, 'status 418 is not described'],
    [{ headers: withoutId }, 'no x-request-id'],
    [{ headers: { ...answer.headers, 'x-powered-by': 'x' } }, 'header x-powered-by is not described'],
    [{ headers: { ...answer.headers, 'content-type': 'application/json' } }, 'media type application/json'],
    [{ json: () => more }, 'body/status must NOT have additional properties'],
    [{ headers: { ...answer.headers, 'cache-control': 'max-age=60' } }, 'may be cached'],
    [{ statusCode: 401 }, 'a body where none is described'],
  ];
  for (const [change, fault] of doctored) t.ok(answerFaults(asked, { ...answer, ...change }).includes(fault), fault);

  const exporting = { method: 'GET', url: `${base}/export` };
  const exported = await app.inject({ method: 'GET', url: exporting.url, headers: { ...credentials } });
  t.same(answerFaults(exporting, exported), []);
  for (const [body, fault] of [
    ['{"next":null}', 'the last line does not end'],
    ['', 'no line with `next` at the end'],
    ['{"email":"x"}\n{"next":null}\n', "body must have required property 'customerUrn'"],
  ] as const) {
    t.ok(answerFaults(exporting, { ...exported, body }).includes(fault), fault);
  }
});

t.test('a body that the domain accepts conforms to CustomerDto, and its record to Customer', async (t) => {
  const { tenant } = await startService(t);
  let turn = 0;
  await fc.assert(
    fc.asyncProperty(storeBodies, async (body) => {
      assert.deepEqual(requestFaults(`${base}/store`, body), []);
      turn += 1;
      const { post, info } = await tenant(`tenant-${turn}`);
      // Each throws where the answer differs from its description.
      const stored = await post('store', body);
      assert.equal(stored.outcome, '200 SUCCESS');
      assert.equal((await info({ urn: stored.result.customerUrn })).status, 200);
      assert.equal((await post('delete', { customerUrn: stored.result.customerUrn })).status, 200);
      assert.equal((await info({ urn: stored.result.customerUrn })).status, 200);
    }),
  );
});

t.test('a change that the domain accepts conforms to CustomerChange', async () => {
  fc.assert(
    fc.property(records, changes, (record, change) => {
      const body = { customer: {}, ...change };
      if (applyChange(record, body, referenceData).ok) assert.deepEqual(requestFaults(`${base}/update`, body), []);
    }),
  );
});

t.test('null is described where it is accepted, in every field of a store and of an update', async (t) => {
  const { tenant } = await startService(t);
  const customer = {
    externalIdentifier: 'crm-1',
    primaryBillingAddress: { city: 'Berlin', countryCode: 'DE' },
    corporationInfo: { companyName: 'ACME', taxNumber: '1' },
  };
  const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
  const operations = {
    store: { table: storeFields, stored: undefined, body: { customer, claimedRegion } },
    // A record without groups: removing the required field of a group is then allowed.
    update: {
      table: updateFields,
      stored: { customer: { externalIdentifier: 'crm-1' }, claimedRegion },
      body: { customer: { externalIdentifier: 'crm-1' } },
    },
  };
  for (const [name, { table, stored, body }] of Object.entries(operations)) {
    for (const path of fieldPaths(table)) {
      const { post } = await tenant(`${name}-${path.join('-').toLowerCase()}`);
      if (stored !== undefined) await post('store', stored);
      const request = withNull(body, path);
      const { outcome } = await post(name as 'store', request);
      const isDescribed = requestFaults(`${base}/${name}`, request).length === 0;
      t.equal(isDescribed, outcome === '200 SUCCESS', `${name} ${path.join('.')}: ${outcome}`);
    }
  }
});

/** The path of every field of a table, including the fields of its groups. */
const fieldPaths = (table: FieldTable): string[][] =>
  Object.entries(table).flatMap(([name, field]) => [
    [name],
    ...(field.kind === 'group' ? fieldPaths(field.fields).map((path) => [name, ...path]) : []),
  ]);

/** The body with null at a path. */
const withNull = (body: Readonly<Record<string, unknown>>, [name, ...rest]: string[]): Record<string, unknown> => ({
  ...body,
  [name as string]: rest.length === 0 ? null : withNull((body[name as string] ?? {}) as typeof body, rest),
});

t.test('both refuse values that are too long, of a wrong kind, or unknown', async (t) => {
  const long = 'x'.repeat(129);
  for (const customer of [
    { firstName: long },
    { salutation: 'x'.repeat(33) },
    { externalIdentifier: long },
    { email: `${'x'.repeat(255)}@example.com` },
    { phoneNumber: '(+49'.padEnd(41, '1') },
    { gender: 'Unknown' },
    { legalType: 'Company' },
    { status: 'Anonymized' },
    { customerUrn: 'cu.1' },
    { primaryBillingAddress: { city: long } },
    { privacy: { emailConsent: 1 } },
    { nickname: 'J' },
  ]) {
    const body = { customer };
    t.not(read(updateFields, body).violations.length, 0);
    t.not(requestFaults(`${base}/update`, body).length, 0, JSON.stringify(body).slice(0, 60));
  }
});
