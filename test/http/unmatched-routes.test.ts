/** 404 and 405: requests that match no route. */
import t from 'tap';
import { base } from '../support/client.ts';
import { startService } from '../support/service.ts';

t.test('a path that cannot be decoded is answered 404 with the request id', async (t) => {
  const { send } = await startService(t);
  const { headers, outcome } = await send({ method: 'GET', url: '/%zz', headers: { 'x-request-id': 'mine' } });
  t.equal(outcome, '404 NOT_FOUND');
  t.equal(headers['x-request-id'], 'mine');
});

t.test('another method is answered 405 with Allow, in the shape of the route', async (t) => {
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

t.test('an unknown path is answered 404', async (t) => {
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
