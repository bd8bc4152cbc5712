/** Compares answers with the published description of the API. Anything that it does not allow is a fault. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { LightMyRequestResponse } from 'fastify';
import { mediaType } from '../../src/http/envelope.ts';
import { ndjsonType } from '../../src/http/streaming.ts';
import { openApi } from './openapi.ts';

/** Headers that every HTTP server sends, so the description does not list them. */
const plainHeaders = ['content-type', 'content-length', 'transfer-encoding', 'date', 'connection'];
const alwaysThere = ['x-request-id'];
const versioned = ['store', 'update', 'info', 'find'];
/** The codes of answers that belong to no operation: an unknown path or method. */
const unmatchedCodes = ['NOT_FOUND', 'METHOD_NOT_ALLOWED', 'BAD_REQUEST'];
/** Routes whose refusals contain only `status`. */
const bareRoutes = /^\/api\/c2a\/customer\/(?:validate|delete)$/;

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
  const isOpen = operation?.security.length === 0;
  const status = String(answer.statusCode);
  const type = answer.headers['content-type'];
  const found: string[] = alwaysThere.filter((name) => answer.headers[name] === undefined).map((name) => `no ${name}`);
  if (answer.body !== '' && !isOpen && answer.headers['cache-control'] !== 'no-store') found.push('may be cached');
  if (operation === undefined) {
    if (!['400', '404', '405'].includes(status)) found.push(`status ${status} without an operation`);
    if (!unmatchedCodes.includes(answer.json().status?.messageCode)) found.push('a code without an operation');
    const envelope = bareRoutes.test(path) ? 'BareErrorEnvelope' : 'ErrorEnvelope';
    return [...found, ...bodyFaults(schemaAt('components', 'schemas', envelope), answer.json())];
  }

  const described = operation.responses[status];
  if (described === undefined) return [...found, `status ${status} is not described`];
  for (const name of Object.keys(answer.headers)) {
    if (!plainHeaders.includes(name) && !described.headers?.[name]) found.push(`header ${name} is not described`);
  }
  if (status === '200' && versioned.includes(operation.operationId) && !answer.headers.etag) found.push('no etag');
  const { content } = described;
  if (content === undefined) {
    if (answer.body !== '' || type !== undefined) found.push('a body where none is described');
    return found;
  }
  // A media type without parameters describes all parameters.
  const key = [String(type), String(type).split(';')[0] as string].find((one) => one in content);
  if (key === undefined) return [...found, `media type ${type}`];
  const place = ['paths', path, method.toLowerCase(), 'responses', status, 'content', key, 'schema'];
  if (key === ndjsonType) return [...found, ...(path.endsWith('/import') ? importFaults : exportFaults)(answer.body)];
  const body = /json/i.test(key) ? answer.json() : answer.body;
  const { messageCode } = body.status ?? {};
  const codes = Object.keys(content[key]?.examples ?? {});
  if (key === mediaType && !codes.includes(messageCode)) found.push(`code ${messageCode} has no example`);
  return [...found, ...bodyFaults(schemaAt(...place), body)];
}

/** An export: lines of customers, and a last line with a cursor. */
function exportFaults(text: string): string[] {
  const lines = text.split('\n').map((line) => (line === '' ? undefined : JSON.parse(line)));
  const end = lines.pop();
  const last = lines.pop();
  const isEnd = last !== undefined && Object.keys(last).join() === 'next';
  return [
    ...(end === undefined ? [] : ['the last line does not end']),
    ...(!isEnd ? ['no line with `next` at the end'] : []),
    ...lines.flatMap((line) => bodyFaults(schemaAt('components', 'schemas', 'Customer'), line)),
  ];
}

/** An import: lines of answers, and a last line with a summary. */
function importFaults(text: string): string[] {
  if (!text.endsWith('\n')) return ['the last line does not end'];
  const lines = text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
  return [
    ...(Object.keys(lines.at(-1)).join() === 'summary,status' ? [] : ['no summary at the end']),
    ...lines.flatMap((line) => bodyFaults(schemaAt('components', 'schemas', 'ImportAnswer'), line)),
  ];
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
