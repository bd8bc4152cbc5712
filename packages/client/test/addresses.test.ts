/** Credentials and addresses: other servers, proxies, redirects, and the forms of `baseUrl`. */
import t from 'tap';
import { ConnectionError, createClient } from '../src/index.ts';
import { startOtherServer } from './support/other-server.ts';
import { all, claimedRegion, start, stateOf } from './support/service.ts';

t.test('what is not the answer of the service is never taken for one', async (t) => {
  const { clientOf, service } = await start(t);
  let answer: [status: number, type: string, body: string] = [200, 'text/html', ''];
  let requests = 0;
  const { url: baseUrl } = await startOtherServer(t, (_, response) => {
    requests += 1;
    response.writeHead(answer[0], { 'content-type': answer[1], 'x-request-id': 'of-a-gateway' }).end(answer[2]);
  });
  const c2a = clientOf(service.credentials, { baseUrl, retryForMs: 150 });
  const secret = 'jane.doe@example.com';
  const calls = [() => c2a.info({ exId: 'a' }), () => all(c2a.export()), () => all(c2a.import([stateOf('a')]))];
  const check = async (given: typeof answer, isRepeated: boolean) => {
    answer = given;
    for (const call of calls) {
      requests = 0;
      const error = await call().then(
        () => new Error('answered'),
        (thrown) => thrown,
      );
      t.equal(error.name, 'ConnectionError', given.join());
      t.equal(requests > 1, isRepeated, `${given.join()}: ${requests} requests`);
      t.notMatch(`${error.message} ${error.cause?.message}`, secret);
    }
  };
  for (const status of [200, 302, 404, 408, 413]) await check([status, 'text/html', `<p>${secret}`], false);
  await check([200, 'text/html', ''], false);
  await check([404, 'application/json', `{"message":"${secret}"}`], false);
  for (const status of [429, 500, 502, 503, 504]) await check([status, 'text/html', `<p>${secret}`], true);

  // Cut off by something that ends the answer properly.
  const whole = JSON.stringify({ result: { firstName: secret }, status: { messageCode: 'SUCCESS' } });
  answer = [200, 'application/clientOutput+Json; charset=utf-8', whole.slice(0, 40)];
  requests = 0;
  const error = await c2a.info({ exId: 'a' }).catch((thrown) => thrown);
  t.equal(error.name, 'ConnectionError');
  t.notMatch(`${error.message} ${error.cause?.message}`, secret);
  t.ok(requests > 1);
  answer = [200, 'application/x-ndjson', `${secret}\n`];
  await t.rejects(all(c2a.import([stateOf('a')])), { name: 'ConnectionError', cause: undefined });
  // An end that comes too early.
  const end = { summary: { created: 1 }, status: { messageCode: 'SUCCESS' } };
  answer = [200, 'application/x-ndjson', `{"line":2,"outcome":"created"}\n${JSON.stringify(end)}\n`];
  const outcomes = (await all(c2a.import([stateOf('a'), stateOf('b')]))).map(({ outcome }) => outcome);
  t.same(outcomes, ['created', 'created', 'summary'], 'the row without an answer was sent again');
});

t.test('what a proxy answers is repeated, or thrown', async (t) => {
  const { clientOf, service, baseUrl } = await start(t);
  let bad = 2;
  const { url } = await startOtherServer(t, async (request, response) => {
    if (bad > 0) {
      bad -= 1;
      response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>');
      return;
    }
    const answer = await fetch(baseUrl + request.url, { headers: request.headers as Record<string, string> });
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  });
  t.match(await clientOf(service.credentials, { baseUrl: url }).info({ exId: 'a' }), {
    messageCode: 'CUSTOMER_NOT_FOUND',
  });

  const seen: string[] = [];
  const { url: other } = await startOtherServer(t, (request, response) => {
    seen.push(`${request.headers['x-api-key']}`);
    response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not found</h1>');
  });
  const lost = clientOf(service.credentials, { baseUrl: other });
  await t.rejects(lost.info({ exId: 'a' }), { name: 'ConnectionError', message: /404/, cause: { status: 404 } });
  t.equal(seen.length, 1, 'at once');

  const { url: moved } = await startOtherServer(t, (_, response) =>
    response.writeHead(307, { location: `${other}/` }).end(),
  );
  await t.rejects(clientOf(service.credentials, { baseUrl: moved }).store(stateOf('a')), ConnectionError);
  t.equal(seen.length, 1, 'a redirect does not get the credentials');
});

t.test('credentials that change', async (t) => {
  const { clientOf, service, next } = await start(t);
  const keys = [service.credentials['x-api-key'], 'sk_dev_old'];
  const asked = { keys: 0, tokens: 0 };
  const c2a = clientOf(service.credentials, {
    apiKey: async () => {
      asked.keys += 1;
      return keys[0] as string;
    },
  });
  next.push({ drop: 'request' });
  t.match(await c2a.store(stateOf('a')), { messageCode: 'SUCCESS' });
  t.equal(asked.keys, 2, 'for each attempt');
  // A token that nobody needs is refused.
  const withToken = clientOf(service.credentials, { token: () => 'header.payload.signature' });
  t.match(await withToken.info({ exId: 'a' }), { messageCode: 'UNAUTHORIZED' });
  const { 'x-api-key': apiKey } = service.credentials;
  for (const wrong of [{ apiKey: 'sk_secret\n' }, { apiKey: '' }, { tenant: '' }, { token: 'Ü' }]) {
    const withWrong = () => clientOf(service.credentials, wrong);
    t.throws(withWrong, { name: 'TypeError', message: 'a credential is missing or not valid' });
  }
  // From a function, at once and for streams too.
  const withSecret = clientOf(service.credentials, { apiKey: () => 'sk_secret\n' });
  await t.rejects(withSecret.info({ exId: 'a' }), { message: 'a credential is missing or not valid' });
  await t.rejects(all(withSecret.export()), { message: 'a credential is missing or not valid' });
  const failing = clientOf(service.credentials, {
    token: () => {
      throw new Error('no token');
    },
  });
  await t.rejects(failing.info({ exId: 'a' }), { message: 'no token' });
  await t.rejects(all(failing.import([stateOf('a')])), { message: 'no token' });

  for (const wrong of ['nowhere', 'localhost:3000', 'ftp://127.0.0.1/']) {
    t.throws(() => createClient({ baseUrl: wrong, tenant: 'acme', apiKey }), TypeError);
  }
  t.equal(
    (await clientOf(await service.addTenant('globex')).store({ customer: { externalIdentifier: 'a' }, claimedRegion }))
      .messageCode,
    'SUCCESS',
  );
});

t.test('baseUrl may have a path, slashes at its end, and a password that is not sent', async (t) => {
  const { service } = await start(t);
  const seen: (string | undefined)[] = [];
  const { url: origin } = await startOtherServer(t, (request, response) => {
    seen.push(request.url, request.headers.authorization);
    const body = '{"result":null,"status":{"messageCode":"CUSTOMER_NOT_FOUND","message":"None."}}';
    response.writeHead(404, { 'content-type': 'application/json' }).end(body);
  });
  const { 'x-tn': tenant, 'x-api-key': apiKey } = service.credentials;
  const ask = (baseUrl: string) => createClient({ baseUrl, tenant, apiKey }).info({ exId: 'a' });
  for (const end of ['', '/']) t.match(await ask(origin + end), { messageCode: 'CUSTOMER_NOT_FOUND' });
  await ask(origin.replace('//', '//user:password@'));
  const plain = '/api/c2a/customer/info?exId=a';
  t.strictSame(seen.splice(0), [plain, undefined, plain, undefined, plain, undefined]);
  for (const end of ['/crm', '/crm/', '/crm//?a=1#b']) await ask(origin + end);
  await createClient({ baseUrl: `${origin}/crm/`, tenant, apiKey }).receiptKey();
  t.same(
    seen.filter((one) => one !== undefined),
    [`/crm${plain}`, `/crm${plain}`, `/crm${plain}`, '/crm/.well-known/c2a-receipts'],
  );
});
