/** What is repeated, for how long, and that nothing is done twice. */
import { getEventListeners, once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Fault } from '../../../src/index.ts';
import { ConnectionError, createClient } from '../src/index.ts';
import { retryAfterMs } from '../src/retries.ts';
import { all, claimedRegion, start, stateOf } from './support/service.ts';

const servers: Server[] = [];

/** A server that is not ours, such as a proxy. */
async function stranger(t: Test, listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const faults: Record<string, Fault> = {
  '429': { refuse: 'TOO_MANY_REQUESTS', retryAfterSeconds: 0 },
  '503': { refuse: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 0 },
  '500 of the database': { refuse: 'SQL_DATABASE_FAILURE' },
  '500': { refuse: 'INTERNAL_SERVER_ERROR' },
  'a dropped request': { drop: 'request' },
  'a dropped response': { drop: 'response' },
  'half a response': { drop: 'response', afterBytes: 30 },
};

for (const [name, fault] of Object.entries(faults)) {
  t.test(`every call is repeated after ${name}, and done once`, async (t) => {
    const { c2a, next } = await start(t);
    const afterFault = async <Answer extends { messageCode: string }>(call: () => Promise<Answer>) => {
      next.push(fault);
      const answer = await call();
      t.equal(answer.messageCode, 'SUCCESS');
      t.equal(next.length, 0);
      return answer;
    };
    const isReplay = fault.drop === 'response';
    t.match(await afterFault(() => c2a.validate({ externalId: 'a' })), { isAvailable: true });
    t.match(await afterFault(() => c2a.store(stateOf('a'))), {
      isReplay,
      etag: '"1"',
      result: { customerUrn: 'cu.00.1' },
    });
    const update = { customer: { externalIdentifier: 'a', firstName: 'Jane' } };
    t.match(await afterFault(() => c2a.update(update, { ifMatch: '"1"' })), { isReplay, etag: '"2"' });
    t.match(await afterFault(() => c2a.sync(stateOf('b'))), { isReplay, outcome: 'created' });
    t.match(await afterFault(() => c2a.merge({ from: 'cu.00.2', into: 'cu.00.1' })), { isReplay });
    t.match(await afterFault(() => c2a.info({ exId: 'b' })), { result: { firstName: 'Jane' } });
    const reference = { customerUrn: 'cu.00.1', kind: 'offer', reference: 'o-1', state: 'active' } as const;
    await afterFault(() => c2a.references.bind(reference));
    t.match(await afterFault(() => c2a.references.list({ exId: 'a' })), { result: { references: { length: 1 } } });
    await afterFault(() => c2a.subjectExport({ externalIdentifier: 'a' }));
    t.match(await afterFault(() => c2a.delete({ externalIdentifier: 'a' }, { ifMatch: '"2"' })), { isReplay });
    await afterFault(() => c2a.erasureReceipt('cu.00.1'));
    const history = await afterFault(() => c2a.history({ urn: 'cu.00.1' }));
    if (history.messageCode !== 'SUCCESS') throw new Error(history.message);
    t.same(
      history.result.changes.map(({ type, version }) => `${version} ${type}`),
      ['1 customer.stored', '2 customer.updated', '3 customer.anonymized'],
    );
  });
}

t.test('a key of the caller covers several calls', async (t) => {
  const { c2a, next } = await start(t, { retryForMs: 0 });
  next.push({ drop: 'response' });
  await t.rejects(c2a.store(stateOf('a'), { idempotencyKey: 'k-1' }), ConnectionError);
  t.match(await c2a.store(stateOf('a'), { idempotencyKey: 'k-1' }), { messageCode: 'SUCCESS', isReplay: true });
  t.match(await c2a.store(stateOf('b'), { idempotencyKey: 'k-1' }), { messageCode: 'IDEMPOTENCY_KEY_REUSED' });
  t.match(await c2a.store(stateOf('a')), { messageCode: 'CUSTOMER_ALREADY_STORED' });
});

t.test('an attempt that is still in flight is waited for', async (t) => {
  const { clientOf, service } = await start(t);
  const status = { messageCode: 'REQUEST_IN_PROGRESS', message: 'A request with this key is in flight.' };
  const answers = [Response.json({ result: null, status }, { status: 409, headers: { 'x-request-id': 'r-1' } })];
  const c2a = clientOf(service.credentials, { fetch: async (request) => answers.pop() ?? fetch(request) });
  t.match(await c2a.store(stateOf('a')), { messageCode: 'SUCCESS' });
  t.equal(answers.length, 0);
});

t.test('a customer may be called as a code is', async (t) => {
  const { c2a, seen } = await start(t);
  await c2a.store(stateOf('a', { firstName: 'REQUEST_IN_PROGRESS' }));
  t.match(await c2a.info({ exId: 'a' }), { messageCode: 'SUCCESS', result: { firstName: 'REQUEST_IN_PROGRESS' } });
  t.equal(seen.length, 2);
});

t.test('refusals that a repeat would get again are answered at once', async (t) => {
  const { c2a, clientOf, seen, service } = await start(t);
  t.match(await c2a.store(stateOf('a', { email: 'nowhere' })), {
    messageCode: 'INVALID_REQUEST',
    httpStatus: 400,
    errors: [{ field: 'customer.email', code: 'invalid_format' }],
    requestId: /^\S+$/,
  });
  await c2a.store(stateOf('a'));
  t.match(await c2a.store(stateOf('a')), {
    messageCode: 'CUSTOMER_ALREADY_STORED',
    conflicts: [{ field: 'customer.externalIdentifier', customerUrn: 'cu.00.1' }],
  });
  t.match(await c2a.info({ exId: 'nobody' }), { messageCode: 'CUSTOMER_NOT_FOUND', httpStatus: 404 });
  t.match(await c2a.update({ customer: { externalIdentifier: 'a' } }, { ifMatch: '"7"' }), {
    messageCode: 'VERSION_MISMATCH',
  });
  const reader = clientOf(await service.issueKey('acme', { role: 'read' }));
  t.match(await reader.store(stateOf('b')), { messageCode: 'FORBIDDEN', httpStatus: 403 });
  const stranger = clientOf({ 'x-tn': 'acme', 'x-api-key': 'sk_dev_wrong' });
  t.match(await stranger.info({ exId: 'a' }), { messageCode: 'UNAUTHORIZED', httpStatus: 401, requestId: /^\S+$/ });
  t.equal(seen.length, 7);
  t.match(await c2a.info({ exId: 'a' }, { requestId: 'mine-1' }), { requestId: 'mine-1' });
});

t.test('when the time is over, the last answer is returned', async (t) => {
  const { c2a, next, seen } = await start(t, { retryForMs: 400 });
  next.push(...Array.from({ length: 50 }, (): Fault => ({ refuse: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 0 })));
  t.match(await c2a.store(stateOf('a')), { messageCode: 'SERVICE_UNAVAILABLE', httpStatus: 503 });
  t.ok(seen.length > 1, `${seen.length} attempts`);
  next.length = 0;
  next.push({ refuse: 'TOO_MANY_REQUESTS', retryAfterSeconds: 60 });
  const began = performance.now();
  t.match(await c2a.store(stateOf('a')), { messageCode: 'TOO_MANY_REQUESTS' }, 'not repeated before its Retry-After');
  t.ok(performance.now() - began < 1_000);
});

t.test('Retry-After is respected', async (t) => {
  const { c2a, next } = await start(t);
  next.push({ refuse: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 1 });
  const began = performance.now();
  t.match(await c2a.store(stateOf('a')), { messageCode: 'SUCCESS' });
  t.ok(performance.now() - began >= 1_000);
  const msOf = (value?: string) =>
    retryAfterMs(new Response(null, { status: 503, headers: { ...(value && { 'retry-after': value }) } }));
  t.equal(msOf('7'), 7_000);
  t.equal(msOf(), 0);
  t.equal(msOf('soon'), 0);
  t.equal(msOf('Thu, 01 Jan 2026 00:00:00 GMT'), 0);
  const inTen = msOf(new Date(Date.now() + 10_000).toUTCString());
  t.ok(inTen !== undefined && inTen > 8_000 && inTen <= 10_000, `${inTen}`);
  t.equal(retryAfterMs(new Response(null, { status: 404 })), undefined);
});

t.test('a network that stays away is thrown, with its cause', async (t) => {
  const closed = await stranger(t, () => {});
  await new Promise((resolve) => servers.pop()?.close(resolve));
  const c2a = createClient({ baseUrl: closed, tenant: 'acme', apiKey: 'sk_dev_x', retryForMs: 200 });
  const refused = { name: 'ConnectionError', message: /ECONNREFUSED/, cause: { message: 'fetch failed' } };
  await t.rejects(c2a.info({ exId: 'a' }), refused);
  await t.rejects(all(c2a.import([stateOf('a')])), refused);
  await t.rejects(all(c2a.export()), refused);
  await t.rejects(all(c2a.changes()), refused);
});

t.test('an abort ends a call, its waits and its streams', async (t) => {
  const { c2a, next } = await start(t);
  const aborted = () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('stopped')), 100);
    return controller.signal;
  };
  const stopped = { message: 'stopped' };
  next.push({ delayMs: 500 });
  await t.rejects(c2a.info({ exId: 'a' }, { signal: aborted() }), stopped);
  next.push({ refuse: 'TOO_MANY_REQUESTS', retryAfterSeconds: 30 });
  await t.rejects(c2a.info({ exId: 'a' }, { signal: aborted() }), stopped);
  await t.rejects(c2a.info({ exId: 'a' }, { signal: AbortSignal.abort(new Error('stopped')) }), stopped);
  next.push({ refuse: 'TOO_MANY_REQUESTS', retryAfterSeconds: 30 });
  await t.rejects(all(c2a.export({ signal: aborted() })), stopped);
  await t.rejects(all(c2a.changes({ wait: 30, signal: aborted() })), stopped);
  const hanging = async function* (...first: readonly string[]) {
    yield* first.map((id) => stateOf(id));
    await new Promise(() => {});
  };
  await t.rejects(all(c2a.import(hanging('a'), { signal: aborted() })), stopped);
  await t.rejects(all(c2a.import(hanging(), { signal: aborted() })), stopped);
});

t.test('a signal keeps no listener', async (t) => {
  const { c2a, next } = await start(t);
  const { signal } = new AbortController();
  next.push({ drop: 'response' });
  await c2a.store(stateOf('a'), { signal });
  await c2a.info({ exId: 'nobody' }, { signal });
  await all(c2a.import([stateOf('b')], { signal }));
  await all(c2a.export({ signal }));
  await all(c2a.changes({ signal }));
  await delay(0);
  t.equal(getEventListeners(signal, 'abort').length, 0);
});

t.test('an attempt that hangs is given up', async (t) => {
  const { c2a, next, clientOf, service } = await start(t, { attemptTimeoutMs: 100, retryForMs: 300 });
  next.push({ delayMs: 1_000 });
  const began = performance.now();
  t.match(await c2a.info({ exId: 'a' }), { messageCode: 'CUSTOMER_NOT_FOUND' });
  t.match(await all(c2a.changes({ after: 'end' })), [{ changes: [] }]);
  const silent = clientOf(service.credentials, { baseUrl: await stranger(t, () => {}) });
  const tooLate = { name: 'ConnectionError', cause: 'time limit' };
  await t.rejects(silent.info({ exId: 'a' }), tooLate);
  await t.rejects(all(silent.export()), tooLate);
  await t.rejects(all(silent.import([stateOf('a')])), tooLate);
  const hanging = clientOf(service.credentials, { apiKey: () => new Promise(() => {}) });
  await t.rejects(hanging.info({ exId: 'a' }), tooLate);
  t.ok(performance.now() - began < 5_000);
});

t.test('what is not the answer of the service is never taken for one', async (t) => {
  const { clientOf, service } = await start(t);
  let answer: [status: number, type: string, body: string] = [200, 'text/html', ''];
  let requests = 0;
  const baseUrl = await stranger(t, (_, response) => {
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
  const url = await stranger(t, async (request, response) => {
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
  const other = await stranger(t, (request, response) => {
    seen.push(`${request.headers['x-api-key']}`);
    response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not found</h1>');
  });
  const lost = clientOf(service.credentials, { baseUrl: other });
  await t.rejects(lost.info({ exId: 'a' }), { name: 'ConnectionError', message: /404/, cause: { status: 404 } });
  t.equal(seen.length, 1, 'at once');

  const moved = await stranger(t, (_, response) => response.writeHead(307, { location: `${other}/` }).end());
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
  const origin = await stranger(t, (request, response) => {
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
