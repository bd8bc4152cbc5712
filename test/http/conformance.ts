/** Holds answers against the published documentation: what it does not describe is a fault. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { LightMyRequestResponse } from 'fastify';

interface Described {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Readonly<Record<string, unknown>>;
}
interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, Described>>;
}
export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: object;
}

/** What any HTTP server sends, and what is no part of the contract. */
const plainHeaders = ['content-type', 'content-length', 'date', 'connection'];
const alwaysThere = ['x-request-id'];
const versioned = ['store', 'update', 'info'];
/** Operations whose refusals are a status and nothing beside it. */
const bareRoutes = /^\/api\/c2a\/customer\/(?:validate|delete)$/;

/** An answer without an operation: no such route or method, or a path that cannot be decoded. */
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

export function conformance(document: OpenApi) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  ajv.addSchema(document, 'openapi');

  /** The schema at a place in the document. */
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

  /** Everything in which an answer departs from its description. */
  function faults({ method, url }: Asked, answer: LightMyRequestResponse): string[] {
    const path = canonicalPath(url);
    const operation = document.paths[path]?.[method.toLowerCase()];
    const status = String(answer.statusCode);
    const type = answer.headers['content-type'];
    const found: string[] = alwaysThere
      .filter((name) => answer.headers[name] === undefined)
      .map((name) => `no ${name}`);
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

  /** Everything in which a request body departs from its description. */
  function requestFaults(path: string, body: unknown): string[] {
    return bodyFaults(schemaAt('paths', path, 'post', 'requestBody', 'content', 'application/json', 'schema'), body);
  }

  return { faults, requestFaults };
}

/** The versioned base, letter case and a trailing slash are other spellings of the described path. */
const canonicalPath = (url: string): string =>
  url
    .replace(/[?#].*$/s, '')
    .toLowerCase()
    .replace('/api/v1/', '/api/')
    .replace(/(?<=.)\/$/, '');
