/** Compares answers with the published description of the API. Anything that it does not allow is a fault. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { LightMyRequestResponse } from 'fastify';
import { openApi } from './openapi.ts';

/** Headers that every HTTP server sends, so the description does not list them. */
const plainHeaders = ['content-type', 'content-length', 'date', 'connection'];
const alwaysThere = ['x-request-id'];
const versioned = ['store', 'update', 'info'];
/** Routes whose refusals contain only `status`. */
const bareRoutes = /^\/api\/c2a\/customer\/(?:validate|delete)$/;

/** The schema of an answer that belongs to no operation: an unknown path or method. */
const refusalWithoutOperation = (bare: boolean) => ({
  type: 'object',
  additionalProperties: false,
  required: bare ? ['status'] : ['result', 'status'],
  properties: {
    ...(!bare && { result: { type: 'null' } }),
    status: {
      type: 'object',
      additionalProperties: false,
      required: ['messageCode', 'message'],
      properties: {
        messageCode: { enum: ['NOT_FOUND', 'METHOD_NOT_ALLOWED', 'BAD_REQUEST'] },
        message: { type: 'string' },
      },
    },
  },
});

export interface Asked {
  readonly method: string;
  readonly url: string;
}

type Answered = Pick<LightMyRequestResponse, 'statusCode' | 'headers' | 'body' | 'json'>;

const ajv = new Ajv2020({ strict: false, allErrors: true });
formats.default(ajv);
ajv.addSchema(openApi, 'openapi');

/** The validator for the schema at this path in the document. */
function schemaAt(...path: readonly string[]) {
  const pointer = path.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')));
  const validate = ajv.getSchema(`openapi#/${pointer.join('/')}`);
  if (validate === undefined) throw new Error(`no schema at ${path.join(' ')}`);
  return validate;
}

function bodyFaults(validate: ReturnType<typeof schemaAt>, body: unknown): string[] {
  if (validate(body)) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `body${instancePath} ${message}`);
}

/** All differences between an answer and its description. */
export function answerFaults({ method, url }: Asked, answer: Answered): string[] {
  const path = canonicalPath(url);
  const operation = openApi.paths[path]?.[method.toLowerCase()];
  const status = String(answer.statusCode);
  const type = answer.headers['content-type'];
  const found: string[] = alwaysThere.filter((name) => answer.headers[name] === undefined).map((name) => `no ${name}`);
  if (answer.body !== '' && answer.headers['cache-control'] !== 'no-store') found.push('may be cached');
  if (operation === undefined) {
    if (!['400', '404', '405'].includes(status)) found.push(`status ${status} without an operation`);
    return [...found, ...bodyFaults(ajv.compile(refusalWithoutOperation(bareRoutes.test(path))), answer.json())];
  }

  const described = operation.responses[status];
  if (described === undefined) return [...found, `status ${status} is not described`];
  for (const name of Object.keys(answer.headers)) {
    if (!plainHeaders.includes(name) && !described.headers?.[name]) found.push(`header ${name} is not described`);
  }
  if (status === '200' && versioned.includes(operation.operationId) && !answer.headers.etag) found.push('no etag');
  if (described.content === undefined) {
    if (answer.body !== '' || type !== undefined) found.push('a body where none is described');
    return found;
  }
  if (typeof type !== 'string' || !(type in described.content)) return [...found, `media type ${type}`];
  const place = ['paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema'];
  return [...found, ...bodyFaults(schemaAt(...place), answer.json())];
}

/** All differences between the body of a POST and its description. */
export function requestFaults(path: string, body: unknown): string[] {
  return bodyFaults(schemaAt('paths', path, 'post', 'requestBody', 'content', 'application/json', 'schema'), body);
}

/** The path that the description lists for a URL: without `/v1`, in lower case, without query and trailing slash. */
const canonicalPath = (url: string): string =>
  url
    .replace(/[?#].*$/s, '')
    .toLowerCase()
    .replace('/api/v1/', '/api/')
    .replace(/(?<=.)\/$/, '');
