/** The published description is valid, complete, and true of what the service answers. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import t from 'tap';
import { httpStatus } from '../../src/http/envelope.ts';
import { brokenRules, samples } from '../../src/http/samples.ts';
import { operations } from '../../src/http/schemas.ts';
import { base, startService } from '../support/service.ts';

interface Media {
  readonly schema: object;
  readonly examples: Readonly<Record<string, { readonly value: unknown }>>;
}
interface RefusalSchema {
  readonly properties: {
    readonly status: { readonly properties: { readonly messageCode: { readonly enum: string[] } } };
  };
}
interface Body {
  readonly content?: Readonly<Record<string, Media>>;
}
interface Response extends Body {
  readonly description: string;
  readonly headers: Readonly<Record<string, object>>;
}
interface Operation {
  readonly operationId: keyof typeof operations;
  readonly parameters: readonly { readonly name: string; readonly required: boolean }[];
  readonly requestBody?: Body;
  readonly responses: Readonly<Record<string, Response>>;
}
interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>;
    readonly responses: Readonly<Record<string, Response>>;
  };
}

const service = await startService(t);
const answer = await service.app.inject('/openapi.json');
const document = answer.json<OpenApi>();
const all = Object.values(document.paths).flatMap((path) => Object.values(path));
const responses = [...all.flatMap((one) => Object.entries(one.responses)), ...componentResponses()];

/** Answers that belong to no operation, by their status. */
function componentResponses(): [string, Response][] {
  return Object.values(document.components.responses).map((response) => {
    const [code] = codesOf(response);
    return [String(httpStatus[code as keyof typeof httpStatus]), response];
  });
}
function codesOf(response: Response): string[] {
  return Object.values(response.content ?? {}).flatMap(({ examples }) => Object.keys(examples));
}

t.test('it is a valid OpenAPI 3.1 document', async (t) => {
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
  const validator = new Validator();
  t.match(await validator.validate(answer.json<Record<string, unknown>>()), { valid: true });
  t.equal(validator.version, '3.1');
});

t.test('it describes every operation, and nothing of ours beside them', async (t) => {
  t.same(all.map(({ operationId }) => operationId).sort(), Object.keys(operations).sort());
  t.same(Object.keys(document.components.schemas).sort(), [
    'Customer',
    'CustomerChange',
    'CustomerDto',
    'Problem',
    'SignedReceipt',
    'Snapshot',
    'Success',
  ]);
  t.notMatch(answer.body, /x-examples|def-\d|schema-\d|"hide"|"\$id"|"shape"|"writes"/);
});

t.test('every messageCode has an example, under its HTTP status', async (t) => {
  const described = responses.flatMap(([status, response]) => codesOf(response).map((code) => `${status} ${code}`));
  const expected = Object.entries(httpStatus).map(([code, status]) => `${status} ${code}`);
  t.same([...new Set(described)].sort(), expected.sort());
});

t.test('every code that a refusal may have has an example', async (t) => {
  for (const [status, refusal] of responses.filter(([status]) => status !== '200')) {
    const media = Object.values(refusal.content ?? {});
    const codes = media.flatMap(
      ({ schema }) => (schema as RefusalSchema).properties.status.properties.messageCode.enum,
    );
    t.same(codesOf(refusal), codes, `${status} ${codes}`);
  }
});

t.test('every example is valid by its schema', async (t) => {
  const ajv = new Ajv2020({ strict: false });
  formats.default(ajv);
  ajv.addSchema(document, 'openapi');
  const bodies = [...all.flatMap((one) => one.requestBody ?? []), ...responses.map(([, response]) => response)];
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

t.test('headers are described where they are sent', async (t) => {
  const having = (header: string) =>
    new Set(responses.filter(([, { headers }]) => header in headers).map(([status]) => status));
  t.same(having('x-request-id'), new Set(responses.map(([status]) => status)));
  t.ok(responses.every(([, { headers }]) => 'x-request-id' in headers));
  t.same([...having('www-authenticate')], ['401']);
  t.same([...having('retry-after')].sort(), ['429', '503']);
  t.same([...having('allow')], ['405']);
  t.same([...having('etag')], ['200']);
  t.same([...having('idempotency-replayed')].sort(), ['200', '404', '409', '412']);
  for (const { parameters, operationId } of all) {
    t.ok(
      parameters.some(({ name, required }) => name === 'x-tn' && required),
      `${operationId} needs x-tn`,
    );
  }
});

t.test('the samples are true: the service answers them as published', async (t) => {
  const { post, info } = await startService(t);
  t.same((await post('validate', samples.validate)).body, { isAvailable: true, status: { messageCode: 'SUCCESS' } });
  const { result } = await post('store', samples.store);
  const { customerUrn, ...stored } = samples.customer;
  t.same(result, { ...stored, customerUrn: result.customerUrn });

  const { customer } = samples.update;
  const updated = await post('update', { customer: { ...customer, customerUrn: result.customerUrn } });
  t.same(updated.result, { ...samples.updated, customerUrn: result.customerUrn, updatedAt: result.updatedAt });
  const seen = await info({ urn: result.customerUrn });
  t.same(seen.result, { ...samples.snapshot, customerUrn: result.customerUrn, updatedAt: result.updatedAt });
  t.same((await post('delete', { customerUuid: result.customerUrn })).body, { status: { messageCode: 'SUCCESS' } });
});

t.test('the samples of broken rules are told exactly what is published', async (t) => {
  for (const [name, { request, errors }] of Object.entries(brokenRules)) {
    const { send, post, credentials } = service;
    const read = name === 'info' || name === 'erasure';
    const told = read
      ? await send({ method: 'GET', url: `${base}/${name}`, headers: { ...credentials } })
      : await post(name as 'store', request);
    t.match(told, { outcome: '400 INVALID_REQUEST', body: { status: { errors: [...errors] } } }, name);
  }
});
