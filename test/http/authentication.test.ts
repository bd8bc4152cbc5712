/** API keys: a 401 that is the same for every reason, read-only keys, and the isolation of tenants. */
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { type Headers, storing } from '../support/client.ts';
import { eachStorage } from '../support/service.ts';

eachStorage((start, t) => {
  t.test('every reason for a 401 gives the same headers and bytes', async (t) => {
    const { app, tenant, key, services, clock, credentials: acme } = await start(t);
    const { credentials: globex } = await tenant('globex');
    const revoked = await key('acme', 'full');
    await services.apiKeys.revoke(revoked.id);
    const mistyped = acme['x-api-key'].replace(/.$/, (last) => (last === 'x' ? 'y' : 'x'));
    const ways: Record<string, Headers> = {
      'no credentials': {},
      'no key': { 'x-tn': 'acme' },
      'no tenant': { 'x-api-key': acme['x-api-key'] },
      'empty tenant': { ...acme, 'x-tn': '' },
      'empty key': { ...acme, 'x-api-key': '' },
      'unknown tenant': { ...acme, 'x-tn': 'nobody' },
      'malformed tenant': { ...acme, 'x-tn': 'ACME' },
      "another tenant's key": { ...acme, 'x-api-key': globex['x-api-key'] },
      'unknown key': { ...acme, 'x-api-key': apiKeyFormat.newApiKey('sandbox') },
      'key of the other environment': { ...acme, 'x-api-key': apiKeyFormat.newApiKey('live') },
      'mistyped key': { ...acme, 'x-api-key': mistyped },
      'no key at all': { ...acme, 'x-api-key': 'Bearer x' },
      'revoked key': { ...revoked.credentials },
      'bearer token where none is asked for': { ...acme, authorization: 'Bearer e30.e30.x' },
      'empty authorization': { ...acme, authorization: '' },
    };
    const expected = {
      'x-request-id': 'fixed',
      'www-authenticate': 'ApiKey realm="c2a-customers", Bearer realm="c2a-customers"',
      'content-length': '0',
      connection: 'keep-alive',
    };
    clock.now += 1_000;
    for (const [way, headers] of Object.entries(ways)) {
      for (const [method, route] of [
        ['POST', 'validate'],
        ['POST', 'store'],
        ['POST', 'update'],
        ['POST', 'delete'],
        ['POST', 'find'],
        ['POST', 'merge'],
        ['POST', 'references'],
        ['POST', 'subject-export'],
        ['POST', 'sync'],
        ['GET', 'info?urn=cu.00.1'],
        ['GET', 'references?urn=cu.00.1'],
        ['GET', 'export'],
      ] as const) {
        const answer = await app.inject({
          method,
          url: `/api/c2a/customer/${route}`,
          headers: { 'x-request-id': 'fixed', 'content-type': 'application/json', ...headers },
          // The body is not read: malformed and oversized ones get the same answer.
          ...(method === 'POST' && { payload: way.length % 2 ? '{' : 'x'.repeat(70_000) }),
        });
        const { date: _, ...others } = answer.headers;
        t.strictSame([answer.statusCode, answer.rawPayload.length, others], [401, 0, expected], `${way}: ${route}`);
      }
    }
  });

  t.test('a 401 conforms to the description', async (t) => {
    const { anonymous } = await start(t);
    t.match(await anonymous.post('store', {}), { outcome: '401', text: '' });
    t.match(await anonymous.info({}), { outcome: '401', text: '' });
  });

  t.test('a live deployment accepts only live keys', async (t) => {
    const { credentials, info, app } = await start(t, { environment: 'live' });
    t.match(credentials['x-api-key'], /^sk_live_/);
    t.equal((await info({ exId: 'x' })).outcome, '404 CUSTOMER_NOT_FOUND');
    const headers = { ...credentials, 'x-api-key': apiKeyFormat.newApiKey('sandbox') };
    t.equal((await app.inject({ url: '/api/c2a/customer/info', headers })).statusCode, 401);
  });

  t.test('a revoked key is refused at once; the other keys of the tenant are not', async (t) => {
    const { info, key, services } = await start(t);
    const second = await key('acme', 'full');
    t.equal((await second.info({ exId: 'x' })).status, 404);
    await services.apiKeys.revoke(second.id);
    t.equal((await second.info({ exId: 'x' })).status, 401);
    t.equal((await info({ exId: 'x' })).status, 404);
  });

  t.test('a read-only key may read, and gets 403 for writes', async (t) => {
    const { post, key } = await start(t);
    await post('store', storing({ externalIdentifier: 'x', email: 'x@example.com' }));
    const reader = await key('acme', 'read');
    t.equal((await reader.info({ exId: 'x' })).outcome, '200 SUCCESS');
    t.equal((await reader.post('validate', { externalId: 'x' })).outcome, '200 SUCCESS');
    t.match((await reader.export()).body, [{ externalIdentifier: 'x' }, { next: null }]);
    t.equal((await reader.post('find', { email: 'x@example.com' })).outcome, '200 SUCCESS');
    for (const [route, body] of [
      ['store', storing({ externalIdentifier: 'y' })],
      ['update', { customer: { externalIdentifier: 'x', firstName: 'J' } }],
      ['delete', { externalIdentifier: 'x' }],
      ['merge', { from: 'cu.00.1', into: 'cu.00.2' }],
      ['store', '{'],
      ['store', 'x'.repeat(70_000)],
    ] as const) {
      t.equal((await reader.post(route, body)).outcome, '403 FORBIDDEN');
    }
    t.match((await reader.info({ exId: 'x' })).headers.etag, '"1"', 'nothing was changed');
  });

  t.test('a tenant cannot see, change or infer the customers of another', async (t) => {
    const { post, info, tenant } = await start(t);
    const customer = { externalIdentifier: 'x', email: 'jane@example.com', phoneNumber: '0170 1234567' };
    const { customerUrn: urn } = (await post('store', storing(customer))).result;
    const globex = await tenant('globex');
    const unknown = '404 CUSTOMER_NOT_FOUND';
    t.match((await globex.post('validate', { externalId: 'x' })).body, { isAvailable: true });
    t.equal((await globex.info({ urn })).outcome, unknown);
    t.equal((await globex.info({ exId: 'x' })).outcome, unknown);
    t.same((await globex.export()).body, [{ next: null }]);
    t.equal((await globex.post('find', { email: customer.email })).outcome, unknown);
    t.equal((await globex.post('find', { phoneNumber: '+49 170 1234567' })).outcome, unknown);
    t.equal((await globex.post('update', { customer: { customerUrn: urn, firstName: 'J' } })).outcome, unknown);
    t.equal((await globex.post('delete', { customerUuid: urn })).outcome, unknown);
    t.equal((await globex.post('delete', { externalIdentifier: 'x' })).outcome, unknown);
    const theirs = await globex.post('store', storing(customer));
    t.equal(theirs.outcome, '200 SUCCESS', 'unique keys are per tenant');
    t.not(theirs.result.customerUrn, urn);
    t.same(
      (await globex.info({ urn })).text,
      (await globex.info({ urn: 'cu.00.999' })).text,
      'the same bytes as for an unknown URN',
    );

    await globex.post('delete', { externalIdentifier: 'x' });
    t.match(await info({ exId: 'x' }), { outcome: '200 SUCCESS', headers: { etag: '"1"' } });
  });
});
