/** Limits of connections: sizes of heads, their number, slow and greedy clients, repeated headers. */
import type { OutgoingHttpHeaders } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { type Headers, storing } from '../support/client.ts';
import { answerFaults } from '../support/conformance.ts';
import { operations } from '../support/openapi.ts';
import { startService } from '../support/service.ts';
import { dial, envelopeFaults, exchangeAll, type Line, portOf, rawRequests } from '../support/sockets.ts';

const validation = '{"externalId":"x"}';
const declared = (body: string) => `Content-Length: ${body.length}\r\n`;

t.test('a request line and headers over 16 KiB are answered 431, and the connection is closed', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const { get, post } = rawRequests(service);
  const long = 'x'.repeat(17_000);
  for (const [name, bytes] of Object.entries({
    'one header': get(`x: ${long}\r\n`),
    'the name of a header': get(`${long}: x\r\n`),
    'many headers': get('x: y\r\n'.repeat(4000)),
    'the path': get().replace('/info', `/${long}`),
    'the query': get().replace('nobody', long),
    'a key': get().replace(/x-api-key: .*/, `x-api-key: ${long}`),
    'the query and a header, together': get(`x: ${'x'.repeat(9_000)}\r\n`).replace('nobody', 'x'.repeat(9_000)),
    'a trailer': post('Transfer-Encoding: chunked\r\n', `0\r\nx: ${long}\r\n\r\n`),
    'a request without a known route': `GET / HTTP/1.1\r\nx: ${long}\r\n\r\n`,
  })) {
    const line = await dial(port);
    line.send(bytes);
    const answers = await line.toEnd();
    t.match(answers, [{ outcome: '431 HEADERS_TOO_LARGE', headers: { connection: 'close' } }], name);
    t.same(answers.flatMap(envelopeFaults), [], name);
  }
  t.match(await exchangeAll(port, get(`x: ${'x'.repeat(15_000)}\r\n`)), [{ outcome: '404 CUSTOMER_NOT_FOUND' }]);
});

t.test('the 431 conforms to the description of every operation', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  for (const { path, method } of operations) {
    const asked = { method: method.toUpperCase(), url: path };
    const answers = await exchangeAll(port, `${asked.method} ${path} HTTP/1.1\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`);
    t.match(answers, [{ outcome: '431 HEADERS_TOO_LARGE' }], path);
    const faults = answers.map(({ status: statusCode, headers, text: body }) =>
      answerFaults(asked, { statusCode, headers: headers as OutgoingHttpHeaders, body, json: () => JSON.parse(body) }),
    );
    t.same(faults, [[]], path);
  }
});

t.test('connections over the limit are closed; a closed connection makes room for another', async (t) => {
  const service = await startService(t, { config: { maxConnections: 3 } });
  const port = await portOf(service);
  const { get } = rawRequests(service);
  const held: Line[] = [];
  for (const _ of [1, 2, 3]) held.push(await dial(port));
  const fourth = await dial(port);
  t.same(await fourth.toEnd(), [], 'no byte was sent');
  for (const line of held) {
    line.send(get());
    t.match(await line.answers(), [{ status: 404 }], 'open connections are served');
  }
  held[0]?.drop();
  await delay(50);
  t.match(await exchangeAll(port, get()), [{ status: 404 }]);
  for (const line of held) line.drop();
});

t.test('a slow request is answered 400 and its connection closed; an idle connection is closed', async (t) => {
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

t.test('a connection stays open after answers and refusals', async (t) => {
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

t.test('a client with over 100 requests in flight gets 503, and over 200 is disconnected', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const { get } = rawRequests(service);
  const line = await dial(port);
  // A 401 takes 20 ms, so the requests accumulate.
  line.send(get('x-api-key: two\r\n').repeat(150));
  const answers = await line.toEnd();
  t.equal(answers.length, 101);
  t.match(answers.at(-1), { outcome: '503 SERVICE_UNAVAILABLE', headers: { connection: 'close' } });
  const greedy = await dial(port);
  greedy.send(get('x-api-key: two\r\n').repeat(250));
  t.same(await greedy.toEnd(), [], 'without an answer');
  t.match(await exchangeAll(port, get()), [{ outcome: '404 CUSTOMER_NOT_FOUND' }], 'other clients are served');
});

t.test('a repeated header is not read as one of its values', async (t) => {
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
  t.match(await updating('If-Match: "7"\r\nIf-Match: "1"\r\n'), [{ outcome: '200 SUCCESS' }], 'a list (RFC 9110)');
  t.match(await updating('Idempotency-Key: a\r\nIdempotency-Key: b\r\n'), [{ outcome: '400 INVALID_REQUEST' }]);
  const [answer] = await exchangeAll(port, raw.get('X-Request-Id: a\r\nX-Request-Id: b\r\n'));
  t.match(answer?.headers['x-request-id'], /^[\w-]{36}$/, 'a new one');
});

t.test('500 requests that never end do not delay others', async (t) => {
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
  t.ok(median < 500, `median of other requests: ${Math.round(median)} ms`);

  await Promise.all(slow.map((line) => line.toEnd(10_000)));
  clearInterval(dripping);
  t.match(await exchangeAll(port, get()), [{ status: 404 }], 'after the slow connections are closed');
});
