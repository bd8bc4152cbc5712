/** The published schemas and the domain say the same. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { applyChange, updateFields } from '../../src/domain/customer.ts';
import { isObject } from '../../src/domain/field-schema.ts';
import { changes, read, records, referenceData, storeBodies } from '../domain/arbitraries.ts';
import { base, documentationOf, startService } from '../support/service.ts';

/** Every object schema within, with its path. */
function objectSchemas(node: unknown, path = ''): [string, Readonly<Record<string, unknown>>][] {
  if (Array.isArray(node)) return node.flatMap((member, index) => objectSchemas(member, `${path}/${index}`));
  if (!isObject(node)) return [];
  const within = Object.entries(node).flatMap(([name, member]) => objectSchemas(member, `${path}/${name}`));
  return node.type === 'object' ? [[path, node], ...within] : within;
}

t.test('every object that is described is closed', async (t) => {
  const { app } = await startService(t);
  const described = (await app.inject('/openapi.json')).json();
  for (const [path, schema] of objectSchemas(described)) t.equal(schema.additionalProperties, false, path);
});

t.test('an answer that is not as described is noticed', async (t) => {
  const { app, credentials } = await startService(t, { config: { rateLimit: 'off' } });
  const asked = { method: 'GET', url: `${base}/info?exId=x` };
  const answer = await app.inject({ method: 'GET', url: asked.url, headers: { ...credentials } });
  const { faults } = await documentationOf(app);
  t.same(faults(asked, answer), []);
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
  for (const [change, fault] of doctored) t.ok(faults(asked, { ...answer, ...change }).includes(fault), fault);
});

t.test('every operation describes the answers of the error table that it can give', async (t) => {
  const { app } = await startService(t);
  const described = Object.entries((await app.inject('/openapi.json')).json().paths ?? {}).map(([path, operations]) => {
    const [operation] = Object.values(operations as object) as { responses: object }[];
    return [path.slice(base.length + 1), Object.keys(operation?.responses ?? {}).map(Number)];
  });
  t.same(Object.fromEntries(described), {
    validate: [200, 400, 401, 413, 415, 429, 500, 503],
    store: [200, 400, 401, 403, 409, 413, 415, 422, 429, 500, 503],
    delete: [200, 400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503],
    update: [200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503],
    info: [200, 400, 401, 404, 429, 500, 503],
    erasure: [200, 400, 401, 404, 429, 500, 503],
  });
});

t.test('what the domain accepts is a request as described, and its record an answer as described', async (t) => {
  const { app, tenant } = await startService(t);
  const { requestFaults } = await documentationOf(app);
  let turn = 0;
  await fc.assert(
    fc.asyncProperty(storeBodies, async (body) => {
      assert.deepEqual(requestFaults(`${base}/store`, body), []);
      turn += 1;
      const { post, info } = await tenant(`tenant-${turn}`);
      // Both throw where the answer is not as described.
      const stored = await post('store', body);
      assert.equal(stored.outcome, '200 SUCCESS');
      assert.equal((await info({ urn: stored.result.customerUrn })).status, 200);
      assert.equal((await post('delete', { customerUrn: stored.result.customerUrn })).status, 200);
      assert.equal((await info({ urn: stored.result.customerUrn })).status, 200);
    }),
  );
});

t.test('what the domain accepts as a change is an update as described', async (t) => {
  const { app } = await startService(t);
  const { requestFaults } = await documentationOf(app);
  fc.assert(
    fc.property(records, changes, (record, change) => {
      const body = { customer: {}, ...change };
      if (applyChange(record, body, referenceData).ok) assert.deepEqual(requestFaults(`${base}/update`, body), []);
    }),
  );
});

t.test('what is described as too long, missing or unknown is refused by both', async (t) => {
  const { app } = await startService(t);
  const { requestFaults } = await documentationOf(app);
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
