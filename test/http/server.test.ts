/** The base routes, letter case and request ids. */
import t from 'tap';
import { storing } from '../support/client.ts';
import { startService } from '../support/service.ts';

t.test('both base routes answer, in any letter case, with and without a trailing slash', async (t) => {
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

t.test('both base routes share their customers', async (t) => {
  const { send, credentials, info } = await startService(t);
  const payload = storing({ externalIdentifier: 'x' });
  await send({ method: 'POST', url: '/api/v1/c2a/customer/store', headers: { ...credentials }, payload });
  t.equal((await info({ exId: 'x' })).status, 200);
});

t.test('a valid request id is returned, any other replaced', async (t) => {
  const { send } = await startService(t);
  const idFor = async (given?: string) => {
    const headers = given === undefined ? {} : { 'x-request-id': given };
    return (await send({ method: 'GET', url: '/', headers })).headers['x-request-id'];
  };
  for (const sane of ['a', 'A1._-', 'x'.repeat(64)]) t.equal(await idFor(sane), sane);
  for (const other of [undefined, '', 'a b', 'ä', 'a/b', 'x'.repeat(65), '<script>'])
    t.match(await idFor(other), /^[\w-]{36}$/);
  t.not(await idFor(), await idFor(), 'new ids are unique');
});
