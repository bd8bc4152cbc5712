/**
 * packages/client/src/openapi.ts: the types of the client, made from the description of the API by openapi-typescript. The
 * refusals of each operation are narrowed to the message codes that it can answer, so that the compiler knows them.
 */
import openapiTypes, { astToString, type OpenAPI3 } from 'openapi-typescript';
import { mediaType } from '../src/http/envelope.ts';
import type { OpenApi, Operation, Response } from './openapi.ts';

const header = `/**
 * The types of the API. Generated from openapi.json: do not edit, run \`npm run generate\`.
 */
`;

/** The operation without credentials that the client uses. */
const openOperation = 'receiptKey';

export async function clientTypes(openApi: OpenApi): Promise<string> {
  const described = { ...openApi, paths: mapValues(openApi.paths, (methods) => mapValues(methods, narrowed)) };
  return header + astToString(await openapiTypes(withoutProse(described), { alphabetize: false }));
}

/** The operation with one response for all refusals; undefined for an operation that the client does not use. */
function narrowed(operation: Operation | undefined): object | undefined {
  if (operation === undefined) return undefined;
  if (operation.security.length === 0 && operation.operationId !== openOperation) return undefined;
  const { summary: _, description: __, responses, ...rest } = operation;
  const { 200: success, 401: unauthorized, ...refusals } = responses;
  const refused = refusalWith(Object.values(refusals).flatMap(codesOf));
  return { ...rest, responses: { 200: success, ...(unauthorized && { 401: unauthorized }), default: refused } };
}

/** The examples of a response are named by the message codes that it can have. */
const codesOf = ({ content }: Response): string[] => Object.keys(content?.[mediaType]?.examples ?? {});

const refusalWith = (codes: readonly string[]): object => {
  const narrow = { type: 'object', required: ['messageCode'], properties: { messageCode: { enum: codes } } };
  const status = { allOf: [{ $ref: '#/components/schemas/ErrorStatus' }, narrow] };
  const schema = { type: 'object', required: ['status'], properties: { status } };
  return { description: 'The request was refused.', content: { [mediaType]: { schema } } };
};

/** Without what is no type: headers and examples. */
const withoutProse = (described: object): OpenAPI3 =>
  JSON.parse(JSON.stringify(described, (key, value) => (['headers', 'examples'].includes(key) ? undefined : value)));

const mapValues = <Value, Result>(
  values: Readonly<Record<string, Value>>,
  map: (value: Value, name: string) => Result,
): Record<string, Result> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value, name)]));
