/**
 * Grouped by what only raw bytes can express: ambiguous, malformed and unusual HTTP, pipelining, clients that disconnect. It
 * tests connections.ts and json-body.ts over sockets.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { base, storing } from '../support/client.ts';
import { startService } from '../support/service.ts';
import { dial, envelopeFaults, exchangeAll, portOf, rawRequests, within } from '../support/sockets.ts';

const service = await startService(t, { config: { rateLimit: 'off' } });
const port = await portOf(service);
const { get, post } = rawRequests(service);

const body = '{"externalId":"x"}';
const length = `Content-Length: ${body.length}\r\n`;
const chunked = 'Transfer-Encoding: chunked\r\n';
const chunks = `12\r\n${body}\r\n0\r\n\r\n`;
/** A request hidden behind another (request smuggling). */
const smuggled = `GET ${base}/info HTTP/1.1\r\nHost: smuggled\r\n\r\n`;

/** A test after which the server must still serve requests. */
const survived = (name: string, run: (t: Test) => Promise<void>) =>
  t.test(name, async (t) => {
    await run(t);
    t.match(await exchangeAll(port, post(length, body)), [{ outcome: '200 SUCCESS' }], 'the server still serves');
  });

const ambiguous: Record<string, string> = {
  'Transfer-Encoding after Content-Length': post(`${length}${chunked}`, chunks),
  'Transfer-Encoding before Content-Length': post(`${chunked}${length}`, chunks),
  'Transfer-Encoding hidden by Content-Length': post(`Content-Length: 4\r\n${chunked}`, `0\r\n\r\n${smuggled}`),
  'Content-Length twice': post(`${length}${length}`, body),
  'two different Content-Length': post(`${length}Content-Length: 4\r\n`, body),
  'a list in Content-Length': post('Content-Length: 18, 18\r\n', body),
  'Content-Length with a plus': post('Content-Length: +18\r\n', body),
  'Content-Length with a minus': post('Content-Length: -18\r\n', body),
  'Content-Length with a space within': post('Content-Length: 1 8\r\n', body),
  'Content-Length in hexadecimal': post('Content-Length: 0x12\r\n', body),
  'Content-Length without a value': post('Content-Length: \r\n', body),
  'an overflowing Content-Length': post(`Content-Length: ${'9'.repeat(30)}\r\n`, body),
  'Content-Length with a space before the colon': post('Content-Length : 18\r\n', body),
  'Transfer-Encoding twice': post(`${chunked}${chunked}`, chunks),
  'chunked twice in one Transfer-Encoding': post('Transfer-Encoding: chunked, chunked\r\n', chunks),
  'chunked before another coding': post('Transfer-Encoding: chunked, gzip\r\n', chunks),
  'a coding like chunked': post('Transfer-Encoding: xchunked\r\n', chunks),
  'chunked after a vertical tab': post('Transfer-Encoding: \x0bchunked\r\n', chunks),
  'chunked in quotes': post('Transfer-Encoding: "chunked"\r\n', chunks),
  'a space before the colon of Transfer-Encoding': post('Transfer-Encoding : chunked\r\n', chunks),
  'a folded Transfer-Encoding': post('Transfer-Encoding:\r\n chunked\r\n', chunks),
  'the coding identity': post('Transfer-Encoding: identity\r\n', body),
  'a chunk size that is not a number': post(chunked, `zz\r\n${body}\r\n0\r\n\r\n`),
  'a negative chunk size': post(chunked, `-12\r\n${body}\r\n0\r\n\r\n`),
  'a chunk size with 0x': post(chunked, `0x12\r\n${body}\r\n0\r\n\r\n`),
  'an overflowing chunk size': post(chunked, `${'f'.repeat(17)}\r\n${body}\r\n0\r\n\r\n`),
  'a chunk size that ends in a bare LF': post(chunked, `12\n${body}\r\n0\r\n\r\n`),
  'a chunk longer than its size': post(chunked, `10\r\n${body}\r\n0\r\n\r\n`),
  'an endless chunk extension': post(chunked, `12;${'x'.repeat(20_000)}\r\n${body}\r\n0\r\n\r\n`),
};

const malformed: Record<string, string> = {
  'bare LF for line ends': get().replaceAll('\r\n', '\n'),
  'one bare LF': get('x: y\nx-tn: other\r\n'),
  'a bare CR within a line': get('x: y\rx-tn: other\r\n'),
  'a folded line': get('x: y\r\n x-tn: other\r\n'),
  'a folded first line': 'GET / HTTP/1.1\r\n Host: x\r\n\r\n',
  'a space before a colon': get('x : y\r\n'),
  'a line without a colon': get('x\r\n'),
  'a line without a name': get(': y\r\n'),
  'NUL in a value': get('x: a\0b\r\n'),
  'NUL in a name': get('x\0: a\r\n'),
  'an unknown version': get().replace('HTTP/1.1', 'HTTP/1.2'),
  'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'a TLS ClientHello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'a method in lower case': get().replace('GET', 'get'),
  'an overlong method': get().replace('GET', 'G'.repeat(5000)),
  'a target without a slash': 'GET api HTTP/1.1\r\nHost: x\r\n\r\n',
  'a space in the target': 'GET /a b HTTP/1.1\r\nHost: x\r\n\r\n',
  'CONNECT to a host': 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n',
  'CONNECT to a route': get().replace('GET', 'CONNECT'),
  'HTTP/0.9': 'GET /\r\n\r\n',
  'a body that ends early': post('Content-Length: 30\r\n', body),
  'chunks that end early': post(chunked, '12\r\n{'),
  'a head that ends early': get().slice(0, -2),
  'no Host': get().replace('Host: x\r\n', ''),
  'two Hosts': get('Host: y\r\n'),
  'the same Host twice': get('hOST: x\r\n'),
};

survived('an ambiguous or malformed request is answered 400, and nothing after it is read', async (t) => {
  for (const [name, bytes] of Object.entries({ ...ambiguous, ...malformed })) {
    const answers = await exchangeAll(port, bytes);
    t.same([answers.map(({ outcome }) => outcome), answers.flatMap(envelopeFaults)], [['400 BAD_REQUEST'], []], name);
  }
});

survived('an ambiguous request closes the connection, even while the client keeps it open', async (t) => {
  for (const [name, bytes] of Object.entries(ambiguous)) {
    const line = await dial(port);
    line.send(bytes + smuggled);
    const outcomes = (await line.toEnd()).map(({ outcome }) => outcome);
    t.same(outcomes, ['400 BAD_REQUEST'], name);
  }
});

survived('unusual but valid requests are served', async (t) => {
  const notFound = '404 CUSTOMER_NOT_FOUND';
  const served: Record<string, [bytes: string, outcome: string]> = {
    'HTTP/1.0': [get().replace('HTTP/1.1', 'HTTP/1.0'), notFound],
    'HTTP/1.0 without Host': [get().replace('HTTP/1.1\r\nHost: x', 'HTTP/1.0'), notFound],
    'HTTP/1.0 that keeps the connection': [get('Connection: keep-alive\r\n').replace('/1.1', '/1.0'), notFound],
    'empty lines before the request': [`\r\n\r\n${get()}`, notFound],
    'an empty Host': [get().replace('Host: x', 'Host:'), notFound],
    'the absolute form': [get().replace('GET /', 'GET http://example.com/'), notFound],
    'a chunked body': [post(chunked, chunks), '200 SUCCESS'],
    'chunked in capitals': [post('Transfer-Encoding: CHUNKED\r\n', chunks), '200 SUCCESS'],
    'a body in chunks of one byte': [
      post(chunked, `${[...body].map((byte) => `1\r\n${byte}\r\n`).join('')}0\r\n\r\n`),
      '200 SUCCESS',
    ],
    'a chunk extension': [post(chunked, `12;a=b\r\n${body}\r\n0\r\n\r\n`), '200 SUCCESS'],
    'space around Content-Length': [post(`Content-Length:   ${body.length}  \r\n`, body), '200 SUCCESS'],
    'a body on GET': [get(length) + body, notFound],
    'an upgrade to WebSocket': [get('Connection: Upgrade\r\nUpgrade: websocket\r\n'), notFound],
    'an upgrade to HTTP/2': [post(`Connection: Upgrade\r\nUpgrade: h2c\r\n${length}`, body), '200 SUCCESS'],
    'an unknown expectation': [post(`Expect: 200-maybe\r\n${length}`, body), '200 SUCCESS'],
    'bytes beyond ASCII in a header': [get('x: \xff\xfe\r\n'), notFound],
    'OPTIONS of everything': ['OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', '404 NOT_FOUND'],
    'a path that begins with two slashes': [get().replace('GET /', 'GET //'), '404 NOT_FOUND'],
    TRACE: [get().replace('GET', 'TRACE'), '405 METHOD_NOT_ALLOWED'],
    QUERY: [get().replace('GET', 'QUERY'), '405 METHOD_NOT_ALLOWED'],
  };
  for (const [name, [bytes, outcome]] of Object.entries(served)) {
    const answers = await exchangeAll(port, bytes);
    t.same([answers.map((answer) => answer.outcome), answers.flatMap(envelopeFaults)], [[outcome], []], name);
  }
});

survived('a request behind a refused body is answered, or not executed', async (t) => {
  const oversized = 'x'.repeat(70_000);
  const coded = post('Content-Encoding: gzip\r\nContent-Length: 4\r\n', 'gzip');
  const refused: [name: string, bytes: string, outcome: string][] = [
    ['malformed JSON', post('Content-Length: 4\r\n', '{"a"'), '400 BAD_REQUEST'],
    ['another coding', coded, '415 UNSUPPORTED_MEDIA_TYPE'],
    ['too large', post('Content-Length: 70000\r\n', oversized), '413 PAYLOAD_TOO_LARGE'],
    ['too large, chunked', post(chunked, `11170\r\n${oversized}\r\n0\r\n\r\n`), '413 PAYLOAD_TOO_LARGE'],
  ];
  for (const [name, bytes, outcome] of refused) {
    const behind = JSON.stringify(storing({ externalIdentifier: name }));
    const answers = await exchangeAll(port, bytes + post(`Content-Length: ${behind.length}\r\n`, behind, 'store'));
    t.same(
      answers.map((answer) => answer.outcome),
      [outcome, '200 SUCCESS'],
      name,
    );
    t.equal((await service.info({ exId: name })).status, 200, name);
  }
});

survived('a client that sends a large body before it reads gets the refusal', async (t) => {
  const oversized = 'x'.repeat(5_000_000);
  for (const contentType of ['application/json', 'text/plain']) {
    const answers = Array.from({ length: 8 }, () =>
      fetch(`http://127.0.0.1:${port}/api/c2a/customer/store`, {
        method: 'POST',
        headers: { ...service.credentials, 'content-type': contentType },
        body: oversized,
      }),
    );
    for (const { status } of await Promise.all(answers)) t.equal(status, contentType === 'text/plain' ? 415 : 413);
  }
});

survived('a client may go on sending a refused body for five seconds', async (t) => {
  const line = await dial(port);
  line.send(post('Content-Length: 1000000000\r\n', 'x'));
  t.match(await line.answers(), [{ outcome: '413 PAYLOAD_TOO_LARGE' }]);
  const answered = performance.now();
  const sending = setInterval(() => line.send('x'), 100);
  t.equal((await line.toEnd(10_000)).length, 1);
  clearInterval(sending);
  t.ok(performance.now() - answered > 3_000);
});

survived('nothing behind a request that offers an upgrade is executed', async (t) => {
  const offers = {
    'without a body': get('Connection: Upgrade\r\nUpgrade: websocket\r\n'),
    'with a body': post(`Connection: Upgrade\r\nUpgrade: h2c\r\n${length}`, body),
    'that is refused': get('Connection: Upgrade\r\nUpgrade: websocket\r\n').replace(/x-api-key: \S+/i, 'x-api-key: x'),
  };
  for (const [name, offer] of Object.entries(offers)) {
    const line = await dial(port);
    // Node loses the head of the second request, so its body could be read as a request.
    line.send(offer + post(`Content-Length: ${smuggled.length}\r\n`, '', 'store'));
    await delay(30);
    line.send(smuggled);
    const answers = await line.toEnd();
    t.equal(answers.length, 1, name);
    t.equal(answers[0]?.headers.connection, 'close', name);
  }
});

survived(
  'a malformed body of a request that offers an upgrade is answered when the client stops sending',
  async (t) => {
    const offer = 'Connection: Upgrade\r\nUpgrade: h2c\r\n';
    const broken: Record<string, string> = {
      'no body': post(offer + length, ''),
      'half a body': post(offer + length, body.slice(0, 9)),
      'a malformed chunk': post(offer + chunked, chunks.replace('\r\n0', 'x\r\n0')),
      'a malformed chunk, and another request': post(offer + chunked, `zz\r\n${smuggled}`),
      'no last chunk': post(offer + chunked, chunks.slice(0, -5)),
    };
    for (const [name, bytes] of Object.entries(broken)) {
      const outcomes = (await exchangeAll(port, bytes)).map(({ outcome }) => outcome);
      t.same(outcomes, ['400 BAD_REQUEST'], name);
      const late = await dial(port);
      late.send(bytes);
      await delay(20);
      late.end();
      t.same(
        (await late.toEnd()).map(({ outcome }) => outcome),
        ['400 BAD_REQUEST'],
        `${name}, and the end later`,
      );
    }
  },
);

survived('an unknown route is answered before its body is read', async (t) => {
  const bodies: Record<string, string> = {
    'malformed JSON': 'Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{',
    'another media type': 'Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx',
    'no media type at all': 'Content-Type: ;\r\nContent-Length: 1\r\n\r\nx',
    'too large': `Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`,
    'announced only': 'Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n',
  };
  for (const [name, rest] of Object.entries(bodies)) {
    for (const [line, outcome] of [
      ['POST /nowhere', '404 NOT_FOUND'],
      [`PUT ${base}/store`, '405 METHOD_NOT_ALLOWED'],
    ] as const) {
      const caller = await dial(port);
      caller.send(`${line} HTTP/1.1\r\nHost: x\r\n${rest}`);
      t.match(await caller.answers(), [{ outcome }], `${line}: ${name}`);
      caller.drop();
    }
  }
});

survived('HEAD is answered with the head of GET and no body', async (t) => {
  const line = await dial(port);
  line.send(get('Connection: close\r\n').replace('GET', 'HEAD'));
  await line.toEnd();
  t.match(line.received(), /^HTTP\/1\.1 404 .*\r\ncontent-length: \d+\r\n.*\r\n\r\n$/s);
});

survived('pipelined requests are answered in their order', async (t) => {
  const requests = Array.from({ length: 100 }, (_, index): [bytes: string, outcome: string] => {
    const own = JSON.stringify(storing({ externalIdentifier: `pipelined-${index}` }));
    const writing = `Content-Length: ${own.length}\r\n`;
    const kinds: [string, string][] = [
      [post(writing, own, 'store'), '200 SUCCESS'],
      [get(), '404 CUSTOMER_NOT_FOUND'],
      [post(chunked, chunks), '200 SUCCESS'],
      // A 401 takes 20 ms: the answers behind it wait.
      [get('x-api-key: two\r\n'), '401'],
      ['GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n', '404 NOT_FOUND'],
    ];
    return (index % 50 === 3 ? kinds[3] : kinds[index % 3 === 2 ? 4 : index % 3]) as [string, string];
  });
  const line = await dial(port);
  const marked = requests.map(([bytes], index) => bytes.replace('\r\n', `\r\nx-request-id: ${index}\r\n`));
  line.send(marked.join(''));
  const answers = await line.answers(requests.length);
  t.same(
    answers.map(({ headers, outcome }) => [headers['x-request-id'], outcome]),
    requests.map(([, outcome], index) => [String(index), outcome]),
  );
  line.drop();
});

survived('a request may arrive in pieces of any size', async (t) => {
  const line = await dial(port);
  const bytes = post(length, body);
  for (const [turn, size] of [1, 7, 64, 1024].entries()) {
    for (let at = 0; at < bytes.length; at += size) {
      line.send(bytes.slice(at, at + size));
      await new Promise(setImmediate);
    }
    t.equal((await line.answers(turn + 1)).length, turn + 1);
  }
  line.drop();
});

survived('a half-closed connection still gets its answers', async (t) => {
  const service = await startService(t, { storage: 'sqlite', dataDir: t.testdir({}) });
  const port = await portOf(service);
  const { get, post } = rawRequests(service);
  const store = JSON.stringify(storing({ externalIdentifier: 'half-closed' }));
  const writing = `Content-Length: ${store.length}\r\n`;
  t.match(await exchangeAll(port, post(writing, store, 'store')), [{ outcome: '200 SUCCESS' }]);
  t.match(await exchangeAll(port, get('x-api-key: two\r\n')), [{ outcome: '401' }]);
  t.match(await exchangeAll(port, get() + post(writing, store, 'store') + get()), [
    { outcome: '404 CUSTOMER_NOT_FOUND' },
    { outcome: '409 CUSTOMER_ALREADY_STORED' },
    { outcome: '404 CUSTOMER_NOT_FOUND' },
  ]);
});

survived('malformed bytes behind complete requests are refused after these were answered', async (t) => {
  const service = await startService(t, { storage: 'sqlite', dataDir: t.testdir({}) });
  const port = await portOf(service);
  const { post } = rawRequests(service);
  const store = (name: string) => {
    const body = JSON.stringify(storing({ externalIdentifier: name }));
    return post(`Content-Length: ${body.length}\r\n`, body, 'store');
  };
  for (const [name, rest] of Object.entries({
    brace: '}',
    smuggling: ambiguous['Content-Length twice'],
    half: 'GET',
  })) {
    const answers = await exchangeAll(port, store(`${name}-1`) + store(`${name}-2`) + rest);
    const outcomes = answers.map(({ outcome }) => outcome);
    t.same(outcomes, ['200 SUCCESS', '200 SUCCESS', '400 BAD_REQUEST'], name);
  }
});

survived('clients that disconnect within a request leave no customer and no connection', async (t) => {
  const store = JSON.stringify(storing({ externalIdentifier: 'aborted' }));
  const bytes = post(`Content-Length: ${store.length}\r\n`, store, 'store');
  for (const sent of [0, 1, 20, bytes.indexOf('\r\n\r\n') + 4, bytes.length - 1]) {
    for (const leave of ['drop', 'end'] as const) {
      const line = await dial(port);
      line.send(bytes.slice(0, sent));
      await new Promise((resolve) => setTimeout(resolve, 5));
      line[leave]();
      if (leave === 'end') await line.toEnd();
    }
  }
  t.equal((await service.info({ exId: 'aborted' })).outcome, '404 CUSTOMER_NOT_FOUND');
  const open = () => new Promise<number>((resolve) => service.app.server.getConnections((_, count) => resolve(count)));
  for (let turn = 0; turn < 100 && (await open()) > 0; turn += 1) await new Promise((done) => setTimeout(done, 10));
  t.equal(await open(), 0, 'all connections are closed');
});

survived('a CONNECT that is reset or left open is closed', async (t) => {
  const request = 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n';
  for (let turn = 0; turn < 300; turn += 1) {
    const { socket } = await dial(port);
    socket.write(request, () => socket.resetAndDestroy());
    await once(socket, 'close');
  }
  const silent = await dial(port);
  silent.send(request);
  t.match(await silent.answers(), [{ outcome: '400 BAD_REQUEST' }]);
  const { server } = service.app;
  const open = () => new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
  const allClosed = async () => {
    while ((await open()) > 0) await delay(50);
  };
  await within('the server to close the silent connection', allClosed());
  silent.drop();
});
