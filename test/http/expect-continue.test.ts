/** `Expect: 100-continue` (RFC 9110 section 10.1.1): a request is refused before its body is sent, else asked for it. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { base, storing } from '../support/client.ts';
import { startService } from '../support/service.ts';
import { dial, envelopeFaults, portOf, rawRequests, within } from '../support/sockets.ts';

const body = '{"externalId":"x"}';
const length = `Content-Length: ${body.length}\r\n`;
const chunked = 'Transfer-Encoding: chunked\r\n';
const chunks = `12\r\n${body}\r\n0\r\n\r\n`;
const expecting = 'Expect: 100-continue\r\n';
const interim = 'HTTP/1.1 100 Continue\r\n\r\n';
const notFound = '404 CUSTOMER_NOT_FOUND';

async function start(test: Test) {
  const service = await startService(test, { config: { rateLimit: 'off' } });
  return { ...service, port: await portOf(service), ...rawRequests(service) };
}

/** Sends the head of a request, waits for 100 Continue, and sends the body. */
async function sendWhenAsked(port: number, head: string, content: string) {
  const line = await dial(port);
  line.send(head);
  await within(
    '100 Continue',
    until(() => line.received() !== ''),
  );
  const asked = line.received();
  line.send(content);
  return { line, asked };
}

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await delay(1);
}

t.test('the body is asked for once the request is authenticated', async (t) => {
  const { port, post } = await start(t);
  const heads: Record<string, [head: string, content: string]> = {
    'with Content-Length': [post(expecting + length, ''), body],
    chunked: [post(expecting + chunked, ''), chunks],
    'in another letter case': [post(`expect: 100-Continue\r\n${length}`, ''), body],
    'with another expectation': [post(`Expect: x, 100-continue\r\n${length}`, ''), body],
  };
  for (const [name, [head, content]] of Object.entries(heads)) {
    const { line, asked } = await sendWhenAsked(port, head, content);
    t.equal(asked, interim, name);
    t.match(await line.answers(), [{ outcome: '200 SUCCESS', headers: { connection: 'keep-alive' } }], name);
    t.equal(line.received().split(interim).length, 2, `${name}: asked once`);
    line.drop();
  }
});

t.test('a body that is refused after it was asked for is refused as any other', async (t) => {
  const { port, get, post } = await start(t);
  const { line } = await sendWhenAsked(port, post(`${expecting}Content-Length: 1\r\n`, ''), '{');
  t.match(await line.answers(), [{ outcome: '400 BAD_REQUEST' }]);
  line.send(get());
  t.match(await line.answers(2), [{}, { outcome: notFound }], 'the connection stays open');
  line.drop();
  const large = await sendWhenAsked(port, post(expecting + chunked, ''), `11170\r\n${'x'.repeat(70_000)}\r\n0\r\n\r\n`);
  t.match(await large.line.answers(), [{ outcome: '413 PAYLOAD_TOO_LARGE' }]);
  large.line.drop();
});

t.test(
  'a request that is refused for its headers is answered before its body, and the connection closed',
  async (t) => {
    const { port, get, post, key } = await start(t);
    const reader = rawRequests(await key('acme', 'read'));
    const head = post(expecting + length, '');
    const refused: Record<string, [head: string, outcome: string]> = {
      'a wrong key': [post(`${expecting}${length}x-api-key: two\r\n`, ''), '401'],
      'no credentials': [`POST ${base}/store HTTP/1.1\r\nHost: x\r\n${expecting}${length}\r\n`, '401'],
      'a read-only key': [reader.post(expecting + length, '', 'store'), '403 FORBIDDEN'],
      'an unknown route': [head.replace('/validate', '/nowhere'), '404 NOT_FOUND'],
      'a path that cannot be decoded': [head.replace('/validate', '/%zz'), '404 NOT_FOUND'],
      'another method': [head.replace('POST', 'PUT'), '405 METHOD_NOT_ALLOWED'],
      'too large a body': [post(`${expecting}Content-Length: 70000\r\n`, ''), '413 PAYLOAD_TOO_LARGE'],
      'another media type': [head.replace('application/json', 'text/plain'), '415 UNSUPPORTED_MEDIA_TYPE'],
      'another charset': [head.replace('json', 'json; charset=latin1'), '415 UNSUPPORTED_MEDIA_TYPE'],
      'a content coding': [post(`${expecting}${length}Content-Encoding: gzip\r\n`, ''), '415 UNSUPPORTED_MEDIA_TYPE'],
      'a transfer coding': [post(`${expecting}Transfer-Encoding: gzip, chunked\r\n`, ''), '415 UNSUPPORTED_MEDIA_TYPE'],
      'no Host': [head.replace('Host: x\r\n', ''), '400 BAD_REQUEST'],
      'a body on GET': [get(expecting + length), notFound],
    };
    for (const [name, [bytes, outcome]] of Object.entries(refused)) {
      const line = await dial(port);
      line.send(bytes);
      const answers = await line.toEnd();
      t.match(answers, [{ outcome, headers: { connection: 'close' } }], name);
      t.same([answers.length, answers.flatMap(envelopeFaults)], [1, []], name);
      t.notMatch(line.received(), '100 Continue', name);
    }
  },
);

t.test('over the rate limit and in a shutdown the body is not asked for', async (t) => {
  const limited = await startService(t, { config: { rateLimit: '1' } });
  const port = await portOf(limited);
  const { get, post } = rawRequests(limited);
  const line = await dial(port);
  line.send(get());
  t.match(await line.answers(), [{ outcome: notFound }]);
  line.send(post(expecting + length, ''));
  t.match(await line.toEnd(), [{}, { outcome: '429 TOO_MANY_REQUESTS' }]);
  t.notMatch(line.received(), '100 Continue');

  const closing = await startService(t);
  const late = await dial(await portOf(closing));
  const closed = closing.app.close();
  late.send(rawRequests(closing).post(expecting + length, ''));
  t.match(await late.toEnd(), [{ outcome: '503 SERVICE_UNAVAILABLE' }]);
  t.notMatch(late.received(), '100 Continue');
  await closed;
});

t.test('a body that is sent at once is read, and the connection stays open', async (t) => {
  const { port, get, post } = await start(t);
  const requests: [bytes: string, outcome: string][] = [
    [post(expecting + length, body), '200 SUCCESS'],
    [post(expecting + chunked, chunks), '200 SUCCESS'],
    [post(`${expecting}${length}x-api-key: two\r\n`, body), '401'],
    [post(`${expecting}Content-Encoding: gzip\r\n${length}`, body), '415 UNSUPPORTED_MEDIA_TYPE'],
    [post(expecting + length, body).replace('/validate', '/nowhere'), '404 NOT_FOUND'],
    [get(expecting), notFound],
    [get(expecting + length) + body, notFound],
    [post(expecting, ''), '400 BAD_REQUEST'],
  ];
  const outcomes = requests.map(([, outcome]) => outcome);
  const line = await dial(port);
  for (const [index, [bytes, outcome]] of requests.entries()) {
    line.send(bytes);
    t.equal((await line.answers(index + 1))[index]?.outcome, outcome);
  }
  line.drop();
  const pipelined = await dial(port);
  pipelined.send(requests.map(([bytes]) => bytes).join(''));
  t.same(
    (await pipelined.answers(requests.length)).map(({ outcome }) => outcome),
    outcomes,
  );
  pipelined.drop();
});

t.test('the caller may ask that its connection is closed', async (t) => {
  const { port, post } = await start(t);
  const line = await dial(port);
  line.send(post(`Connection: close\r\n${expecting}${length}x-api-key: two\r\n`, body));
  t.match(await line.toEnd(), [{ outcome: '401', headers: { connection: 'close' } }]);
});

t.test('a request behind a refused one is answered, or not executed', async (t) => {
  const { port, post, info } = await start(t);
  const wrong = post(`${expecting}${length}x-api-key: two\r\n`, '');
  for (const [name, first, rest] of [
    ['whole', wrong + body, ''],
    ['a late body', wrong, body],
    ['a late end of the body', wrong + body.slice(0, 5), body.slice(5)],
    ['a body that is never sent', wrong, ''],
  ] as const) {
    for (const wait of [0, 10, 19, 20, 21, 40]) {
      const externalIdentifier = `${name}-${wait}`;
      const behind = JSON.stringify(storing({ externalIdentifier }));
      const line = await dial(port);
      line.send(first);
      await delay(wait);
      if (line.isOpen()) line.send(`${rest}${post(`Content-Length: ${behind.length}\r\n`, behind, 'store')}`);
      line.end();
      const outcomes = (await line.toEnd()).map(({ outcome }) => outcome);
      const isStored = (await info({ exId: externalIdentifier })).status === 200;
      t.equal(outcomes.includes('200 SUCCESS'), isStored, `${externalIdentifier}: ${outcomes}`);
    }
  }
});

t.test('100 Continue is sent after the answers to earlier requests', async (t) => {
  const { port, get, post } = await start(t);
  const line = await dial(port);
  line.send(get('x-api-key: two\r\n') + post(expecting + length, ''));
  await within(
    '100 Continue',
    until(() => line.received().endsWith(interim)),
  );
  t.match(await line.answers(), [{ outcome: '401' }]);
  line.send(body);
  t.match(await line.answers(2), [{ outcome: '401' }, { outcome: '200 SUCCESS' }]);
  line.drop();
});

t.test('HTTP/1.0 has no 100 Continue', async (t) => {
  const { port, post } = await start(t);
  const line = await dial(port);
  line.send(post(expecting + length, '').replace('HTTP/1.1', 'HTTP/1.0'));
  await delay(50);
  t.equal(line.received(), '');
  line.send(body);
  t.match(await line.toEnd(), [{ outcome: '200 SUCCESS' }]);
  t.notMatch(line.received(), '100 Continue');
});

t.test('a client that leaves instead of sending the body does no harm', async (t) => {
  const { port, post } = await start(t);
  for (const leave of ['drop', 'end'] as const) {
    const line = await dial(port);
    line.send(post(expecting + length, ''));
    await within(
      '100 Continue',
      until(() => line.received() !== ''),
    );
    line[leave]();
    if (leave === 'end') t.match(await line.toEnd(), [{ outcome: '400 BAD_REQUEST' }]);
  }
  const { line } = await sendWhenAsked(port, post(expecting + length, ''), body);
  t.match(await line.answers(), [{ outcome: '200 SUCCESS' }]);
  line.drop();
});
