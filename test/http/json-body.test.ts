/** Media types, JSON and sizes of request bodies. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { base, type Route, storing } from '../support/client.ts';
import { startService } from '../support/service.ts';
import { dial, exchangeAll, portOf, rawRequests } from '../support/sockets.ts';

const kib64 = 64 * 1024;
const validation = '{"externalId":"x"}';
const declared = (body: string) => `Content-Length: ${body.length}\r\n`;
const inChunks = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
const routes: readonly Route[] = ['validate', 'store', 'update', 'delete'];

t.test('a body that is not a JSON object is refused', async (t) => {
  const { post } = await startService(t);
  const bodies = [
    '',
    ' ',
    '{',
    '{"a":1',
    "{'a':1}",
    '{"a":1}x',
    '{a:1}',
    'null',
    'true',
    '5',
    '"text"',
    '[]',
    '[{}]',
    'undefined',
  ];
  for (const route of routes) {
    for (const body of bodies) {
      const answer = await post(route, body);
      t.equal(answer.outcome, '400 BAD_REQUEST', `${route} ${body}`);
      t.equal('result' in (answer.body as object), route === 'store' || route === 'update');
    }
  }
});

t.test('a name that occurs twice in an object has its last value', async (t) => {
  const { post } = await startService(t);
  await post('store', storing({ externalIdentifier: 'taken' }));
  const asked = async (first: string, last: string) =>
    (await post('validate', `{"externalId":${first},"externalId":${last}}`)).body;
  t.match(await asked('5', '"taken"'), { isAvailable: false });
  t.match(await asked('"taken"', '"free"'), { isAvailable: true });
});

t.test('store and update are refused without a customer', async (t) => {
  const { post } = await startService(t);
  for (const route of ['store', 'update'] as const) {
    for (const body of [
      {},
      { customer: null },
      { customer: '' },
      { claimedRegion: { countryCode: 'DE', languageCode: 'de' } },
      { Customer: {} },
    ]) {
      t.equal((await post(route, body)).outcome, '400 BAD_REQUEST');
    }
  }
});

t.test('a request without a body is refused', async (t) => {
  const { send, credentials } = await startService(t);
  for (const route of routes) {
    t.equal(
      (await send({ method: 'POST', url: `${base}/${route}`, headers: { ...credentials } })).outcome,
      '400 BAD_REQUEST',
    );
  }
});

t.test('malformed UTF-8 is refused, not replaced', async (t) => {
  const { post } = await startService(t);
  const withBytes = (...bytes: number[]) =>
    Buffer.concat([Buffer.from('{"externalId":"'), Buffer.from(bytes), Buffer.from('"}')]);
  for (const bytes of [[0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) {
    t.equal((await post('validate', withBytes(...bytes))).outcome, '400 BAD_REQUEST');
  }
  t.equal((await post('validate', withBytes(0xc3, 0xbc))).outcome, '200 SUCCESS');
});

t.test('a body that sets a prototype is refused', async (t) => {
  const { post } = await startService(t);
  for (const poison of ['"__proto__":{"x":1}', '"\\u005f_proto__":1', '"constructor":{"prototype":{"x":1}}']) {
    for (const body of [`{${poison}}`, `{"customer":{"externalIdentifier":"x",${poison}}}`]) {
      t.equal((await post('store', body)).outcome, '400 BAD_REQUEST', body);
    }
  }
  t.notOk('x' in {});
});

t.test('the media type may have parameters', async (t) => {
  const { post } = await startService(t);
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json; charset="utf-8"',
    'application/json; profile=x; charset=utf-8',
    'application/json;CharSet=Utf8',
    'application/json; charset=us-ascii',
    'application/json; charset="u\\tf-8"',
    'application/json; charset=',
    'application/json;; charset=utf-8;',
    'application/json ; charset = utf-8',
    'application/json; charset=utf-8; charset=latin1',
    'application/json; profile="a; charset=latin1"',
    'application/json; profile="a\\"; charset=latin1"',
    'application/json; profile="a; charset=latin1"; charset=utf-8',
    'application/json; x-charset=latin1',
    'application/json; charset*=latin1',
    'Application/JSON',
  ]) {
    t.equal((await post('validate', { externalId: 'x' }, { 'content-type': type })).outcome, '200 SUCCESS', type);
  }
});

t.test('a body of another media type is refused', async (t) => {
  const { post, send, credentials } = await startService(t);
  for (const type of [
    'text/plain',
    'text/plain; application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
    'application/json-patch+json',
    'application/clientOutput+Json',
    'application',
    '*/*',
  ]) {
    for (const route of routes) {
      const answer = await post(route, '{"externalId":"x"}', { 'content-type': type });
      t.equal(answer.outcome, '415 UNSUPPORTED_MEDIA_TYPE', type);
    }
  }
  const payload = Buffer.from('{}');
  for (const type of [
    'application/json; charset=utf-16',
    'application/json; charset="iso-8859-1"',
    'application/json;CHARSET=latin1',
    'application/json; charset = latin1',
    'application/json; charset="latin\\1"',
    'application/json; profile="a"; charset=latin1',
    'application/json; profile="a\\\\"; charset=latin1',
    'application/json; profile="; charset=utf-8"; charset=latin1',
    'application/json; charset=latin1; charset=utf-8',
    'application/json; charset=utf-8-sig',
    "application/json; charset='utf-8'",
  ]) {
    const answer = await post('validate', validation, { 'content-type': type });
    t.equal(answer.outcome, '415 UNSUPPORTED_MEDIA_TYPE', type);
    t.notOk('accept-encoding' in answer.headers, 'only with a content coding');
  }
  t.equal(
    (await post('store', '', { 'content-type': 'text/plain' })).outcome,
    '400 BAD_REQUEST',
    'an empty body counts as absent',
  );
  const untyped = await send({ method: 'POST', url: `${base}/store`, headers: { ...credentials }, payload });
  t.equal(untyped.outcome, '415 UNSUPPORTED_MEDIA_TYPE', 'without a media type');
});

t.test('a body with a content coding is refused with Accept-Encoding: identity', async (t) => {
  const { post } = await startService(t);
  for (const coding of ['gzip', 'GZIP', 'br', 'x', 'gzip, identity', 'identity, gzip']) {
    for (const route of routes) {
      const answer = await post(route, validation, { 'content-encoding': coding });
      t.match(answer, { outcome: '415 UNSUPPORTED_MEDIA_TYPE', headers: { 'accept-encoding': 'identity' } }, coding);
    }
  }
  for (const coding of ['identity', 'Identity', '']) {
    t.equal((await post('validate', validation, { 'content-encoding': coding })).outcome, '200 SUCCESS', coding);
  }
});

t.test('every operation accepts 64 KiB and no more', async (t) => {
  const { post } = await startService(t);
  const padded = (bytes: number) => JSON.stringify({ externalId: 'x' }).padEnd(bytes);
  t.equal((await post('validate', padded(64 * 1024))).outcome, '200 SUCCESS');
  for (const route of routes) {
    t.equal((await post(route, padded(64 * 1024 + 1))).outcome, '413 PAYLOAD_TOO_LARGE');
  }
});

t.test('an answer lists at most 100 violations', async (t) => {
  const { post } = await startService(t);
  const names = Object.fromEntries(Array.from({ length: 6_000 }, (_, index) => [`x${index}`, 1]));
  const answer = await post('store', storing({ externalIdentifier: 'x', ...names }));
  t.equal(answer.outcome, '400 INVALID_REQUEST');
  t.equal(answer.violations.length, 100);
  t.equal(
    (await post('store', `{"customer":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)).outcome,
    '400 INVALID_REQUEST',
  );
});

t.test('a body may have 64 KiB, declared or chunked', async (t) => {
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

t.test('a body with an unsupported coding is refused at once, and read to its end', async (t) => {
  const service = await startService(t);
  const { post } = rawRequests(service);
  const line = await dial(await portOf(service));
  line.send(post(`Content-Encoding: gzip\r\n${declared(validation)}`, validation.slice(0, 5)));
  const refused = { outcome: '415 UNSUPPORTED_MEDIA_TYPE' };
  t.match(await line.answers(), [refused]);
  line.send(validation.slice(5) + post(declared(validation), validation));
  t.match(await line.answers(2), [refused, { outcome: '200 SUCCESS' }]);
  line.drop();
});

t.test('a body may arrive in pieces, and a client may leave before it is complete', async (t) => {
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

t.test('JSON nested as deep as the body allows is refused within a second', async (t) => {
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
    t.ok(performance.now() - started < 1_000, 'within a second');
  }
});

t.test('no body, query or header sets a prototype', async (t) => {
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
