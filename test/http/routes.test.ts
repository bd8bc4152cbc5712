/** Paths, methods, the media type and the headers of every answer. */
import t from 'tap';
import { base, exchange, startService, storing } from '../support/service.ts';

const mediaType = 'application/clientOutput+Json; charset=utf-8';

t.test('the same routes answer under both bases, in any letter case, with and without a trailing slash', async (t) => {
  const { send, credentials } = await startService(t);
  const validate = (url: string) =>
    send({ method: 'POST', url, headers: { ...credentials }, payload: { externalId: 'x' } });
  const info = (url: string) => send({ method: 'GET', url: `${url}?exId=x`, headers: { ...credentials } });
  for (const root of ['/api/c2a/customer', '/api/v1/c2a/customer', '/api/C2A/Customer', '/API/V1/C2A/CUSTOMER']) {
    t.equal((await validate(`${root}/validate`)).outcome, '200 SUCCESS', root);
    t.equal((await validate(`${root}/Validate/`)).outcome, '200 SUCCESS', root);
    t.equal((await info(`${root}/info`)).outcome, '404 CUSTOMER_NOT_FOUND', root);
    t.equal((await info(`${root}/INFO/`)).outcome, '404 CUSTOMER_NOT_FOUND', root);
  }
});

t.test('the letter case of a query value is kept', async (t) => {
  const { post, info } = await startService(t);
  await post('store', storing({ externalIdentifier: 'CRM-a' }));
  t.equal((await info({ exId: 'CRM-a' })).status, 200);
  t.equal((await info({ exId: 'crm-a' })).status, 404);
});

t.test('both bases are one service', async (t) => {
  const { send, credentials, info } = await startService(t);
  const payload = storing({ externalIdentifier: 'x' });
  await send({ method: 'POST', url: '/api/v1/c2a/customer/store', headers: { ...credentials }, payload });
  t.equal((await info({ exId: 'x' })).status, 200);
});

t.test('every answer with a body has the one media type, in this letter case', async (t) => {
  const { post, info, send } = await startService(t);
  const answers = [
    await post('store', storing({ externalIdentifier: 'x' })),
    await post('store', storing({ externalIdentifier: 'x' })),
    await post('store', '{'),
    await post('validate', { externalId: 'x' }),
    await post('delete', {}),
    await info({ exId: 'x' }),
    await info({}),
    await send({ method: 'GET', url: '/' }),
    await send({ method: 'GET', url: `${base}/store` }),
    await send({ method: 'GET', url: '/%zz' }),
  ];
  for (const { headers, outcome } of answers) t.equal(headers['content-type'], mediaType, outcome);
});

t.test('the media type goes over the wire as it is', async (t) => {
  const raw = await exchange(
    await startService(t),
    `GET ${base}/info?exId=x HTTP/1.1\r\nHost: x\r\nCREDENTIALS\r\nConnection: close\r\n\r\n`,
  );
  t.match(raw, /^HTTP\/1\.1 404 /);
  t.ok(raw.includes(`\r\ncontent-type: ${mediaType}\r\n`));
});

t.test('what is no HTTP is refused in the envelope too', async (t) => {
  const service = await startService(t);
  const cases = [
    ['NONSENSE\r\n\r\n', 'BAD_REQUEST'],
    [`GET / HTTP/1.1\r\nHost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 'PAYLOAD_TOO_LARGE'],
  ] as const;
  for (const [raw, code] of cases) {
    const answer = await exchange(service, raw);
    t.match(answer, /^HTTP\/1\.1 4\d\d /);
    t.ok(answer.includes(`\r\ncontent-type: ${mediaType}\r\n`));
    t.match(answer, /\r\nx-request-id: [\w-]{36}\r\n/);
    t.ok(answer.includes(`\r\n\r\n{"result":null,"status":{"messageCode":"${code}"`));
  }
});

t.test('a sane request id is echoed, any other replaced', async (t) => {
  const { send } = await startService(t);
  const idFor = async (given?: string) => {
    const headers = given === undefined ? {} : { 'x-request-id': given };
    return (await send({ method: 'GET', url: '/', headers })).headers['x-request-id'];
  };
  for (const sane of ['a', 'A1._-', 'x'.repeat(64)]) t.equal(await idFor(sane), sane);
  for (const other of [undefined, '', 'a b', 'ä', 'a/b', 'x'.repeat(65), '<script>'])
    t.match(await idFor(other), /^[\w-]{36}$/);
  t.not(await idFor(), await idFor(), 'ours are unique');
});

t.test('a path that cannot be decoded is not found, and carries the request id too', async (t) => {
  const { send } = await startService(t);
  const { headers, outcome } = await send({ method: 'GET', url: '/%zz', headers: { 'x-request-id': 'mine' } });
  t.equal(outcome, '404 NOT_FOUND');
  t.equal(headers['x-request-id'], 'mine');
});

t.test('another method is refused with those that are allowed, in the shape of the route', async (t) => {
  const { send } = await startService(t);
  for (const root of [base, '/api/v1/c2a/customer', '/API/C2A/customer']) {
    for (const route of ['validate', 'store', 'delete', 'update']) {
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const) {
        const { outcome, headers, body } = await send({ method, url: `${root}/${route}/?x=1` });
        t.same([outcome, headers.allow], ['405 METHOD_NOT_ALLOWED', 'POST'], `${method} ${root}/${route}`);
        t.equal('result' in (body as object), route === 'store' || route === 'update');
      }
    }
    const { outcome, headers } = await send({ method: 'POST', url: `${root}/info`, payload: {} });
    t.same([outcome, headers.allow], ['405 METHOD_NOT_ALLOWED', 'GET, HEAD']);
  }
  for (const url of [`${base}/%73tore`, `http://example.com${base}/store`]) {
    t.equal((await send({ method: 'GET', url })).outcome, '405 METHOD_NOT_ALLOWED', url);
  }
});

t.test('what is no route is not found', async (t) => {
  const { send } = await startService(t);
  for (const url of [
    '/',
    '/api',
    base,
    `${base}/`,
    `${base}/stores`,
    `${base}/store/1`,
    '/api/v2/c2a/customer/store',
    '//',
    '/%00',
    `${base}%2fstore`,
  ]) {
    const { outcome, body, headers } = await send({ method: 'POST', url, payload: {} });
    t.equal(outcome, '404 NOT_FOUND', url);
    t.match(body, { result: null });
    t.equal(headers.allow, undefined);
  }
});
