/** The published description is valid and complete, and its examples are what the service answers. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import t from 'tap';
import type { Response } from '../../scripts/openapi.ts';
import { isObject } from '../../src/domain/field-schema.ts';
import { httpStatus } from '../../src/http/envelope.ts';
import { customerExamples } from '../../src/http/routes/customer-examples.ts';
import { erasureExamples } from '../../src/http/routes/erasures.ts';
import { base } from '../support/client.ts';
import { openApi, operations } from '../support/openapi.ts';
import { startService } from '../support/service.ts';

const service = await startService(t);
const responses = [
  ...operations.flatMap(({ operation }) => Object.entries(operation.responses)),
  ...componentResponses(),
];

/** The answers that belong to no operation, with their status. */
function componentResponses(): [string, Response][] {
  return Object.values(openApi.components.responses).map((response) => {
    const [code] = codesOf(response);
    return [String(httpStatus[code as keyof typeof httpStatus]), response];
  });
}
function codesOf(response: Response): string[] {
  return Object.values(response.content ?? {}).flatMap(({ examples }) => Object.keys(examples));
}

t.test('/openapi.json serves the committed file', async (t) => {
  const answer = await service.app.inject('/openapi.json');
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
  t.equal(answer.body, JSON.stringify(openApi));
});

t.test('the document is valid OpenAPI 3.1', async (t) => {
  const validator = new Validator();
  t.match(await validator.validate(structuredClone(openApi) as unknown as Record<string, unknown>), { valid: true });
  t.equal(validator.version, '3.1');
});

t.test('the document describes every operation of the API, and no internal keyword', async (t) => {
  const described = operations.map(({ path, operation }) => [path, operation.operationId]);
  t.same(
    described,
    ['validate', 'store', 'delete', 'update', 'info', 'erasure'].map((id) => [`${base}/${id}`, id]),
  );
  t.same(Object.keys(openApi.components.schemas).sort(), [
    'Customer',
    'CustomerChange',
    'CustomerDto',
    'Problem',
    'SignedReceipt',
    'Snapshot',
    'Success',
  ]);
  t.notMatch(JSON.stringify(openApi), /x-examples|def-\d|schema-\d|"hide"|"\$id"|"shape"|"writes"/);
});

t.test('every object schema is closed', async (t) => {
  const schemas = objectSchemas(openApi);
  t.ok(schemas.length > 50, `${schemas.length} object schemas`);
  for (const [path, schema] of schemas) t.equal(schema.additionalProperties, false, path);
});

/** Every object schema in a value, with its path. */
function objectSchemas(node: unknown, path = ''): [string, Readonly<Record<string, unknown>>][] {
  if (Array.isArray(node)) return node.flatMap((member, index) => objectSchemas(member, `${path}/${index}`));
  if (!isObject(node)) return [];
  const inner = Object.entries(node).flatMap(([name, member]) => objectSchemas(member, `${path}/${name}`));
  return node.type === 'object' ? [[path, node], ...inner] : inner;
}

t.test('every operation describes the statuses that it can answer', async (t) => {
  const described = operations.map(({ operation }) => [
    operation.operationId,
    Object.keys(operation.responses).map(Number),
  ]);
  t.same(Object.fromEntries(described), {
    validate: [200, 400, 401, 413, 415, 429, 431, 500, 503],
    store: [200, 400, 401, 403, 409, 413, 415, 422, 429, 431, 500, 503],
    delete: [200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 431, 500, 503],
    update: [200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 431, 500, 503],
    info: [200, 400, 401, 404, 429, 431, 500, 503],
    erasure: [200, 400, 401, 404, 429, 431, 500, 503],
  });
});

t.test('every message code has an example under its HTTP status', async (t) => {
  const described = responses.flatMap(([status, response]) => codesOf(response).map((code) => `${status} ${code}`));
  const expected = Object.entries(httpStatus).map(([code, status]) => `${status} ${code}`);
  t.same([...new Set(described)].sort(), expected.sort());
});

t.test('every code of a refusal has an example', async (t) => {
  const refusals = responses.filter(([status]) => status !== '200');
  t.ok(refusals.length > 40, `${refusals.length} refusals`);
  for (const [status, refusal] of refusals) {
    const media = Object.values(refusal.content ?? {});
    const codes = media.flatMap(({ schema }) => schema.properties?.status?.properties?.messageCode?.enum ?? []);
    t.equal(codes.length > 0, status !== '401', `${status} has codes, unless it has no body`);
    t.same(codesOf(refusal), codes, `${status} ${codes}`);
  }
});

t.test('every example is valid by its schema', async (t) => {
  const ajv = new Ajv2020({ strict: false });
  formats.default(ajv);
  ajv.addSchema(openApi, 'openapi');
  const bodies = [
    ...operations.flatMap(({ operation }) => operation.requestBody ?? []),
    ...responses.map(([, response]) => response),
  ];
  let checked = 0;
  for (const media of bodies.flatMap((body) => Object.values(body.content ?? {}))) {
    const schema = JSON.parse(JSON.stringify(media.schema).replaceAll('"#/', '"openapi#/'));
    for (const [name, { value }] of Object.entries(media.examples)) {
      t.ok(ajv.validate(schema, value), `${name}: ${ajv.errorsText()}`);
      checked += 1;
    }
  }
  t.ok(checked > 60, `${checked} examples`);
});

t.test('headers are described for the statuses that send them', async (t) => {
  const statusesWith = (header: string) =>
    [...new Set(responses.filter(([, { headers }]) => header in headers).map(([status]) => status))].sort();
  t.ok(responses.every(([, { headers }]) => 'x-request-id' in headers));
  t.same(statusesWith('www-authenticate'), ['401']);
  t.same(statusesWith('retry-after'), ['429', '503']);
  t.same(statusesWith('allow'), ['405']);
  t.same(statusesWith('etag'), ['200']);
  t.same(statusesWith('idempotency-replayed'), ['200']);
  for (const { operation } of operations) {
    const isRequired = operation.parameters.some(({ name, required }) => name === 'x-tn' && required);
    t.ok(isRequired, `${operation.operationId} requires x-tn`);
  }
});

t.test('the service answers the example requests with the example results', async (t) => {
  const { post, info } = await startService(t);
  const available = { isAvailable: true, status: { messageCode: 'SUCCESS' } };
  t.same((await post('validate', customerExamples.validate.request)).body, available);
  const { result } = await post('store', customerExamples.store.request);
  const { customerUrn } = result;
  t.same(result, { ...customerExamples.store.result, customerUrn });

  const { customer } = customerExamples.update.request;
  const updated = await post('update', { customer: { ...customer, customerUrn } });
  const { updatedAt } = result;
  t.same(updated.result, { ...customerExamples.update.result, customerUrn, updatedAt });
  t.same((await info({ urn: customerUrn })).result, { ...customerExamples.info.result, customerUrn, updatedAt });
  t.same((await post('delete', { customerUuid: customerUrn })).body, { status: { messageCode: 'SUCCESS' } });
});

t.test('the service answers the invalid examples with the published violations', async (t) => {
  const { post, get } = service;
  const refusedWith = async (answer: ReturnType<typeof get>, errors: readonly object[]) =>
    t.match(await answer, { outcome: '400 INVALID_REQUEST', body: { status: { errors: [...errors] } } });
  await refusedWith(
    post('validate', customerExamples.validate.invalid.request),
    customerExamples.validate.invalid.errors,
  );
  await refusedWith(post('store', customerExamples.store.invalid.request), customerExamples.store.invalid.errors);
  await refusedWith(post('delete', customerExamples.delete.invalid.request), customerExamples.delete.invalid.errors);
  await refusedWith(post('update', customerExamples.update.invalid.request), customerExamples.update.invalid.errors);
  await refusedWith(get(`${base}/info`), customerExamples.info.invalid.errors);
  await refusedWith(get(`${base}/erasure`), erasureExamples.invalid.errors);
});
