/** Arbitraries for fast-check: requests, generated from the API description and then mutated, and mutated bytes. */
import fc from 'fast-check';
import type { Schema } from '../../scripts/openapi.ts';
import { base } from './client.ts';
import { openApi, operations } from './openapi.ts';

export interface FuzzedRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string;
}

/** Few, so that requests name the customers of other requests. */
const names = fc.constantFrom('crm-1', 'crm-2', 'crm-3', 'cu.00.1', 'cu.00.2', 'cu.00.3');

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  // Any UTF-16 code units: lone surrogates, control characters, private and unassigned ones.
  fc.array(fc.integer({ max: 0xffff, min: 0 }), { maxLength: 20 }).map((units) => String.fromCharCode(...units)),
  fc.constantFrom(
    '',
    ' \t\u00a0\ufeff',
    'a\0b',
    '\ud800',
    'x\udfff',
    '\u202egnp.exe',
    'ﷺ'.repeat(40),
    'e\u0301'.repeat(64),
    'İstanbul',
    'ß@ß.example',
    'a@[IPv6:::1]',
    '"a b"@example.com',
    "x'; DROP TABLE customers; --",
    '../../etc/passwd',
    '{{7*7}}',
    '__proto__',
    'anonymized-cu.00.1',
    'cu.00.99999999999999999999',
    '+49 170 0000000',
    'x'.repeat(129),
    'x'.repeat(40_000),
  ),
);

const nested = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`) as unknown;

const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: text },
  names,
  fc.constantFrom(null, true, false, 0, -0, 1e308, -1, 0.1, 2 ** 53, [], {}, [null], { toString: 1 }, nested(300)),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Values that conform to a schema. */
function conforming(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.$ref) {
    const named = openApi.components.schemas[schema.$ref.split('/').at(-1) as string];
    return conforming(named as Schema);
  }
  if (schema.oneOf) return fc.oneof(...schema.oneOf.map((one) => conforming(one)));
  if (Array.isArray(schema.type)) return fc.oneof(...schema.type.map((type) => conforming({ ...schema, type })));
  if (schema.type === 'null') return fc.constant(null);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (schema.pattern) return fc.stringMatching(new RegExp(schema.pattern));
  switch (schema.type) {
    case 'object': {
      const { properties = {}, required = [] } = schema;
      const members = Object.entries(properties).map(([name, one]) => [name, conforming(one)] as const);
      return fc.record(Object.fromEntries(members), { requiredKeys: [...required] });
    }
    case 'string':
      return fc.oneof(names, fc.string({ minLength: schema.minLength ?? 0, maxLength: schema.maxLength ?? 20 }));
    case 'boolean':
      return fc.boolean();
    default:
      return fc.constant(schema.const ?? null);
  }
}

/** A number from 0 to 1 (exclusive), without fast-check's bias towards the ends. */
const anywhere = fc.noBias(fc.nat({ max: 9_999 })).map((part) => part / 10_000);

interface Mutation {
  /** Selects the member or container to change: its index divided by their number. */
  readonly where: number;
  readonly how: 'replace' | 'remove' | 'add' | 'wrap' | 'repeat';
  readonly name: string;
  readonly value: unknown;
}
const valueMutations: fc.Arbitrary<Mutation> = fc.record({
  where: anywhere,
  how: fc.constantFrom('replace', 'remove', 'add', 'wrap', 'repeat'),
  name: fc.oneof(fc.constantFrom('customer', 'email', 'CustomerUrn', '__proto__', 'constructor', ''), fc.string()),
  value: anyValue,
});

type Container = Record<string, unknown>;

/** Every object and array within a value, including the value itself. */
function containers(value: unknown): Container[] {
  if (typeof value !== 'object' || value === null) return [];
  return [value as Container, ...Object.values(value).flatMap(containers)];
}

function mutate(original: unknown, { where, how, name, value }: Mutation): unknown {
  const whole = structuredClone(original);
  const places = containers(whole).slice(0, 200);
  const members = places.flatMap((container) => Object.keys(container).map((key) => ({ container, key })));
  const member = members[Math.floor(where * members.length)];
  const place = places[Math.floor(where * places.length)];
  if (how === 'add' && place) Object.defineProperty(place, name, { value, enumerable: true, configurable: true });
  else if (member === undefined) return value;
  else if (how === 'replace') member.container[member.key] = value;
  else if (how === 'remove') delete member.container[member.key];
  else if (how === 'wrap') member.container[member.key] = [member.container[member.key]];
  else if (how === 'repeat') member.container[member.key] = repeated(textOf(member.container[member.key]));
  return whole;
}

/** Cuts the text first, since a mutation may repeat a text that was already repeated. */
const repeated = (text: string): string => text.slice(0, 10_000).repeat(50);

/** A value as text: usually its JSON, sometimes malformed. */
const written = (value: unknown) => {
  const json = JSON.stringify(value) ?? '';
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant(json) },
    fc.nat({ max: json.length }).map((end) => json.slice(0, end)),
    fc.constantFrom(`\ufeff${json}`, `${json}${json}`, json.replaceAll('"', "'"), `{"customer":{},${json.slice(1)}`),
    text,
  );
};

const headerValue = fc.oneof(
  fc.constantFrom('', '*', '"1"', '"2", "1"', 'W/"1"', 'same', 'x'.repeat(129), 'a b', 'a, b', '\x7f', 'ÿ'),
  fc.stringMatching(/^[\x20-\x7e]{0,40}$/),
);
const mediaTypes = fc.oneof(
  { weight: 12, arbitrary: fc.constant('application/json') },
  fc.constantFrom('application/json; charset=latin1', 'text/plain', 'application/jsonx', '', ';', 'a/b/c'),
);

const bases = fc.oneof(
  { weight: 12, arbitrary: fc.constant(base) },
  fc.constantFrom('/api/v1/c2a/customer', '/API/C2A/customer', '/api/v2/c2a/customer', '/api', '', `/${base}`),
);
const endings = fc.oneof(
  { weight: 12, arbitrary: fc.constant('') },
  fc.constantFrom('/', '//', '%', '%zz', '%00', '%2e%2e%2f', ';x=y', '#x', '/..', `/${'x'.repeat(2_000)}`),
);
const queries = fc
  .array(
    fc.tuple(
      fc.constantFrom('urn', 'exId', 'exId[]', 'after', 'limit', 'includeAnonymized', '__proto__', 'x'),
      fc.oneof(
        names.map(encodeURIComponent),
        text.map((one) => encodeURIComponent(one.slice(0, 1_000).toWellFormed())),
        fc.constantFrom('%', '%zz', '%00', '%ed%a0%80', '+', '&&', '=', '0', '2', '1e3', 'true'),
      ),
    ),
    { maxLength: 3 },
  )
  .map((pairs) => (pairs.length === 0 ? '' : `?${pairs.map((pair) => pair.join('=')).join('&')}`));

/** Requests of a caller with these credentials: some as described, most with a few mutations. */
export function fuzzedRequests(credentials: Readonly<Record<string, string>>): fc.Arbitrary<FuzzedRequest> {
  return fc.constantFrom(...operations).chain(({ path, method: lowerCaseMethod, operation }) => {
    const method = lowerCaseMethod.toUpperCase();
    const media = operation.requestBody?.content?.['application/json'];
    const samples = Object.values(media?.examples ?? { none: { value: {} } }).map(({ value }) => value);
    const bodies = fc
      .tuple(
        media ? fc.oneof(fc.constantFrom(...samples), conforming(media.schema)) : anyValue,
        fc.oneof(fc.constant([]), fc.array(valueMutations, { maxLength: 4 })),
      )
      .map(([body, changes]) => changes.reduce(mutate, body))
      .chain(written);
    const optional = operation.parameters.filter((one) => one.in === 'header').map(({ name }) => name.toLowerCase());
    return fc
      .record({
        method: fc.oneof(
          { weight: 12, arbitrary: fc.constant(method) },
          fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'),
        ),
        url: fc
          .tuple(bases, endings, method === 'GET' ? queries : fc.oneof(fc.constant(''), queries))
          .map(([root, ending, query]) => root + path.slice(base.length) + ending + query),
        given: fc.dictionary(fc.constantFrom(...optional, 'x-forwarded-for', 'range'), headerValue, { maxKeys: 2 }),
        damaged: fc.oneof(
          { weight: 40, arbitrary: fc.constant(undefined) },
          fc.tuple(fc.constantFrom(...Object.keys(credentials)), headerValue),
        ),
        type: mediaTypes,
        payload: method === 'GET' ? fc.oneof(fc.constant(''), bodies) : bodies,
      })
      .map(({ method, url, given, damaged, type, payload }) => ({
        method: method as 'GET',
        url,
        headers: { ...credentials, 'content-type': type, ...given, ...(damaged && { [damaged[0]]: damaged[1] }) },
        payload,
      }));
  });
}

const wedges = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  ':',
  '\t',
  '\xff',
  '0\r\n\r\n',
  'ffffffff\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: -1\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: x\r\n',
  'Connection: close\r\n',
  'Connection: Upgrade\r\nUpgrade: x\r\n',
  'Expect: 100-continue\r\n',
  'Host: y\r\n',
  '\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'x'.repeat(17_000),
];

/** Byte strings with one to four mutations: a part is overwritten, cut, doubled or inserted, or the end is removed. */
export function mutatedBytes(originals: readonly string[]): fc.Arbitrary<string> {
  const mutations = fc.array(
    fc.record({
      at: anywhere,
      length: fc.nat({ max: 30 }),
      how: fc.constantFrom('overwrite', 'cut', 'double', 'wedge', 'truncate'),
      byte: fc.nat({ max: 255 }).map((code) => String.fromCharCode(code)),
      wedge: fc.constantFrom(...wedges),
    }),
    { minLength: 1, maxLength: 4 },
  );
  return fc.tuple(fc.constantFrom(...originals), mutations).map(([original, changes]) =>
    changes.reduce((bytes, { at, length, how, byte, wedge }) => {
      const from = Math.floor(at * bytes.length);
      const [before, within, after] = [
        bytes.slice(0, from),
        bytes.slice(from, from + length),
        bytes.slice(from + length),
      ];
      switch (how) {
        case 'overwrite':
          return before + byte + bytes.slice(from + 1);
        case 'cut':
          return before + after;
        case 'double':
          return before + within + within + after;
        case 'wedge':
          return before + wedge + within + after;
        default:
          return length === 0 ? before : bytes;
      }
    }, original),
  );
}

/** Not `String`: a mutated object may have a `toString` that is not a function. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
