/** `POST /import` over sockets: bodies that end early, clients that stop reading or sending, limits, and refusals. */
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import pino from 'pino';
import t, { type Test } from 'tap';
import type { Config } from '../../src/config.ts';
import { ndjsonType } from '../../src/http/streaming.ts';
import { base, storing } from '../support/client.ts';
import { beginImport, rowsOf } from '../support/imports.ts';
import { startService } from '../support/service.ts';
import { dial, portOf, rawRequests } from '../support/sockets.ts';

async function start(test: Test, config: Partial<Config> = {}, logger = pino({ level: 'silent' })) {
  const service = await startService(test, { storage: 'sqlite', dataDir: test.testdir({}), config, logger });
  const port = await portOf(service);
  const importing = (query = '', options: { isPaused?: boolean } = {}) =>
    beginImport(test, port, { headers: { ...service.credentials }, query, ...options });
  const countOf = async () => (await service.export()).body.length - 1;
  /** Waits until an import is no longer refused for the limit. */
  const freeSlot = async () => {
    for (let turn = 0; turn < 300; turn += 1) {
      const { status } = await service.import('\n');
      if (status !== 429) return true;
      await delay(10);
    }
    return false;
  };
  return { ...service, port, importing, countOf, freeSlot };
}

t.test('rows are answered while the body arrives, and the connection serves on', async (t) => {
  const { importing, port, credentials } = await start(t);
  const one = importing();
  one.send(rowsOf(0, 2));
  t.match(await one.answered(2), [
    { line: 1, outcome: 'created' },
    { line: 2, outcome: 'created' },
  ]);
  one.send(rowsOf(2, 3));
  t.match(await one.answered(3), [{}, {}, { line: 3, outcome: 'created' }]);
  one.end();
  const { isComplete, last } = await one.ended();
  t.ok(isComplete);
  t.match(last, { summary: { created: 3 }, status: { messageCode: 'SUCCESS' } });

  const line = await dial(port);
  const { get } = rawRequests({ credentials });
  const body = rowsOf(10, 12);
  const head = get().replace('GET', 'POST').replace('/info?exId=nobody', '/import').slice(0, -2);
  line.send(`${head}Content-Type: ${ndjsonType}\r\nContent-Length: ${body.length}\r\n\r\n${body}${get()}`);
  line.end();
  while (line.isOpen()) await delay(5);
  t.match(
    line.received(),
    /^HTTP\/1\.1 200 [\s\S]*"status":\{"messageCode":"SUCCESS"\}\}\n\r\n0\r\n\r\nHTTP\/1\.1 404 /,
  );
});

t.test('a client that waits for 100 Continue gets it, but not if it is refused', async (t) => {
  const { port, credentials, key } = await start(t);
  const send = async (headers: object) => {
    const line = await dial(port);
    const { get } = rawRequests({ credentials: headers as typeof credentials });
    const head = get().replace('GET', 'POST').replace('/info?exId=nobody', '/import').slice(0, -2);
    line.send(`${head}Content-Type: ${ndjsonType}\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`);
    while (line.received() === '') await delay(5);
    return line;
  };
  const line = await send(credentials);
  t.match(line.received(), /^HTTP\/1\.1 100 Continue/);
  line.send('\n');
  while (!line.received().includes('summary')) await delay(5);
  line.drop();
  const refused = await send((await key('acme', 'read')).credentials);
  t.match(refused.received(), /^HTTP\/1\.1 403 /);
  refused.drop();
});

t.test('a body that is cut off: what was answered is stored, and the slot is free', async (t) => {
  const service = await start(t);
  const { port, credentials, countOf, freeSlot } = service;
  const head = rawRequests({ credentials })
    .get()
    .replace('GET', 'POST')
    .replace('/info?exId=nobody', '/import')
    .slice(0, -2);
  const body = rowsOf(0, 300);
  const framed: Record<string, string> = {
    'Content-Length': `Content-Length: ${body.length + 10_000}\r\n\r\n${body}{"half`,
    'chunked without an end': `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n`,
  };
  for (const [name, rest] of Object.entries(framed)) {
    for (const how of ['end', 'drop'] as const) {
      const line = await dial(port);
      line.send(`${head}Content-Type: ${ndjsonType}\r\n${rest}`);
      while (!line.received().includes('"line":300')) await delay(5);
      line[how]();
      for (let turn = 0; line.isOpen() && turn < 400; turn += 1) await delay(5);
      t.notOk(line.isOpen(), `${name}, ${how}: the connection is closed`);
      t.notMatch(line.received(), /summary/);
      t.equal(await countOf(), 300);
      t.ok(await freeSlot());
    }
  }
});

t.test('a client that goes before its import begins leaves no slot taken, and an access log', async (t) => {
  const stream = new PassThrough();
  const service = await start(t, { imports: 1 }, pino({ level: 'info' }, stream));
  const { authentication } = service.services;
  const authenticate = authentication.authenticate.bind(authentication);
  let isAsked = false;
  let goOn = () => {};
  authentication.authenticate = async (credentials) => {
    isAsked = true;
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
    authentication.authenticate = authenticate;
    return authenticate(credentials);
  };
  const line = await dial(service.port);
  const { credentials } = await service.key('acme', 'full');
  const head = rawRequests({ credentials }).get().replace('GET', 'POST').replace('/info?exId=nobody', '/import');
  line.send(`${head.slice(0, -2)}Content-Type: ${ndjsonType}\r\nContent-Length: 1000\r\n\r\n${rowsOf(0, 1)}`);
  while (!isAsked) await delay(5);
  line.drop();
  await delay(50);
  goOn();
  while (authentication.authenticate !== authenticate) await delay(5);
  t.ok(await service.freeSlot());
  t.match(String(stream.read()), /"incomplete":true/);
});

t.test('more imports of a tenant than may run at once', async (t) => {
  const { importing, freeSlot, tenant, import: importWhole, key } = await start(t, { imports: 2 });
  const running = [importing(), importing('?dryRun=true')];
  for (const one of running) one.send(rowsOf(0, 1));
  for (const one of running) await one.answered(1);
  const third = importing();
  third.send(rowsOf(0, 1));
  const response = await third.responded();
  t.equal(response.statusCode, 429);
  t.ok(Number(response.headers['retry-after']) > 0, 'with Retry-After');
  t.equal((await (await tenant('other')).import('\n')).status, 200, 'another tenant');

  running[0]?.end();
  await running[0]?.ended();
  t.ok(await freeSlot(), 'after its end');
  running[1]?.request.destroy();
  t.ok(await freeSlot());
  const reader = await key('acme', 'read');
  for (let turn = 0; turn < 3; turn += 1) {
    t.equal((await importWhole('\n', { dryRun: 'maybe' })).status, 400);
    t.equal((await importWhole('\n', {}, { 'content-encoding': 'gzip' })).status, 415);
    t.equal((await reader.import('\n')).status, 403);
    t.equal((await importWhole('', {})).status, 400);
    t.equal((await reader.import('\n', { dryRun: 'true' })).status, 200);
    const broken = importing();
    broken.send(rowsOf(0, 1));
    await broken.answered(1);
    broken.request.destroy();
  }
  t.ok(await freeSlot());
  const again = [importing(), importing()];
  for (const one of again) one.send(rowsOf(0, 1));
  for (const one of again) await one.answered(1);
});

t.test('a client that does not read its answers: memory is bounded, and the connection is closed', async (t) => {
  const { importing, info, freeSlot } = await start(t, { headersTimeoutMs: 1_000, requestTimeoutMs: 1_000 });
  const one = importing('', { isPaused: true });
  let sent = 0;
  const isClosed = new Promise<true>((resolve) => one.request.once('close', () => resolve(true)));
  const since = Date.now();
  for (let isOpen = true; isOpen && sent < 400_000; sent += 500) {
    if (!one.send(rowsOf(0, 500, () => ({ email: 'x' })))) {
      const drained = new Promise<false>((resolve) => one.request.once('drain', () => resolve(false)));
      isOpen = !(await Promise.race([drained, isClosed]));
    }
    if (sent % 5_000 === 0) t.equal((await info({ exId: 'crm-1' })).status, 404);
  }
  t.ok(sent < 200_000, `${sent} rows were accepted`);
  t.ok(Date.now() - since > 5_500, 'after the timeout');
  t.ok(await freeSlot());
});

t.test('an import takes longer than a request may, and may begin late; a slow JSON request is refused', async (t) => {
  const { importing, port, credentials } = await start(t, { headersTimeoutMs: 1_000, requestTimeoutMs: 1_000 });
  const [one, late] = [importing(), importing()];
  for (let index = 0; index < 8; index += 1) {
    one.send(rowsOf(index, index + 1));
    await one.answered(index + 1);
    await delay(400);
  }
  late.end(rowsOf(20, 21));
  one.end();
  t.match((await one.ended()).last, { summary: { created: 8 }, status: { messageCode: 'SUCCESS' } });
  t.match((await late.ended()).last, { summary: { created: 1 } });

  const line = await dial(port);
  const { get, post } = rawRequests({ credentials });
  const head = get().replace('GET', 'POST').replace('/info?exId=nobody', '/import').slice(0, -2);
  line.send(`${head}Content-Type: ${ndjsonType}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  await delay(2_500);
  line.send('1\r\n\n\r\n0\r\n\r\n');
  for (let turn = 0; !line.received().endsWith('0\r\n\r\n') && turn < 800; turn += 1) await delay(5);
  line.send(post('Content-Length: 100\r\n', '{'));
  for (let turn = 0; line.isOpen() && turn < 800; turn += 1) await delay(5);
  t.match(line.received(), /\r\n0\r\n\r\nHTTP\/1\.1 400 BAD_REQUEST/);
});

t.test('a client that sends nothing more is cut off', async (t) => {
  const { importing, freeSlot } = await start(t, { headersTimeoutMs: 1_000, requestTimeoutMs: 1_000, imports: 1 });
  const one = importing();
  one.send(rowsOf(0, 1));
  await one.answered(1);
  const since = Date.now();
  const { isComplete } = await one.ended();
  t.notOk(isComplete);
  t.ok(Date.now() - since < 9_000);
  t.ok(await freeSlot());
});

t.test('malformed rows and bodies', async (t) => {
  const { import: importing, send, credentials } = await start(t);
  const long = JSON.stringify(storing({ externalIdentifier: 'long', firstName: 'x'.repeat(65_536) }));
  const exact = JSON.stringify(storing({ externalIdentifier: 'exact' }));
  const lines: readonly (readonly [string | Buffer, string | undefined])[] = [
    ['{"a":', 'BAD_REQUEST'],
    ['7', 'BAD_REQUEST'],
    ['[]', 'BAD_REQUEST'],
    ['null', 'BAD_REQUEST'],
    ['"text"', 'BAD_REQUEST'],
    ['{}', 'BAD_REQUEST'],
    ['{"customer":null}', 'BAD_REQUEST'],
    ['{"delete":{}}', 'INVALID_REQUEST'],
    ['{"delete":null}', 'INVALID_REQUEST'],
    ['{"delete":7}', 'INVALID_REQUEST'],
    ['{"delete":{"externalIdentifier":"a","customerUrn":"cu.00.1"}}', 'INVALID_REQUEST'],
    ['{"delete":{"externalIdentifier":"a","reason":"b"}}', 'INVALID_REQUEST'],
    ['{"delete":{"externalIdentifier":"a"},"customer":{}}', 'INVALID_REQUEST'],
    [long, 'PAYLOAD_TOO_LARGE'],
    [exact.padEnd(65_536), undefined],
    [exact.padEnd(65_537), 'PAYLOAD_TOO_LARGE'],
    [Buffer.concat([Buffer.from('{"customer":"'), Buffer.from([0xff]), Buffer.from('"}')]), 'BAD_REQUEST'],
    ['{"customer":{"__proto__":{"a":1}},"__proto__":{}}', 'INVALID_REQUEST'],
  ];
  const bytes = Buffer.concat(lines.map(([line]) => Buffer.concat([Buffer.from(line as string), Buffer.from('\n')])));
  const { body } = await importing(bytes);
  type Answered = { line: number; status?: { messageCode: string } };
  t.strictSame(
    body.slice(0, -1).map(({ line, status }: Answered) => [line, status?.messageCode]),
    lines.map(([, code], index) => [index + 1, code]),
  );
  t.match(body.at(-1), { summary: { created: 1, refused: 17 }, status: { messageCode: 'SUCCESS' } });

  const url = `${base}/import`;
  const headers = { ...credentials };
  for (const [query, type, payload, outcome] of [
    ['', 'application/json', '{}', '415 UNSUPPORTED_MEDIA_TYPE'],
    ['', 'text/csv', 'a', '415 UNSUPPORTED_MEDIA_TYPE'],
    ['', `${ndjsonType}; charset=latin1`, 'a', '415 UNSUPPORTED_MEDIA_TYPE'],
    ['', '', 'a', '415 UNSUPPORTED_MEDIA_TYPE'],
    ['', ndjsonType, '', '400 BAD_REQUEST'],
    ['', '', '', '400 BAD_REQUEST'],
    ['?dryRun=yes&complete=1', ndjsonType, '\n', '400 INVALID_REQUEST'],
    ['?dryRun=true&dryRun=false', ndjsonType, '\n', '400 INVALID_REQUEST'],
    ['?dryrun=true', ndjsonType, '\n', '400 INVALID_REQUEST'],
    ['?dryRun=', ndjsonType, '\n', '400 INVALID_REQUEST'],
  ] as const) {
    const given = await send({
      method: 'POST',
      url: url + query,
      headers: { ...headers, ...(type && { 'content-type': type }) },
      payload,
    });
    t.equal(given.outcome, outcome, `${query} ${type} ${payload}`);
  }
});
