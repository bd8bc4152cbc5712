/** What is repeated, for how long, and that nothing is done twice. */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { Fault } from '../../../src/index.ts';
import { ConnectionError, createClient } from '../src/index.ts';
import { retryAfterMs } from '../src/retries.ts';
import { all, claimedRegion, start, stateOf } from './support/service.ts';

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
    retryAfterMs(new Response(null, { headers: { ...(value && { 'retry-after': value }) } }));
  t.equal(msOf('7'), 7_000);
  t.equal(msOf(), 0);
  t.equal(msOf('soon'), 0);
  t.equal(msOf('Thu, 01 Jan 2026 00:00:00 GMT'), 0);
  const inTen = msOf(new Date(Date.now() + 10_000).toUTCString());
  t.ok(inTen > 8_000 && inTen <= 10_000, `${inTen}`);
});

t.test('a network that stays away is thrown, with its cause', async (t) => {
  const c2a = createClient({ baseUrl: 'http://127.0.0.1:1', tenant: 'acme', apiKey: 'sk_dev_x', retryForMs: 200 });
  await t.rejects(c2a.info({ exId: 'a' }), { name: 'ConnectionError', cause: { message: 'fetch failed' } });
  await t.rejects(all(c2a.import([stateOf('a')])), ConnectionError);
  await t.rejects(all(c2a.export()), ConnectionError);
  await t.rejects(all(c2a.changes()), ConnectionError);
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
  const never = async function* () {
    yield stateOf('a');
    await new Promise(() => {});
  };
  await t.rejects(all(c2a.import(never(), { signal: aborted() })), stopped);
});

t.test('an attempt that hangs is given up', async (t) => {
  const { c2a, next } = await start(t, { attemptTimeoutMs: 100 });
  next.push({ delayMs: 1_000 });
  const began = performance.now();
  t.match(await c2a.info({ exId: 'a' }), { messageCode: 'CUSTOMER_NOT_FOUND' });
  t.ok(performance.now() - began < 900);
  t.match(await all(c2a.changes({ after: 'end' })), [{ changes: [] }]);
});

/** A server that is not ours, such as a proxy. */
async function stranger(t: Test, listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

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
  await t.rejects(lost.info({ exId: 'a' }), { name: 'ConnectionError', cause: { status: 404 } });
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
  t.throws(() => clientOf({ 'x-tn': 'acme', 'x-api-key': 'two\nlines' }), TypeError);
  t.throws(() => createClient({ baseUrl: 'nowhere', tenant: 'acme', apiKey: 'x' }), TypeError);
  t.equal(
    (await clientOf(await service.addTenant('globex')).store({ customer: { externalIdentifier: 'a' }, claimedRegion }))
      .messageCode,
    'SUCCESS',
  );
});
