/** The in-memory service for tests: faults on demand, tenants, API keys, the clock and the rate limit. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ndjsonType } from '../../src/http/streaming.ts';
import { createService, type Service, type ServiceOptions } from '../../src/index.ts';
import { base, storing } from '../support/client.ts';
import { faultQueue } from '../support/faults.ts';
import { dial, type Line, portOf, rawRequests, within } from '../support/sockets.ts';

async function start(t: Test, options: Omit<ServiceOptions, 'faults'> = {}) {
  const { next, seen, faults } = faultQueue();
  const service = await createService({ ...options, faults });
  t.teardown(() => service.close());
  const url = await service.listen({ port: 0 });
  const post = (name: string, body: object | string, headers: Record<string, string> = {}) => ({
    method: 'POST' as const,
    url: `${base}/${name}`,
    headers: { ...service.credentials, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  /** The status and the Retry-After of an answer, or why there is none. */
  const byInject = async (request: ReturnType<typeof post>) => {
    const { body: payload, ...rest } = request;
    const answer = await service.inject({ ...rest, payload }).catch(() => undefined);
    return answer ? [answer.statusCode, answer.json().status.messageCode, answer.headers['retry-after']] : 'dropped';
  };
  const bySocket = async ({ url: path, ...request }: ReturnType<typeof post>) => {
    try {
      const answer = await fetch(url + path, request);
      const { status } = (await answer.json()) as { status: { messageCode: string } };
      return [answer.status, status.messageCode, answer.headers.get('retry-after') ?? undefined];
    } catch {
      return 'dropped';
    }
  };
  const isStored = async (exId: string) => {
    const { statusCode } = await service.inject({ url: `${base}/info?exId=${exId}`, headers: service.credentials });
    return statusCode === 200;
  };
  return { service, url, next, seen, post, byInject, bySocket, isStored };
}

for (const way of ['byInject', 'bySocket'] as const) {
  t.test(`refusals, latency and dropped connections, ${way}`, async (t) => {
    const { next, seen, post, isStored, [way]: send } = await start(t);
    const store = (id: string, headers = {}) => send(post('store', storing({ externalIdentifier: id }), headers));

    next.push(
      { refuse: 'TOO_MANY_REQUESTS', retryAfterSeconds: 7 },
      { refuse: 'SERVICE_UNAVAILABLE' },
      { refuse: 'SQL_DATABASE_FAILURE' },
      { refuse: 'INTERNAL_SERVER_ERROR' },
    );
    t.same(await store('refused'), [429, 'TOO_MANY_REQUESTS', '7']);
    t.same(await store('refused'), [503, 'SERVICE_UNAVAILABLE', '1']);
    t.same(await store('refused'), [500, 'SQL_DATABASE_FAILURE', undefined]);
    t.same(await store('refused'), [500, 'INTERNAL_SERVER_ERROR', undefined]);
    t.notOk(await isStored('refused'));
    t.match(seen[0], { operation: 'store', tenant: 'acme', requestId: /^\S+$/ });

    next.push({ delayMs: 150 });
    const began = performance.now();
    t.same(await store('late'), [200, 'SUCCESS', undefined]);
    t.ok(performance.now() - began >= 149, 'it took its time');

    next.push({ drop: 'request' });
    t.equal(await store('unheard'), 'dropped');
    t.notOk(await isStored('unheard'));

    const headers = { 'idempotency-key': 'k-1' };
    next.push({ drop: 'response' });
    t.equal(await store('unanswered', headers), 'dropped');
    t.ok(await isStored('unanswered'));
    t.same(await store('unanswered', headers), [200, 'SUCCESS', undefined]);
    next.push({ drop: 'response', afterBytes: 20 });
    t.equal(await store('cut off'), 'dropped');
    t.ok(await isStored('cut off'.replace(' ', '%20')));

    t.same(await store('unhurt'), [200, 'SUCCESS', undefined]);
  });
}

t.test('a retry after a dropped response is a replay, with the same CustomerUrn', async (t) => {
  const { service, next, post } = await start(t);
  const { body: payload, ...request } = post('store', storing({ externalIdentifier: 'a' }), {
    'idempotency-key': 'k-1',
  });
  next.push({ drop: 'response' });
  await t.rejects(service.inject({ ...request, payload }), { code: 'LIGHT_ECONNRESET' });
  const { result } = (await service.inject({ url: `${base}/info?exId=a`, headers: service.credentials })).json();
  const again = await service.inject({ ...request, payload });
  t.match(again, { statusCode: 200, headers: { 'idempotency-replayed': 'true' } });
  t.equal(again.json().result.customerUrn, result.customerUrn);
});

t.test('an import whose response is dropped carries out its rows, by inject', async (t) => {
  const { service, next, post, isStored } = await start(t);
  const row = JSON.stringify(storing({ externalIdentifier: 'a' }));
  const { body: payload, ...request } = post('import', row, { 'content-type': ndjsonType });
  next.push({ drop: 'response' });
  await t.rejects(service.inject({ ...request, payload }), { code: 'LIGHT_ECONNRESET' });
  t.ok(await isStored('a'));
});

t.test('the response of an import breaks off after some bytes', async (t) => {
  const { service, url, next, post } = await start(t);
  const rows = Array.from(
    { length: 50 },
    (_, index) => `${JSON.stringify(storing({ externalIdentifier: `r${index}` }))}\n`,
  );
  const { url: path, ...request } = post('import', rows.join(''), { 'content-type': ndjsonType });
  next.push({ drop: 'response', afterBytes: 100 });
  const answer = await fetch(url + path, request);
  let text = '';
  const read = async () => {
    for await (const chunk of answer.body as ReadableStream<Uint8Array>) text += Buffer.from(chunk);
  };
  await t.rejects(read(), 'the connection broke');
  t.match(text, /^\{"line":1,"outcome":"created"/);
  t.equal(text.length, 100);
  t.equal((await service.inject({ url: `${base}/info?exId=r0`, headers: service.credentials })).statusCode, 200);
  const again = await fetch(url + path, request);
  t.match(await again.text(), /"outcome":"unchanged"[\s\S]*"summary"/);
});

/** Waits until the server closes, and returns the bytes so far: a response that is not whole has no length. */
async function bytesUntilClosed(line: Line): Promise<string> {
  for (let turn = 0; line.isOpen(); turn += 1) {
    if (turn === 1_000) throw new Error('the server does not close the connection');
    await delay(5);
  }
  line.socket.destroy();
  return line.received();
}

/** The bytes of a chunked body, and whether it has its end. */
function chunksOf(response: string) {
  let rest = response.slice(response.indexOf('\r\n\r\n') + 4);
  let length = 0;
  for (;;) {
    const [size = ''] = /^[0-9a-f]+(?=\r\n)/.exec(rest) ?? [];
    if (size === '' || size === '0') return { length, isWhole: size === '0' };
    const data = rest.slice(size.length + 2).slice(0, Number.parseInt(size, 16));
    length += data.length;
    rest = rest.slice(size.length + 2 + data.length + 2);
  }
}

// Not with fetch, which may discard bytes that it has received when the connection breaks.
t.test('a response of many chunks breaks off after exactly so many bytes, also if it is read late', async (t) => {
  const { service, url, next, post } = await start(t);
  const rows = Array.from({ length: 3_000 }, (_, index) =>
    JSON.stringify(storing({ externalIdentifier: `r${index}`, firstName: 'x'.repeat(60) })),
  );
  const { url: path, ...request } = post('import', rows.join('\n'), { 'content-type': ndjsonType });
  await (await fetch(url + path, request)).text();
  const exporting = rawRequests(service).get().replace('/info?exId=nobody', '/export');
  for (const afterBytes of [70_000, 600_000]) {
    for (const isLate of [false, true]) {
      next.push({ drop: 'response', afterBytes });
      const line = await dial(await portOf({ app: service }));
      if (isLate) line.socket.pause();
      line.send(exporting);
      if (isLate) await delay(100);
      line.socket.resume();
      t.same(chunksOf(await bytesUntilClosed(line)), { length: afterBytes, isWhole: false });
    }
  }
});

t.test('a connection is closed at the end of a chunk, although the next one is not there yet', async (t) => {
  const { service, next, post } = await start(t);
  const importing = async () => {
    const line = await dial(await portOf({ app: service }));
    const row = JSON.stringify(storing({ externalIdentifier: 'a' }));
    const { 'x-tn': tenant, 'x-api-key': apiKey } = service.credentials;
    const headers = `x-tn: ${tenant}\r\nx-api-key: ${apiKey}\r\ncontent-type: ${ndjsonType}\r\ntransfer-encoding: chunked`;
    // The body does not end.
    line.send(`POST ${base}/import HTTP/1.1\r\nhost: x\r\n${headers}\r\n\r\n`);
    line.send(`${(row.length + 1).toString(16)}\r\n${row}\n\r\n`);
    return line;
  };
  const { body: payload, ...request } = post('store', storing({ externalIdentifier: 'a' }));
  await service.inject({ ...request, payload });
  const answer = '{"line":1,"outcome":"unchanged","customerUrn":"cu.00.1","version":1}\n';
  next.push({ drop: 'response', afterBytes: answer.length });
  const cut = await importing();
  const received = await bytesUntilClosed(cut);
  t.ok(received.endsWith(`\r\n\r\n${answer.length.toString(16)}\r\n${answer}\r\n`), 'the answer of the row');
  next.push({ drop: 'response' });
  const unanswered = await importing();
  t.equal(await bytesUntilClosed(unanswered), '');
});

t.test('a response is never whole: not one without a body, and not one that is shorter than afterBytes', async (t) => {
  const { service, next } = await start(t);
  t.teardown(() => process.off('warning', onWarning));
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => warnings.push(message);
  process.on('warning', onWarning);
  for (const [what, path, headers] of [
    ['a refusal without a body', 'info?exId=a', {}],
    ['a short response', 'info?exId=a', service.credentials],
    ['a stream', 'export', service.credentials],
  ] as const) {
    for (const afterBytes of [0, 5, 1_000_000]) {
      next.push({ drop: 'response', afterBytes });
      await t.rejects(service.inject({ url: `${base}/${path}`, headers }), { code: 'LIGHT_ECONNRESET' }, what);
    }
  }
  next.push({ refuse: 'SERVICE_UNAVAILABLE', drop: 'response' });
  await t.rejects(service.inject({ url: `${base}/info?exId=a`, headers: service.credentials }), 'a provoked refusal');
  await delay(10);
  t.same(warnings, [], 'Fastify does not take the closed connection for an error');
});

t.test('a dropped connection is reset', async (t) => {
  const { service, next } = await start(t);
  for (const drop of ['request', 'response'] as const) {
    next.push({ drop });
    const line = await dial(await portOf({ app: service }));
    const reset = new Promise((resolve) => line.socket.once('error', resolve));
    line.send(rawRequests(service).get());
    t.match(await within('the reset', reset), { code: 'ECONNRESET' }, drop);
    t.equal(line.received(), '');
  }
});

t.test('a request of which faults throws is answered 500', async (t) => {
  const service = await createService({
    faults: () => {
      throw new Error('a mistake in the test');
    },
  });
  t.teardown(() => service.close());
  t.match(await service.inject({ url: `${base}/info?exId=a`, headers: service.credentials }), { statusCode: 500 });
  t.match(await service.inject({ url: '/healthz' }), { statusCode: 200 }, 'which is no request of the API');
});

t.test('a service without faults has no hook for them', async (t) => {
  const hooksOf = async (options: ServiceOptions) => {
    const service = await createService(options);
    t.teardown(() => service.close());
    await service.ready();
    return service.printRoutes({ includeHooks: true, commonPrefix: false });
  };
  t.match(await hooksOf({ faults: () => undefined }), /provokeFault\b[\s\S]*dropResponse\b/);
  t.notMatch(await hooksOf({}), /provokeFault|dropResponse/);
});

t.test('a fault comes before the check of the credentials', async (t) => {
  const { next, post, byInject, service } = await start(t);
  const { 'x-tn': _, ...headers } = service.credentials;
  const request = {
    ...post('validate', { externalId: 'a' }),
    headers: { ...headers, 'content-type': 'application/json' },
  };
  next.push({ refuse: 'SERVICE_UNAVAILABLE' });
  t.same(await byInject(request as ReturnType<typeof post>), [503, 'SERVICE_UNAVAILABLE', '1']);
});

t.test('tenants, API keys and their expiry by the clock', async (t) => {
  const clock = { now: Date.parse('2026-01-15T09:30:00.000Z') };
  const service = await createService({ clock: () => clock.now });
  t.teardown(() => service.close());
  const info = async (headers: object, exId = 'a') =>
    (await service.inject({ url: `${base}/info?exId=${exId}`, headers: { ...headers } })).statusCode;
  const store = async (headers: object) =>
    service.inject({
      method: 'POST',
      url: `${base}/store`,
      headers: { ...headers },
      payload: storing({ externalIdentifier: 'a' }),
    });

  const stored = await store(service.credentials);
  t.equal(stored.json().result.createdAt, '2026-01-15T09:30:00.000Z');
  const globex = await service.addTenant('globex');
  t.equal(globex['x-tn'], 'globex');
  t.equal(await info(globex), 404, 'tenants do not see each other');
  await t.rejects(service.addTenant('globex'), /already/);
  await t.rejects(service.addTenant('No Tenant'), /must be/);

  const reader = await service.issueKey('acme', { role: 'read', lifetimeMs: 60_000 });
  t.equal(await info(reader), 200);
  t.equal((await store(reader)).statusCode, 403);
  await t.rejects(service.issueKey('nobody'), /no tenant/);
  clock.now += 61_000;
  t.equal(await info(reader), 401, 'expired');
  const second = await service.issueKey('acme');
  t.equal((await store(second)).statusCode, 409);
  await service.revokeKey(second);
  t.equal(await info(second), 401, 'revoked');
  t.equal(await info(service.credentials), 200);
  await t.rejects(service.revokeKey(second), /not valid/);
});

t.test('the rate limit', async (t) => {
  const service: Service = await createService({ rateLimit: 2 });
  t.teardown(() => service.close());
  const ask = () => service.inject({ url: `${base}/info?exId=a`, headers: service.credentials });
  t.match((await ask()).headers, { 'ratelimit-limit': '2', 'ratelimit-remaining': '1' });
  await ask();
  const refused = await ask();
  t.equal(refused.statusCode, 429);
  t.match(refused.headers, { 'retry-after': /^\d+$/ });
  const unlimited = await createService();
  t.teardown(() => unlimited.close());
  const { headers } = await unlimited.inject({ url: `${base}/info?exId=a`, headers: unlimited.credentials });
  t.equal(headers['ratelimit-limit'], undefined);
});
