/** One line for each request, which names its tenant, key and duration and never a submitted value. */
import { PassThrough } from 'node:stream';
import pino from 'pino';
import t, { type Test } from 'tap';
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { customerFields } from '../../src/domain/customer.ts';
import { parseTenantId } from '../../src/domain/identity.ts';
import { base, type Headers, storing } from '../support/client.ts';
import { startService } from '../support/service.ts';
import { exchangeAll, portOf } from '../support/sockets.ts';

/** Part of every submitted value. */
const mark = 'Zx9';
const customer = { externalIdentifier: `${mark}-1`, email: `${mark}@example.com`, firstName: mark };

type Line = Readonly<Record<string, unknown>>;

async function startLogged(test: Test, options: Parameters<typeof startService>[1] = {}) {
  const stream = new PassThrough();
  const service = await startService(test, { ...options, logger: pino({ level: 'trace' }, stream) });
  const text = () => (stream.read() ?? '').toString() as string;
  text();
  const lines = (logged: string): Line[] =>
    logged
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  return { ...service, text, lines };
}

t.test('a request is logged in one line with exactly these members', async (t) => {
  const { post, text, lines, services } = await startLogged(t);
  const [key] = await services.apiKeys.list();
  await post('store', storing(customer), { 'x-request-id': 'mine' });
  const logged = lines(text());
  t.match(logged, [
    {
      level: 30,
      msg: 'request',
      requestId: 'mine',
      tenant: 'acme',
      keyId: key?.id as string,
      method: 'POST',
      route: '/api/c2a/customer/store',
      status: 200,
      code: 'SUCCESS',
      ms: Number,
    },
  ]);
  t.equal(logged.length, 1);
  const expected = [
    'code',
    'ip',
    'keyId',
    'level',
    'method',
    'ms',
    'msg',
    'requestId',
    'route',
    'status',
    'tenant',
    'time',
  ];
  t.same(
    Object.keys(logged[0] as Line)
      .filter((name) => !['pid', 'hostname'].includes(name))
      .sort(),
    expected,
  );
});

t.test('at level trace no submitted value is logged, for any outcome', async (t) => {
  const { post, info, send, anonymous, text, lines, credentials } = await startLogged(t);
  const url = `/${mark}?x=${mark}`;
  const requests: [status: number, send: () => Promise<{ status: number }>][] = [
    [200, () => post('store', storing(customer), { 'idempotency-key': mark, authorized: mark })],
    [409, () => post('store', storing(customer))],
    [422, () => post('store', storing({ ...customer, firstName: 'x' }), { 'idempotency-key': mark })],
    [400, () => post('store', storing({ externalIdentifier: `cu.${mark}`, email: mark, [`${mark} x`]: 1 }))],
    [400, () => post('store', `{"${mark}": ${mark}`)],
    [400, () => post('store', `{"__proto__": "${mark}"}`)],
    [413, () => post('store', mark.repeat(30_000))],
    [415, () => post('store', mark, { 'content-type': `text/${mark}` })],
    [200, () => post('update', { customer: { ...customer, lastName: mark } })],
    [412, () => post('update', { customer }, { 'if-match': mark })],
    [200, () => info({ exId: customer.externalIdentifier })],
    [404, () => info({ exId: `${mark}-2` })],
    [400, () => info({ urn: mark })],
    [404, () => send({ method: 'GET', url })],
    [405, () => send({ method: 'DELETE', url: `/api/c2a/customer/store?x=${mark}` })],
    [404, () => send({ method: 'GET', url: `/%zz${mark}` })],
    [401, () => anonymous.post('store', storing(customer), { 'x-tn': mark, 'x-api-key': mark })],
    [401, () => post('store', storing(customer), { authorization: `Bearer ${mark}` })],
    [200, () => post('delete', { externalIdentifier: customer.externalIdentifier })],
  ];
  for (const [status, send] of requests) t.equal((await send()).status, status);

  const logged = text();
  t.notMatch(logged, mark);
  t.notOk(logged.includes(credentials['x-api-key']));
  t.same(
    lines(logged).map(({ status }) => status),
    requests.map(([status]) => status),
    'one line for each request',
  );
});

t.test('no e-mail address and phone number of a find is in the log or in the metrics, for any outcome', async (t) => {
  for (const storage of ['memory', 'sqlite'] as const) {
    const { app, post, key, text, lines } = await startLogged(t, { storage, dataDir: t.testdir({}) });
    const contact = { email: 'jane.zx9@example.com', phoneNumber: '+49 170 1234567' };
    await post('store', storing({ externalIdentifier: 'crm-1', ...contact }));
    const reader = await key('acme', 'read');
    text();
    const requests: [status: number, body: unknown][] = [
      [200, { email: contact.email }],
      [200, { email: 'JANE.ZX9@EXAMPLE.COM' }],
      [200, { phoneNumber: contact.phoneNumber }],
      [200, { phoneNumber: '0170 1234567', countryCode: 'DE' }],
      [404, { email: 'john.zx9@example.com' }],
      [404, { phoneNumber: '+49 170 1234568' }],
      [400, { email: 'jane.zx9@' }],
      [400, { phoneNumber: '0170 1234567' }],
      [400, { phoneNumber: '+49 170 1234567 8901234567' }],
      [400, contact],
      [400, { email: contact.email, 'jane.zx9@example.com': 1, jane_zx9: 1 }],
      [400, '{"email": jane.zx9@example.com'],
      [413, `{"email": "${'jane.zx9'.repeat(10_000)}"}`],
    ];
    for (const { post: send } of [{ post }, reader]) {
      for (const [status, body] of requests) t.equal((await send('find', body)).status, status, JSON.stringify(body));
    }
    const logged = text();
    const { body: metrics } = await app.inject('/metrics');
    t.match(metrics, 'route="/api/c2a/customer/find"', 'the requests are counted');
    for (const output of [logged, metrics]) t.notMatch(output, /zx9|@example|1701234567|170 1234567/i);
    t.same(
      lines(logged).map(({ status }) => status),
      [...requests, ...requests].map(([status]) => status),
      'one line for each request',
    );
  }
});

t.test('an internal error is logged with its cause and without submitted values', async (t) => {
  const failure = new DatabaseFailure(new Error('disk I/O error'));
  const { post, text, lines } = await startLogged(t, {
    repository: Object.assign(new MemoryCustomers(createReferenceData()), {
      store: async () => {
        throw failure;
      },
      find: async () => undefined,
      update: async () => {
        throw new TypeError('a programming error');
      },
    }),
  });
  await post('store', storing(customer), { 'x-request-id': 'one' });
  await post('update', { customer }, { 'x-request-id': 'two' });
  const logged = text();
  t.notMatch(logged, mark);
  t.match(logged, 'disk I/O error');
  t.match(logged, 'a programming error');
  t.match(lines(logged), [
    { level: 50, requestId: 'one', route: '/api/c2a/customer/store' },
    { level: 30, requestId: 'one', status: 500, code: 'SQL_DATABASE_FAILURE' },
    { level: 50, requestId: 'two' },
    { level: 30, requestId: 'two', status: 500, code: 'INTERNAL_SERVER_ERROR' },
  ]);
});

t.test('a request that is not authenticated is logged without tenant and key', async (t) => {
  const { anonymous, text, lines } = await startLogged(t);
  await anonymous.info({ exId: 'x' });
  const [line] = lines(text());
  t.match(line, { status: 401, route: '/api/c2a/customer/info' });
  t.notOk('tenant' in (line as Line) || 'keyId' in (line as Line));
});

t.test('a request that broke field rules is logged with the names of the fields, and without values', async (t) => {
  const { post, info, text, lines } = await startLogged(t);
  const unknown = { [mark]: mark, [`${mark}_doe`]: 1, [`${mark} x`]: 1, [`x.${mark}`]: 1, nested: { [mark]: mark } };
  const requests: [send: () => Promise<{ status: number }>, fields: readonly string[]][] = [
    [
      () => post('store', storing({ email: mark, status: mark, firstName: 1 }, { countryCode: mark })),
      [
        'customer.externalIdentifier: required',
        'customer.email: invalid_format',
        'customer.firstName: invalid_type',
        'customer.status: invalid_value',
        'claimedRegion.countryCode: invalid_value',
        'claimedRegion.languageCode: required',
      ],
    ],
    [() => post('validate', { externalId: 'x', ...unknown }), ['body: unknown_field']],
    [
      () => post('store', storing({ externalIdentifier: 'x', ...unknown })),
      ['body: unknown_field', 'customer: unknown_field'],
    ],
    [
      () => post('store', storing({ externalIdentifier: 'x', privacy: unknown, [mark]: unknown })),
      ['customer.privacy: unknown_field', 'customer: unknown_field'],
    ],
    [() => post('delete', {}), ['customerUuid: exactly_one']],
    [
      () => post('delete', { customerUrn: 'cu.00.1' }, { 'idempotency-key': mark.repeat(99) }),
      ['Idempotency-Key: invalid_format'],
    ],
    [() => info({ urn: mark }), ['urn: invalid_format']],
  ];
  for (const [send] of requests) t.equal((await send()).status, 400);
  const logged = text();
  t.notMatch(logged, mark);
  const logs = lines(logged);
  t.equal(logs.length, requests.length);
  for (const [index, [, fields]] of requests.entries()) {
    const { status, code, fields: logged = [] } = logs[index] as Line & { readonly fields?: readonly string[] };
    t.same([status, code, logged.toSorted()], [400, 'INVALID_REQUEST', fields.toSorted()]);
  }
});

t.test('a request with thousands of violations has a short line', async (t) => {
  const { post, text } = await startLogged(t);
  const unknown = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`x${index}`, 1]));
  const wrong = Object.fromEntries(Object.keys(customerFields).map((name) => [name, 1]));
  for (const customer of [unknown, { ...wrong, ...unknown }, { privacy: unknown, primaryBillingAddress: unknown }]) {
    t.equal((await post('store', { ...unknown, ...storing(customer, unknown) })).status, 400);
    t.ok(text().length < 2_000);
  }
});

t.test('only a line of INVALID_REQUEST names fields', async (t) => {
  const { post, text, lines } = await startLogged(t);
  for (const body of ['{', storing({ externalIdentifier: 'x' }), storing({ externalIdentifier: 'x' })]) {
    await post('store', body);
  }
  const logs = lines(text());
  t.match(logs, [{ code: 'BAD_REQUEST' }, { code: 'SUCCESS' }, { code: 'CUSTOMER_ALREADY_STORED' }]);
  for (const line of logs) t.notOk('fields' in line);
});

t.test('a 401 is logged with the tenant and the beginning of the key that were claimed, if well-formed', async (t) => {
  const { anonymous, tenant, credentials, services, text, lines } = await startLogged(t);
  const { credentials: globex } = await tenant('globex');
  const issued = await services.apiKeys.list(parseTenantId('globex'));
  const prefix = credentials['x-api-key'].slice(0, 11);
  const live = apiKeyFormat.newApiKey('live');
  const mistyped = credentials['x-api-key'].replace(/.$/, (last) => (last === 'x' ? 'y' : 'x'));
  const cases: [headers: Headers, claimedTenant: string | undefined, keyPrefix: string | undefined][] = [
    [{}, undefined, undefined],
    [{ 'x-tn': 'acme' }, 'acme', undefined],
    [{ 'x-tn': 'nobody', 'x-api-key': credentials['x-api-key'] }, 'nobody', prefix],
    [{ 'x-tn': 'acme', 'x-api-key': globex['x-api-key'] }, 'acme', issued[0]?.prefix],
    [{ 'x-tn': 'acme', 'x-api-key': live }, 'acme', live.slice(0, 11)],
    [{ 'x-tn': 'acme', 'x-api-key': mistyped }, 'acme', undefined],
    [{ 'x-tn': 'ACME', 'x-api-key': `Bearer ${mark}` }, undefined, undefined],
    [{ 'x-tn': `${mark}@example.com`, 'x-api-key': mark }, undefined, undefined],
    [{ 'x-tn': 'a'.repeat(64), 'x-api-key': '' }, undefined, undefined],
    [{ ...credentials, authorization: `Bearer ${mark}` }, 'acme', prefix],
  ];
  for (const [headers] of cases) {
    t.equal((await anonymous.get(`${base}/info?exId=x`, headers)).status, 401);
  }
  const logged = text();
  t.notMatch(logged, mark);
  for (const key of [credentials['x-api-key'], globex['x-api-key'], live, mistyped]) {
    t.notOk(logged.includes(key.slice(0, 12)), 'no more of a key');
  }
  const logs = lines(logged);
  t.equal(logs.length, cases.length);
  for (const [index, [, claimedTenant, keyPrefix]] of cases.entries()) {
    const { status, tenant, keyId, ...line } = logs[index] as Line;
    t.same(
      [status, tenant, keyId, line.claimedTenant, line.keyPrefix],
      [401, undefined, undefined, claimedTenant, keyPrefix],
    );
  }
});

t.test('malformed HTTP is logged without its bytes', async (t) => {
  const { text, ...service } = await startLogged(t);
  await exchangeAll(await portOf(service), `NONSENSE ${mark}\r\n\r\n`);
  const logged = text();
  t.notMatch(logged, mark);
  t.notOk(logged.includes([...Buffer.from(mark)].join()), 'not as byte values either');
});
