/** What the server bears, and what a caller sees beyond it. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { base, type Headers, startService, storing } from '../support/service.ts';
import { dial, envelopeFaults, exchangeAll, type Line, portOf, rawRequests } from '../support/sockets.ts';

const kib64 = 64 * 1024;
const validation = '{"externalId":"x"}';
const declared = (body: string) => `Content-Length: ${body.length}\r\n`;
const inChunks = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

t.test('64 KiB is the limit of a body, declared or in chunks', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const { post } = rawRequests(service);
  for (const [bytes, outcome] of [
    [kib64, '200 SUCCESS'],
    [kib64 + 1, '413 PAYLOAD_TOO_LARGE'],
    [20 * kib64, '413 PAYLOAD_TOO_LARGE'],
  ] as const) {
    const body = validation.padEnd(bytes);
    t.match(await exchangeAll(port, post(declared(body), body)), [{ outcome }], `${bytes} declared`);
    const chunked = post('Transfer-Encoding: chunked\r\n', inChunks(body));
    t.match(await exchangeAll(port, chunked), [{ outcome }], `${bytes} in chunks`);
  }
  const announcing = await dial(port);
  announcing.send(post('Content-Length: 1000000000\r\n', ''));
  t.match(await announcing.answers(), [{ outcome: '413 PAYLOAD_TOO_LARGE' }], 'before the body is sent');
  announcing.drop();
});

t.test('a body that is encoded in a way that we do not read is heard to its end, then refused', async (t) => {
  const service = await startService(t);
  const { post } = rawRequests(service);
  const line = await dial(await portOf(service));
  line.send(post(`Content-Encoding: gzip\r\n${declared(validation)}`, validation.slice(0, 5)));
  await delay(50);
  t.equal(line.received(), '');
  line.send(validation.slice(5));
  t.match(await line.answers(), [{ outcome: '415 UNSUPPORTED_MEDIA_TYPE' }]);
  line.drop();
});

t.test('a body may come in pieces, and not at all', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const { post } = rawRequests(service);
  const body = Buffer.from('{"externalId":"Jürgen"}');
  const split = body.indexOf(0xc3) + 1;
  const pieces = [body.subarray(0, 1), body.subarray(1, split), body.subarray(split)];
  const inOneChunkEach = pieces.map((piece) =>
    Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
  );
  for (const [header, sent] of [
    [`Content-Length: ${body.length}\r\n`, pieces],
    ['Transfer-Encoding: chunked\r\n', [...inOneChunkEach, Buffer.from('0\r\n\r\n')]],
  ] as const) {
    const line = await dial(port);
    line.send(post(header, ''));
    for (const piece of sent) {
      await delay(20);
      line.send(piece);
    }
    t.match(await line.answers(), [{ outcome: '200 SUCCESS' }], header);
    line.drop();
  }
  const leaving = await dial(port);
  leaving.send(post('Content-Length: 1000\r\n', validation));
  await delay(20);
  leaving.drop();
  t.match(await exchangeAll(port, post(declared(validation), validation)), [{ outcome: '200 SUCCESS' }]);
});

t.test('a request line and headers beyond 16 KiB are 413, and the connection is closed', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const { get } = rawRequests(service);
  const long = 'x'.repeat(17_000);
  for (const [name, bytes] of Object.entries({
    'one header': get(`x: ${long}\r\n`),
    'the name of a header': get(`${long}: x\r\n`),
    'many headers': get('x: y\r\n'.repeat(4000)),
    'the path': get().replace('/info', `/${long}`),
    'the query': get().replace('nobody', long),
    'a key': get().replace(/x-api-key: .*/, `x-api-key: ${long}`),
  })) {
    const line = await dial(port);
    line.send(bytes);
    const answers = await line.toEnd();
    t.match(answers, [{ outcome: '413 PAYLOAD_TOO_LARGE', headers: { connection: 'close' } }], name);
    t.same(answers.flatMap(envelopeFaults), [], name);
  }
  t.match(await exchangeAll(port, get(`x: ${'x'.repeat(15_000)}\r\n`)), [{ outcome: '404 CUSTOMER_NOT_FOUND' }]);
});

t.test('connections beyond the limit are closed; there is room again when one leaves', async (t) => {
  const service = await startService(t, { config: { maxConnections: 3 } });
  const port = await portOf(service);
  const { get } = rawRequests(service);
  const held: Line[] = [];
  for (const _ of [1, 2, 3]) held.push(await dial(port));
  const fourth = await dial(port);
  t.same(await fourth.toEnd(), [], 'without a byte');
  for (const line of held) {
    line.send(get());
    t.match(await line.answers(), [{ status: 404 }], 'those that are open are served');
  }
  held[0]?.drop();
  await delay(50);
  t.match(await exchangeAll(port, get()), [{ status: 404 }]);
  for (const line of held) line.drop();
});

t.test('who sends too slowly is told so and closed; who is idle is closed', async (t) => {
  const config = { headersTimeoutMs: 200, requestTimeoutMs: 400, keepAliveTimeoutMs: 200 };
  const service = await startService(t, { config });
  const port = await portOf(service);
  const { get, post } = rawRequests(service);
  const late = ['400 BAD_REQUEST'];
  const cases: [name: string, bytes: string, outcomes: readonly string[]][] = [
    ['nothing at all', '', late],
    ['half a head', get().slice(0, 40), late],
    ['HTTP/0.9', 'GET /\r\n', late],
    ['half a body', post('Content-Length: 100\r\n', '{'), late],
    ['chunks without an end', post('Transfer-Encoding: chunked\r\n', '1\r\n{\r\n'), late],
    ['a request, and then nothing', get(), ['404 CUSTOMER_NOT_FOUND']],
    ['a request, and then half of one', get() + get().slice(0, 40), ['404 CUSTOMER_NOT_FOUND', ...late]],
  ];
  await Promise.all(
    cases.map(async ([name, bytes, outcomes]) => {
      const line = await dial(port);
      line.send(bytes);
      const answers = await line.toEnd();
      t.same(
        answers.map(({ outcome }) => outcome),
        outcomes,
        name,
      );
      t.same(answers.flatMap(envelopeFaults), [], name);
    }),
  );
});

t.test('one connection serves many requests, refusals included', async (t) => {
  const service = await startService(t);
  const { get, post } = rawRequests(service);
  const line = await dial(await portOf(service));
  const asked: [string, string][] = [
    [get(), '404 CUSTOMER_NOT_FOUND'],
    [post(declared('{}'), '{}'), '400 INVALID_REQUEST'],
    [get('x-api-key: two\r\n'), '401'],
    [post(`${declared(validation)}x-api-key: two\r\n`, validation), '401'],
    ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', '404 NOT_FOUND'],
    [post(declared(validation), validation), '200 SUCCESS'],
  ];
  for (const [index, [bytes, outcome]] of asked.entries()) {
    line.send(bytes);
    t.match((await line.answers(index + 1))[index], { outcome, headers: { connection: 'keep-alive' } }, outcome);
  }
  line.drop();
});

t.test('a key has its rate, by either base and any route; no other key pays for it', async (t) => {
  const { send, post, info, credentials, key, tenant, anonymous, app } = await startService(t, {
    config: { rateLimit: '5' },
  });
  for (let guess = 0; guess < 10; guess += 1) {
    t.equal((await anonymous.info({})).status, 401);
    const guessed = { ...credentials, 'x-api-key': 'sk_dev_guess' };
    const answer = await send({ method: 'GET', url: `${base}/info`, headers: guessed });
    t.match(answer, { status: 401, headers: { 'ratelimit-limit': undefined } }, 'says nothing of a limit');
  }
  const versioned = () => send({ method: 'GET', url: '/api/v1/c2a/customer/info?exId=x', headers: { ...credentials } });
  const used = [
    await info({ exId: 'x' }),
    await post('validate', { externalId: 'x' }),
    await versioned(),
    await post('store', '{'),
    await versioned(),
  ];
  t.same(
    used.map(({ headers }) => [headers['ratelimit-limit'], headers['ratelimit-remaining']]),
    ['4', '3', '2', '1', '0'].map((remaining) => ['5', remaining]),
    'guesses of others were not counted',
  );
  for (const ask of [versioned, () => info({}), () => post('store', '{'), () => post('delete', {})]) {
    const { outcome, headers } = await ask();
    t.equal(outcome, '429 TOO_MANY_REQUESTS');
    const wait = Number(headers['retry-after']);
    t.ok(Number.isInteger(wait) && wait > 0 && wait <= 60, `after ${wait} seconds`);
    t.match(headers, { 'ratelimit-limit': '5', 'ratelimit-remaining': '0', 'ratelimit-reset': /^\d+$/ });
  }
  t.equal((await (await key('acme', 'full')).info({ exId: 'x' })).status, 404, 'another key of the tenant');
  t.equal((await (await tenant('globex')).info({ exId: 'x' })).status, 404, 'another tenant');
  for (const url of ['/healthz', '/readyz', '/metrics']) {
    for (let ask = 0; ask < 10; ask += 1) t.equal((await app.inject({ url })).statusCode, 200, url);
  }
});

t.test('what a role does not allow counts like any other request', async (t) => {
  const { key } = await startService(t, { config: { rateLimit: '3' } });
  const reader = await key('acme', 'read');
  for (let time = 0; time < 3; time += 1) t.equal((await reader.post('store', {})).outcome, '403 FORBIDDEN');
  t.equal((await reader.post('store', {})).outcome, '429 TOO_MANY_REQUESTS');
});

t.test('who sends requests without reading the answers is told so, and then cut off', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const { get } = rawRequests(service);
  const line = await dial(port);
  // Refused after a while each, so that they gather.
  line.send(get('x-api-key: two\r\n').repeat(150));
  const answers = await line.toEnd();
  t.equal(answers.length, 101);
  t.match(answers.at(-1), { outcome: '503 SERVICE_UNAVAILABLE', headers: { connection: 'close' } });
  const greedy = await dial(port);
  greedy.send(get('x-api-key: two\r\n').repeat(250));
  t.same(await greedy.toEnd(), [], 'without an answer');
  t.match(await exchangeAll(port, get()), [{ outcome: '404 CUSTOMER_NOT_FOUND' }], 'others are served');
});

t.test('the answers that many ask for at once are the same bytes', async (t) => {
  const { app } = await startService(t);
  for (const url of ['/openapi.json', '/docs/static/swagger-ui-bundle.js', '/DOCS/static/swagger-ui.css']) {
    const [one, other] = [await app.inject(url), await app.inject(url)];
    t.equal(one.statusCode, 200, url);
    t.ok(one.rawPayload.equals(other.rawPayload));
  }
  for (const url of [
    '/docs/static//etc/passwd',
    '/docs/static/..%5c..%5cpackage.json',
    `/docs/static/${'a'.repeat(5000)}`,
  ]) {
    const { statusCode, headers, body } = await app.inject(url);
    t.match({ statusCode, headers }, { statusCode: 404, headers: { 'content-type': /clientOutput/ } }, url);
    t.match(JSON.parse(body), { status: { messageCode: 'NOT_FOUND' } });
  }
});

t.test('a rate of `off` is none, and announces none', async (t) => {
  const { info } = await startService(t, { config: { rateLimit: 'off' } });
  t.match(await info({ exId: 'x' }), { status: 404, headers: { 'ratelimit-limit': undefined } });
});

t.test('under pressure requests are refused, operators are answered, and it passes', async (t) => {
  const service = await startService(t, { config: { maxEventLoopDelayMs: 100 } });
  const { post, app } = service;
  const validate = () => post('validate', { externalId: 'x' });
  t.equal((await validate()).outcome, '200 SUCCESS');
  for (const until = Date.now() + 1_500; Date.now() < until; );
  await delay(50);
  const { outcome, headers } = await validate();
  t.equal(outcome, '503 SERVICE_UNAVAILABLE');
  t.match(headers, { 'retry-after': /^[1-9]\d*$/ });
  t.equal((await post('store', storing({ externalIdentifier: 'shed' }))).status, 503);
  for (const url of ['/healthz', '/readyz', '/metrics']) t.equal((await app.inject({ url })).statusCode, 200, url);
  for (let turn = 0; turn < 50 && (await validate()).status === 503; turn += 1) await delay(100);
  t.match((await validate()).body, { isAvailable: true });
  t.match(
    (await post('validate', { externalId: 'shed' })).body,
    { isAvailable: true },
    'what was refused is not stored',
  );
});

t.test('JSON as deep as a body is long is refused, and harms nobody', async (t) => {
  const { post } = await startService(t);
  const half = kib64 / 2 - 100;
  for (const [name, body, outcome] of [
    ['arrays without end', '['.repeat(kib64), '400 BAD_REQUEST'],
    ['objects without end', '{"a":'.repeat(kib64 / 5), '400 BAD_REQUEST'],
    ['arrays', '['.repeat(half) + ']'.repeat(half), '400 BAD_REQUEST'],
    ['a field of arrays', `{"externalId":${'['.repeat(half)}${']'.repeat(half)}}`, '400 INVALID_REQUEST'],
    ['an unknown field of objects', `{"a":${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}}`, '400 INVALID_REQUEST'],
  ] as const) {
    const started = performance.now();
    t.equal((await post('validate', body)).outcome, outcome, name);
    t.ok(performance.now() - started < 1_000, 'soon');
  }
});

t.test('nothing reaches the prototype, by body, query or header', async (t) => {
  const { post, send, credentials, info } = await startService(t);
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'];
  for (const name of names) {
    t.match(
      (await post('validate', `{"externalId":"x","${name}":{"isAvailable":false}}`)).status,
      400,
      `body: ${name}`,
    );
    const headers = { ...credentials, ...(name !== '__proto__' && { [name]: 'x' }) };
    const url = `${base}/info?${name}[urn]=x&${name}=x&exId=nobody`;
    t.equal((await send({ method: 'GET', url, headers })).outcome, '404 CUSTOMER_NOT_FOUND', `query: ${name}`);
    t.equal((await info({ exId: name })).outcome, '404 CUSTOMER_NOT_FOUND', `value: ${name}`);
    t.equal((await post('store', storing({ externalIdentifier: name }))).outcome, '200 SUCCESS', `stored: ${name}`);
    t.equal((await info({ exId: name })).result.externalIdentifier, name);
  }
  t.same(Object.keys(Object.prototype), []);
  t.notOk('urn' in {} || 'isAvailable' in {});
});

t.test('a header that comes twice is not read as one of them', async (t) => {
  const service = await startService(t);
  const { post, credentials } = service;
  const port = await portOf(service);
  const raw = rawRequests(service);
  await post('store', storing({ externalIdentifier: 'twice' }));
  const other: Headers = { 'x-tn': 'globex', 'x-api-key': 'sk_dev_x' };
  for (const name of ['x-tn', 'x-api-key'] as const) {
    for (const value of [credentials[name], other[name], '']) {
      t.match(await exchangeAll(port, raw.get(`${name}: ${value}\r\n`)), [{ outcome: '401' }], `${name}: ${value}`);
    }
  }
  t.match(await exchangeAll(port, raw.get('Authorization: Bearer x\r\nAuthorization: \r\n')), [{ outcome: '401' }]);

  const update = '{"customer":{"externalIdentifier":"twice","firstName":"x"}}';
  const updating = (headers: string) => exchangeAll(port, raw.post(declared(update) + headers, update, 'update'));
  t.match(await updating('If-Match: "7"\r\nIf-Match: "8"\r\n'), [{ outcome: '412 VERSION_MISMATCH' }]);
  t.match(await updating('If-Match: "7"\r\nIf-Match: "1"\r\n'), [{ outcome: '200 SUCCESS' }], 'a list, by RFC 9110');
  t.match(await updating('Idempotency-Key: a\r\nIdempotency-Key: b\r\n'), [{ outcome: '400 INVALID_REQUEST' }]);
  const [answer] = await exchangeAll(port, raw.get('X-Request-Id: a\r\nX-Request-Id: b\r\n'));
  t.match(answer?.headers['x-request-id'], /^[\w-]{36}$/, 'ours');
});

t.test('500 callers that never finish leave the others unharmed', async (t) => {
  const service = await startService(t, { config: { headersTimeoutMs: 1_500, requestTimeoutMs: 1_500 } });
  const port = await portOf(service);
  const { get, post } = rawRequests(service);
  const begun = [get().slice(0, 30), get().slice(0, -2), post('Content-Length: 60000\r\n', '{')];
  const slow = await Promise.all(Array.from({ length: 500 }, () => dial(port)));
  for (const [index, line] of slow.entries()) line.send(begun[index % begun.length] as string);
  const dripping = setInterval(() => {
    for (const line of slow) if (line.isOpen()) line.send('x');
  }, 100);

  const times: number[] = [];
  for (let turn = 0; turn < 100; turn += 1) {
    const started = performance.now();
    const [answer] = await exchangeAll(port, get());
    t.equal(answer?.status, 404);
    times.push(performance.now() - started);
  }
  const median = times.sort((one, other) => one - other)[50] as number;
  t.ok(median < 500, `others are answered within ${Math.round(median)} ms`);

  await Promise.all(slow.map((line) => line.toEnd(10_000)));
  clearInterval(dripping);
  t.match(await exchangeAll(port, get()), [{ status: 404 }], 'the slow ones are gone');
});
