/** The published description is complete, and its examples are what the service answers. `npm run check` lints it. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import t from 'tap';
import type { Response } from '../../scripts/openapi.ts';
import { isObject } from '../../src/domain/field-schema.ts';
import { customerExamples } from '../../src/http/customer-examples.ts';
import { httpStatus, mediaType } from '../../src/http/envelope.ts';
import { changesExamples, historyExamples } from '../../src/http/routes/changes.ts';
import { erasureExamples } from '../../src/http/routes/erasures.ts';
import { exportExamples } from '../../src/http/routes/export.ts';
import { findExamples } from '../../src/http/routes/find.ts';
import { mergeExamples } from '../../src/http/routes/merge.ts';
import { referenceExamples } from '../../src/http/routes/references.ts';
import { subjectExportExamples } from '../../src/http/routes/subject-exports.ts';
import { syncExamples } from '../../src/http/routes/sync.ts';
import { base, storing } from '../support/client.ts';
import { answerFaults } from '../support/conformance.ts';
import { everyOperation, openApi, operations } from '../support/openapi.ts';
import { startService } from '../support/service.ts';

const service = await startService(t);
const responses = everyOperation.flatMap(({ operation }) => Object.entries(operation.responses));

const codesOf = (response: Response): string[] => Object.keys(response.content?.[mediaType]?.examples ?? {});

t.test('/openapi.json serves the committed file', async (t) => {
  const answer = await service.app.inject('/openapi.json');
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
  t.equal(answer.body, JSON.stringify(openApi));
});

t.test('the document describes every route, except the second base route and the files of /docs', async (t) => {
  const printed = service.app.printRoutes({ commonPrefix: false });
  const routes = [...printed.matchAll(/── (\/\S+) \(([A-Z, ]+)\)/g)].flatMap(([, path, methods = '']) =>
    methods
      .split(', ')
      .filter((method) => method !== 'HEAD')
      .map((method) => `${method} ${path}`),
  );
  const described = everyOperation.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
  const versioned = described.filter((one) => one.includes('/api/')).map((one) => one.replace('/api/', '/api/v1/'));
  t.equal(versioned.length, operations.length);
  t.same([...described, ...versioned].sort(), routes.sort());
});

t.test('the document contains no internal keyword', async (t) => {
  t.same(Object.keys(openApi.components.schemas).sort(), [
    'Access',
    'BareErrorEnvelope',
    'ChangeEvent',
    'Conflict',
    'Customer',
    'CustomerChange',
    'CustomerDto',
    'CustomerPreview',
    'CustomerState',
    'ErrorEnvelope',
    'ErrorStatus',
    'ImportAnswer',
    'ImportRow',
    'Reference',
    'SignedReceipt',
    'Snapshot',
    'SubjectExport',
    'Success',
    'Violation',
  ]);
  t.notMatch(JSON.stringify(openApi), /x-examples|def-\d|schema-\d|"hide"|"\$id"|"shape"|"writes"|"roles"|"default"/);
});

t.test('an operation needs API key and tenant together, or no credentials', async (t) => {
  for (const { path, operation } of everyOperation) {
    const credentials = [
      { apiKey: [], tenant: [] },
      { apiKey: [], tenant: [], jwtTenant: [] },
    ];
    t.same(operation.security, path.startsWith(base) ? credentials : [], path);
  }
});

t.test('every object schema is closed', async (t) => {
  const schemas = objectSchemas(openApi);
  t.ok(schemas.length > 40, `${schemas.length} object schemas`);
  const document = '/paths//openapi.json/get/responses/200/content/application/json; charset=utf-8/schema';
  for (const [path, schema] of schemas) t.equal(schema.additionalProperties, path === document, path);
});

/** Every object schema in a value, with its path. */
function objectSchemas(node: unknown, path = ''): [string, Readonly<Record<string, unknown>>][] {
  if (Array.isArray(node)) return node.flatMap((member, index) => objectSchemas(member, `${path}/${index}`));
  if (!isObject(node)) return [];
  const inner = Object.entries(node).flatMap(([name, member]) => objectSchemas(member, `${path}/${name}`));
  return [node.type].flat().includes('object') ? [[path, node], ...inner] : inner;
}

t.test('every operation describes the statuses that it can answer', async (t) => {
  const described = everyOperation.map(({ operation }) => [
    operation.operationId,
    Object.keys(operation.responses).map(Number),
  ]);
  t.same(Object.fromEntries(described), {
    validate: [200, 400, 401, 403, 404, 409, 413, 415, 429, 431, 500, 503],
    store: [200, 400, 401, 403, 409, 413, 415, 422, 429, 431, 500, 503],
    delete: [200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 431, 500, 503],
    update: [200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 431, 500, 503],
    merge: [200, 400, 401, 403, 404, 409, 413, 415, 422, 429, 431, 500, 503],
    info: [200, 400, 401, 404, 429, 431, 500, 503],
    erasure: [200, 400, 401, 403, 404, 429, 431, 500, 503],
    find: [200, 400, 401, 403, 404, 413, 415, 429, 431, 500, 503],
    changes: [200, 400, 401, 403, 409, 429, 431, 500, 503],
    history: [200, 400, 401, 403, 404, 429, 431, 500, 503],
    bindReference: [200, 400, 401, 403, 404, 409, 413, 415, 429, 431, 500, 503],
    listReferences: [200, 400, 401, 404, 429, 431, 500, 503],
    subjectExport: [200, 400, 401, 403, 404, 413, 415, 429, 431, 500, 503],
    sync: [200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 431, 500, 503],
    export: [200, 400, 401, 403, 429, 431, 500, 503],
    import: [200, 400, 401, 403, 415, 429, 431, 500, 503],
    receiptKey: [200, 400, 431, 500, 503],
    liveness: [200, 400, 431, 500, 503],
    readiness: [200, 400, 431, 500, 503],
    metrics: [200, 400, 431, 500, 503],
    openApi: [200, 400, 431, 500, 503],
    docs: [200, 400, 431, 500, 503],
  });
});

t.test('every message code has an example under its HTTP status, unless it belongs to no operation', async (t) => {
  const described = responses.flatMap(([status, response]) => codesOf(response).map((code) => `${status} ${code}`));
  const unmatched = ['404 NOT_FOUND', '405 METHOD_NOT_ALLOWED'];
  const expected = Object.entries(httpStatus).map(([code, status]) => `${status} ${code}`);
  t.same([...new Set([...described, ...unmatched])].sort(), expected.sort());
  for (const code of unmatched) t.match(openApi.info.description, code.replace(' ', ' `'));
});

t.test('a refusal has a named envelope, and its text names the codes of its examples', async (t) => {
  const refusals = responses.filter(([status]) => !['200', '401'].includes(status));
  t.ok(refusals.length > 40, `${refusals.length} refusals`);
  for (const [status, refusal] of refusals) {
    const codes = codesOf(refusal);
    t.ok(codes.length > 0, status);
    t.match(refusal.content?.[mediaType]?.schema.$ref, /^#\/components\/schemas\/(?:Bare)?ErrorEnvelope$/);
    const [, named] = /Codes: (.*)\.$/.exec(refusal.description) ?? [];
    t.same(named?.split(', '), codes, refusal.description);
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
    for (const [name, { value }] of Object.entries(media.examples ?? {})) {
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
  t.same(statusesWith('etag'), ['200']);
  t.same(statusesWith('idempotency-replayed'), ['200']);
});

t.test('the service answers the example requests with the example results', async (t) => {
  const { post, info, references, export: exported } = await startService(t);
  const available = { isAvailable: true, status: { messageCode: 'SUCCESS' } };
  t.same((await post('validate', customerExamples.validate.request)).body, available);
  const { result } = await post('store', customerExamples.store.request);
  const { customerUrn } = result;
  t.same(result, { ...customerExamples.store.result, customerUrn });
  const [record] = exportExamples.result;
  t.same((await exported()).body, [{ ...record, customerUrn }, { next: null }]);
  await post('store', storing({ externalIdentifier: 'crm-2' }));
  t.same((await exported(exportExamples.request)).body, [{ ...record, customerUrn }, { next: customerUrn }]);
  const { bindReference, listReferences } = referenceExamples;
  const times = { createdAt: result.createdAt, updatedAt: result.createdAt };
  const bound = { ...bindReference.result, customerUrn, ...times };
  t.same((await post('references', { ...bindReference.request, customerUrn })).result, bound);
  t.same((await references({ urn: customerUrn })).result, { ...listReferences.result, references: [bound] });
  t.same((await post('find', findExamples.request)).result, { ...findExamples.result, customerUrn });

  const { customer } = customerExamples.update.request;
  const updated = await post('update', { customer: { ...customer, customerUrn } });
  const { updatedAt } = result;
  t.same(updated.result, { ...customerExamples.update.result, customerUrn, updatedAt });
  t.same((await info({ urn: customerUrn })).result, { ...customerExamples.info.result, customerUrn, updatedAt });
  const from = (await post('store', storing({ externalIdentifier: 'merged' }))).result.customerUrn;
  t.same((await post('merge', { from, into: customerUrn })).result, updated.result);
  t.same((await post('delete', { customerUuid: customerUrn })).body, { status: { messageCode: 'SUCCESS' } });
  const synced = await post('sync', syncExamples.request);
  const expected = { ...syncExamples.result.result, customerUrn: synced.result.customerUrn };
  t.same(synced.body, { ...syncExamples.result, result: expected, status: { messageCode: 'SUCCESS' } });
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
  await refusedWith(service.export(exportExamples.invalid.request), exportExamples.invalid.errors);
  await refusedWith(post('find', findExamples.invalid.request), findExamples.invalid.errors);
  await refusedWith(post('merge', mergeExamples.invalid.request), mergeExamples.invalid.errors);
  await refusedWith(service.changes(changesExamples.invalid.request), changesExamples.invalid.errors);
  await refusedWith(get(`${base}/history`), historyExamples.invalid.errors);
  const { bindReference, listReferences } = referenceExamples;
  await refusedWith(post('references', bindReference.invalid.request), bindReference.invalid.errors);
  await refusedWith(service.references({}), listReferences.invalid.errors);
  const { invalid } = subjectExportExamples;
  await refusedWith(post('subject-export', invalid.request), invalid.errors);
  await refusedWith(post('sync', syncExamples.invalid.request), syncExamples.invalid.errors);
});

t.test('the routes without credentials answer as described', async (t) => {
  const open = everyOperation.filter(({ path }) => !path.startsWith(base));
  t.equal(open.length, 6);
  for (const { path: url } of open) {
    const answer = await service.app.inject(url);
    t.equal(answer.statusCode, 200, url);
    t.same(answerFaults({ method: 'GET', url }, answer), [], url);
  }
});
