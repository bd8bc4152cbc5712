/**
 * The Postman collection (v2.1): the published examples and the main refusals, each with its checks. The OpenAPI document
 * gives the operations, the examples give the requests.
 */
import type { MessageCode } from '../src/application/outcome.ts';
import { customerExamples } from '../src/http/customer-examples.ts';
import { httpStatus, mediaType } from '../src/http/envelope.ts';
import { changesExamples, historyExamples } from '../src/http/routes/changes.ts';
import { erasureExamples } from '../src/http/routes/erasures.ts';
import { exportExamples } from '../src/http/routes/export.ts';
import { findExamples } from '../src/http/routes/find.ts';
import { importExamples } from '../src/http/routes/import.ts';
import { mergeExamples } from '../src/http/routes/merge.ts';
import { referenceExamples } from '../src/http/routes/references.ts';
import { subjectExportExamples } from '../src/http/routes/subject-exports.ts';
import { syncExamples } from '../src/http/routes/sync.ts';
import { ndjsonType } from '../src/http/streaming.ts';
import type { ApiOperation, OpenApi, OperationId } from './openapi.ts';

/** The published examples of each operation. */
const examples = {
  ...customerExamples,
  erasure: erasureExamples,
  subjectExport: subjectExportExamples,
  sync: syncExamples,
  export: exportExamples,
  import: { ...importExamples, request: {}, invalid: { ...importExamples.invalid, request: {} } },
  find: findExamples,
  changes: changesExamples,
  history: historyExamples,
  merge: mergeExamples,
  ...referenceExamples,
};
type Name = OperationId;

/** The order of the folders: each folder uses the customer of the folders before it. */
const order: readonly Name[] = [
  'validate',
  'store',
  'info',
  'find',
  'update',
  'merge',
  'bindReference',
  'listReferences',
  'subjectExport',
  'export',
  'changes',
  'history',
  'delete',
  'erasure',
  'sync',
  'import',
];

const { customer } = examples.store.request;

/**
 * Values of the examples that must be new in every run, or come from an earlier answer. In requests, a variable
 * replaces each of them; its initial value is the value in the example.
 */
const variables = {
  externalId: customer.externalIdentifier,
  email: customer.email,
  phoneNumber: customer.phoneNumber,
  newEmail: examples.update.request.customer.email,
  customerUrn: examples.store.result.customerUrn,
  otherUrn: examples.merge.request.from,
  cursor: examples.changes.result.next,
  reference: examples.bindReference.request.reference,
  idempotencyKey: 'c2a-sample',
};

/** Runs before the first request, so that a run does not conflict with an earlier one. */
const freshValues = [
  'const run = Date.now().toString(36) + Math.random().toString(36).slice(2, 6);',
  'const digits = String(Math.random()).slice(2, 9).padEnd(7, "0");',
  'pm.collectionVariables.set("externalId", "crm-" + run);',
  'pm.collectionVariables.set("email", "jane.doe+" + run + "@example.com");',
  'pm.collectionVariables.set("newEmail", "jane.new+" + run + "@example.com");',
  'pm.collectionVariables.set("phoneNumber", "+49 170 " + digits);',
  'pm.collectionVariables.set("reference", "sub-" + run);',
  'pm.collectionVariables.set("idempotencyKey", "c2a-" + run);',
];

const variableOf = new Map(Object.entries(variables).map(([name, value]) => [value, `{{${name}}}`]));
const templated = (sample: unknown, indent = 2): string =>
  JSON.stringify(sample, (_, value) => variableOf.get(value) ?? value, indent);

/** A request, and its expected answer. */
interface Step {
  readonly name: string;
  readonly expect: MessageCode | 401;
  readonly sample?: object;
  /** The body as NDJSON, instead of `sample`. */
  readonly lines?: readonly object[];
  /** The query of a POST. */
  readonly query?: Readonly<Record<string, string>>;
  /** The body as text, instead of `sample`. */
  readonly text?: string;
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly headers?: Record<string, string>;
  readonly apiKey?: string;
  readonly before?: readonly string[];
  /** Whether the answer is NDJSON: `body` is then the list of its lines. */
  readonly isNdjson?: true;
  /** More lines of the test script; `body` and `headers` are those of the answer. */
  readonly checks?: readonly string[];
}

const equal = (what: string, actual: string, expected: string): string =>
  `pm.test(${JSON.stringify(what)}, () => pm.expect(${actual}).to.eql(${expected}));`;
const remember = (variable: keyof typeof variables | 'etag', value: string): string =>
  `pm.collectionVariables.set("${variable}", ${value});`;
const replayed = equal('is the first answer', "headers.get('Idempotency-Replayed')", '"true"');
const key = { 'Idempotency-Key': '{{idempotencyKey}}' };
const unknownUrn = 'cu.00.999999999999';

/** A store of another customer that shares the fields in `same`. */
const storing = (same: Partial<typeof customer>): object => ({
  ...examples.store.request,
  customer: { externalIdentifier: '{{externalId}}-other', firstName: customer.firstName, ...same },
});

/** The requests of each operation. After them come the requests of {@link common}, which all operations have. */
const steps: Record<Name, readonly Step[]> = {
  validate: [
    {
      name: 'Is free',
      expect: 'SUCCESS',
      sample: examples.validate.request,
      before: freshValues,
      checks: [equal('is available', 'body.isAvailable', 'true')],
    },
  ],
  store: [
    {
      name: 'Stores',
      expect: 'SUCCESS',
      sample: examples.store.request,
      headers: key,
      checks: [
        remember('customerUrn', 'body.result.customerUrn'),
        equal('is the stored customer', 'body.result.firstName', JSON.stringify(customer.firstName)),
        equal('has the first version', "headers.get('ETag')", `'"1"'`),
      ],
    },
    {
      name: 'Retry with its Idempotency-Key',
      expect: 'SUCCESS',
      sample: examples.store.request,
      headers: key,
      checks: [
        replayed,
        equal('is the same customer', 'body.result.customerUrn', 'pm.collectionVariables.get("customerUrn")'),
      ],
    },
    {
      name: 'Another request with that Idempotency-Key',
      expect: 'IDEMPOTENCY_KEY_REUSED',
      sample: storing({}),
      headers: key,
    },
    { name: 'ExternalId taken', expect: 'CUSTOMER_ALREADY_STORED', sample: examples.store.request },
    { name: 'E-mail taken', expect: 'USER_WITH_SAME_EMAIL_EXISTS', sample: storing({ email: customer.email }) },
    {
      name: 'Phone number taken',
      expect: 'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
      sample: storing({ phoneNumber: customer.phoneNumber }),
    },
    {
      name: 'Stores another customer',
      expect: 'SUCCESS',
      sample: storing({}),
      checks: [remember('otherUrn', 'body.result.customerUrn')],
    },
  ],
  info: [
    {
      name: 'By URN',
      expect: 'SUCCESS',
      sample: examples.info.request,
      checks: [
        remember('etag', "headers.get('ETag')"),
        equal('is that customer', 'body.result.customerUrn', 'pm.collectionVariables.get("customerUrn")'),
      ],
    },
    { name: 'By ExternalId', expect: 'SUCCESS', sample: { exId: variables.externalId } },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { urn: unknownUrn } },
  ],
  find: [
    {
      name: 'By e-mail',
      expect: 'SUCCESS',
      sample: examples.find.request,
      checks: [equal('is that customer', 'body.result.customerUrn', 'pm.collectionVariables.get("customerUrn")')],
    },
    {
      name: 'By phone number',
      expect: 'SUCCESS',
      sample: { phoneNumber: variables.phoneNumber },
      checks: [equal('is that customer', 'body.result.customerUrn', 'pm.collectionVariables.get("customerUrn")')],
    },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { email: 'nobody@example.com' } },
  ],
  update: [
    {
      name: 'Another version',
      expect: 'VERSION_MISMATCH',
      sample: examples.update.request,
      headers: { 'If-Match': '"0"' },
    },
    {
      name: 'Changes',
      expect: 'SUCCESS',
      sample: examples.update.request,
      headers: { 'If-Match': '{{etag}}' },
      checks: [
        equal('has the new e-mail', 'body.result.email', 'pm.collectionVariables.get("newEmail")'),
        equal('has another version', "headers.get('ETag') !== pm.collectionVariables.get('etag')", 'true'),
      ],
    },
    {
      name: 'Unknown customer',
      expect: 'CUSTOMER_NOT_FOUND',
      sample: { customer: { ...examples.update.request.customer, customerUrn: unknownUrn } },
    },
  ],
  merge: [
    {
      name: 'Merges',
      expect: 'SUCCESS',
      sample: examples.merge.request,
      checks: [equal('is the other customer', 'body.result.customerUrn', 'pm.collectionVariables.get("customerUrn")')],
    },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { ...examples.merge.request, from: unknownUrn } },
  ],
  bindReference: [
    {
      name: 'Binds',
      expect: 'SUCCESS',
      sample: examples.bindReference.request,
      checks: [equal('is active', 'body.result.state', '"active"')],
    },
    {
      name: 'Sets the state',
      expect: 'SUCCESS',
      sample: { ...examples.bindReference.request, state: 'canceled' },
      checks: [equal('is canceled', 'body.result.state', '"canceled"')],
    },
    {
      name: 'Unknown customer',
      expect: 'CUSTOMER_NOT_FOUND',
      sample: { ...examples.bindReference.request, customerUrn: unknownUrn },
    },
  ],
  listReferences: [
    {
      name: 'By URN',
      expect: 'SUCCESS',
      sample: examples.listReferences.request,
      checks: [equal('has one', 'body.result.references.length', '1')],
    },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { urn: unknownUrn } },
  ],
  subjectExport: [
    {
      name: 'By URN',
      expect: 'SUCCESS',
      sample: examples.subjectExport.request,
      checks: [equal('is that customer', 'body.result.record.email', 'pm.collectionVariables.get("newEmail")')],
    },
    { name: 'By ExternalId', expect: 'SUCCESS', sample: { externalIdentifier: variables.externalId } },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { customerUrn: unknownUrn } },
  ],
  export: [
    {
      name: 'One customer',
      expect: 'SUCCESS',
      sample: examples.export.request,
      isNdjson: true,
      checks: [
        equal('has two lines', 'body.length', '2'),
        equal('begins with a customer', 'typeof body[0].externalIdentifier', '"string"'),
        equal('ends with a cursor', 'Object.keys(body[1])', '["next"]'),
      ],
    },
    {
      name: 'The end',
      expect: 'SUCCESS',
      sample: { after: 'cu.99.9999999999999' },
      isNdjson: true,
      checks: [equal('has the last line only', 'body', '[{ next: null }]')],
    },
  ],
  changes: [
    {
      name: 'One event',
      expect: 'SUCCESS',
      sample: examples.changes.request,
      checks: [
        equal('has one event', 'body.result.changes.length', '1'),
        equal('is of a first version', 'body.result.changes[0].type', '"customer.stored"'),
        remember('cursor', 'body.result.next'),
      ],
    },
    {
      name: 'After a cursor',
      expect: 'SUCCESS',
      sample: { after: variables.cursor },
      checks: [equal('has another cursor', "body.result.next !== pm.collectionVariables.get('cursor')", 'true')],
    },
    {
      name: 'The end, and a second for something new',
      expect: 'SUCCESS',
      sample: { after: 'end', wait: '1' },
      checks: [equal('has no events', 'body.result.changes.length', '0')],
    },
    {
      name: 'A cursor of another feed',
      expect: 'CURSOR_FROM_BEFORE_A_RESTORE',
      sample: { after: 'OTk5OTk5OTk5OS41ZThjNWJiMC02YzBjLTRkNjktOGE5Yy0wYThhOWQxYTJmNmU' },
    },
  ],
  history: [
    {
      name: 'By URN',
      expect: 'SUCCESS',
      sample: examples.history.request,
      checks: [
        equal('begins with the store', 'body.result.changes[0].type', '"customer.stored"'),
        equal('has the searches of before', 'body.result.accesses[0].operation', '"find"'),
      ],
    },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { urn: unknownUrn } },
  ],
  delete: [
    { name: 'Merged customer', expect: 'CUSTOMER_MERGED', sample: { customerUrn: variables.otherUrn } },
    { name: 'Anonymises', expect: 'SUCCESS', sample: examples.delete.request },
    { name: 'Is idempotent', expect: 'SUCCESS', sample: examples.delete.request },
    { name: 'Unknown customer', expect: 'CUSTOMER_NOT_FOUND', sample: { customerUuid: unknownUrn } },
  ],
  erasure: [
    {
      name: 'Receipt',
      expect: 'SUCCESS',
      sample: examples.erasure.request,
      checks: [
        equal('is that customer', 'body.result.receipt.customerUrn', 'pm.collectionVariables.get("customerUrn")'),
        equal('finds nothing left', 'body.result.receipt.residualScan.clean', 'true'),
      ],
    },
    { name: 'No erasure', expect: 'ERASURE_NOT_FOUND', sample: { urn: unknownUrn } },
  ],
  sync: [
    {
      name: 'Creates',
      expect: 'SUCCESS',
      sample: examples.sync.request,
      checks: [equal('is created', 'body.outcome', '"created"')],
    },
    {
      name: 'Again',
      expect: 'SUCCESS',
      sample: examples.sync.request,
      checks: [equal('is unchanged', 'body.outcome', '"unchanged"')],
    },
    {
      name: 'An older revision',
      expect: 'SUCCESS',
      sample: { ...examples.sync.request, sourceRevision: 1 },
      checks: [equal('is stale', 'body.outcome', '"stale"')],
    },
    {
      name: 'The same revision, other content',
      expect: 'REVISION_CONFLICT',
      sample: { ...examples.sync.request, customer: { externalIdentifier: variables.externalId } },
    },
  ],
  import: [
    {
      name: 'A dry run',
      expect: 'SUCCESS',
      lines: importExamples.request,
      query: { dryRun: 'true' },
      isNdjson: true,
      checks: [
        equal('is unchanged', 'body[0].outcome', '"unchanged"'),
        equal('refuses one', 'body[3].summary.refused', '1'),
      ],
    },
    {
      name: 'Imports',
      expect: 'SUCCESS',
      lines: importExamples.request,
      isNdjson: true,
      checks: [equal('ends', 'body[3].status.messageCode', '"SUCCESS"')],
    },
  ],
};

/** The refusals that every operation has. An import reads lines, and no JSON body. */
function common(name: Name, method: 'GET' | 'POST'): Step[] {
  if (name === 'import') return importRefusals();
  const { request, errors } = examples[name].invalid;
  const reported = equal('reports every violation', 'body.status.errors', JSON.stringify(errors));
  return [
    { name: 'Broken field rules', expect: 'INVALID_REQUEST', sample: request, checks: [reported] },
    ...(method === 'POST'
      ? ([
          { name: 'Empty body', expect: 'BAD_REQUEST', text: '' },
          { name: 'Malformed JSON', expect: 'BAD_REQUEST', text: '{"customer":' },
          {
            name: 'Not JSON',
            expect: 'UNSUPPORTED_MEDIA_TYPE',
            text: 'a=b',
            headers: { 'Content-Type': 'text/plain' },
          },
        ] as const)
      : []),
    { name: 'Wrong key', expect: 401, sample: examples[name].request, apiKey: 'sk_dev_wrong' },
    {
      name: 'Wrong method',
      expect: 'METHOD_NOT_ALLOWED',
      method: 'DELETE',
      checks: [`pm.test('Allow', () => pm.expect(headers.get('Allow')).to.include('${method}'));`],
    },
  ];
}

function importRefusals(): Step[] {
  const { query, errors } = importExamples.invalid;
  const reported = equal('reports every violation', 'body.status.errors', JSON.stringify(errors));
  const lines = importExamples.request;
  return [
    { name: 'Broken field rules', expect: 'INVALID_REQUEST', lines, query, checks: [reported] },
    { name: 'Empty body', expect: 'BAD_REQUEST', text: '' },
    { name: 'Not NDJSON', expect: 'UNSUPPORTED_MEDIA_TYPE', sample: lines[0] },
    { name: 'Wrong key', expect: 401, lines, apiKey: 'sk_dev_wrong' },
  ];
}

/** Checks status, media type, code and request id. */
function testScript({ expect, isNdjson, checks = [] }: Step): string[] {
  const status = expect === 401 ? 401 : httpStatus[expect];
  return [
    'const { headers } = pm.response;',
    equal(`${status}`, 'pm.response.code', `${status}`),
    "pm.test('request id', () => pm.expect(headers.get('X-Request-Id')).to.match(/^[A-Za-z0-9._-]{1,64}$/));",
    ...(expect === 401
      ? [
          equal('empty body', 'pm.response.text()', '""'),
          "pm.test('challenge', () => pm.expect(headers.get('WWW-Authenticate')).to.be.a('string'));",
        ]
      : isNdjson
        ? [
            equal('media type', "headers.get('Content-Type')", JSON.stringify(ndjsonType)),
            "const body = pm.response.text().trim().split('\\n').map((line) => JSON.parse(line));",
          ]
        : [
            equal('media type', "headers.get('Content-Type')", JSON.stringify(mediaType)),
            'const body = pm.response.json();',
            equal(expect, 'body.status.messageCode', `"${expect}"`),
          ]),
    ...checks,
  ];
}

function item(path: string, usual: 'GET' | 'POST', step: Step): object {
  const { method = usual, headers = {}, sample, lines, text, apiKey } = step;
  const query = Object.entries(method === 'GET' ? (sample ?? {}) : (step.query ?? {}));
  const written = lines?.map((line) => templated(line, 0)).join('\n') ?? templated(sample ?? {});
  const raw = method === 'GET' ? undefined : (text ?? written);
  const type = lines === undefined ? 'application/json' : ndjsonType;
  const sent = { 'x-tn': '{{tenant}}', ...(raw !== undefined && { 'Content-Type': type }), ...headers };
  const pairs = query.map(([name, value]) => ({ key: name, value: variableOf.get(value) ?? value }));
  const search = pairs.map(({ key, value }) => `${key}=${value}`).join('&');
  return {
    name: `${step.name}: ${step.expect}`,
    event: [...(step.before ? [script('prerequest', step.before)] : []), script('test', testScript(step))],
    request: {
      method,
      ...(apiKey !== undefined && { auth: keyAuth(apiKey) }),
      header: Object.entries(sent).map(([key, value]) => ({ key, value })),
      ...(raw !== undefined && { body: { mode: 'raw', raw } }),
      url: {
        raw: `{{baseUrl}}${path}${search && `?${search}`}`,
        host: ['{{baseUrl}}'],
        path: path.split('/').slice(1),
        ...(pairs.length > 0 && { query: pairs }),
      },
    },
  };
}

const script = (listen: 'prerequest' | 'test', exec: readonly string[]) => ({
  listen,
  script: { type: 'text/javascript', exec },
});

const keyAuth = (value: string) => ({
  type: 'apikey',
  apikey: Object.entries({ key: 'x-api-key', value, in: 'header' }).map(([key, value]) => ({
    key,
    value,
    type: 'string',
  })),
});

export function postmanCollection({ info, paths }: OpenApi): object {
  const folders = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, ApiOperation>)
      .filter(([, { security }]) => security.length > 0)
      .map(([verb, { operationId, summary, description }]) => {
        const method = verb === 'get' ? 'GET' : 'POST';
        const all = [...steps[operationId], ...common(operationId, method)];
        const items = all.map((step) => item(path, method, step));
        return { operationId, folder: { name: summary, description, item: items } };
      }),
  );
  const position = ({ operationId }: { operationId: Name }): number => order.indexOf(operationId);
  const initial = { baseUrl: 'http://localhost:3000', tenant: 'acme', apiKey: '', ...variables, etag: '' };
  return {
    info: {
      name: info.title,
      description: `${info.description}\n\nSet \`baseUrl\`, \`tenant\` and \`apiKey\`, then run the whole collection.`,
      schema: 'https://schema.getpostman.com/json/collection/v2.1.0/collection.json',
    },
    auth: keyAuth('{{apiKey}}'),
    variable: Object.entries(initial).map(([key, value]) => ({ key, value, type: 'string' })),
    item: folders.sort((a, b) => position(a) - position(b)).map(({ folder }) => folder),
  };
}
