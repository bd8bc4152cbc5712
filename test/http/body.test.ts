/** What counts as a request at all: media types, JSON, sizes. */
import t from 'tap';
import { base, type Route, startService, storing } from '../support/service.ts';

const routes: readonly Route[] = ['validate', 'store', 'update', 'delete'];

t.test('what is no JSON object is no request', async (t) => {
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

t.test('store and update are no request without a customer', async (t) => {
  const { post } = await startService(t);
  for (const route of ['store', 'update'] as const) {
    for (const body of [
      {},
      { customer: null },
      { claimedRegion: { countryCode: 'DE', languageCode: 'de' } },
      { Customer: {} },
    ]) {
      t.equal((await post(route, body)).outcome, '400 BAD_REQUEST');
    }
  }
});

t.test('a request without any body is no request', async (t) => {
  const { send, credentials } = await startService(t);
  for (const route of routes) {
    t.equal(
      (await send({ method: 'POST', url: `${base}/${route}`, headers: { ...credentials } })).outcome,
      '400 BAD_REQUEST',
    );
  }
});

t.test('malformed UTF-8 is refused rather than mended', async (t) => {
  const { post } = await startService(t);
  const withBytes = (...bytes: number[]) =>
    Buffer.concat([Buffer.from('{"externalId":"'), Buffer.from(bytes), Buffer.from('"}')]);
  for (const bytes of [[0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) {
    t.equal((await post('validate', withBytes(...bytes))).outcome, '400 BAD_REQUEST');
  }
  t.equal((await post('validate', withBytes(0xc3, 0xbc))).outcome, '200 SUCCESS');
});

t.test('a body that reaches for the prototype is refused', async (t) => {
  const { post } = await startService(t);
  for (const poison of ['"__proto__":{"x":1}', '"\\u005f_proto__":1', '"constructor":{"prototype":{"x":1}}']) {
    for (const body of [`{${poison}}`, `{"customer":{"externalIdentifier":"x",${poison}}}`]) {
      t.equal((await post('store', body)).outcome, '400 BAD_REQUEST', body);
    }
  }
  t.notOk('x' in {});
});

t.test('JSON with any parameters is accepted', async (t) => {
  const { post } = await startService(t);
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json; charset="utf-8"',
    'application/json; profile=x; charset=utf-8',
    'Application/JSON',
  ]) {
    t.equal((await post('validate', { externalId: 'x' }, { 'content-type': type })).outcome, '200 SUCCESS', type);
  }
});

t.test('a body that is not declared as JSON is refused', async (t) => {
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
  for (const [name, value] of [
    ['content-type', 'application/json; charset=utf-16'],
    ['content-type', 'application/json; charset="iso-8859-1"'],
    ['content-encoding', 'gzip'],
  ] as const) {
    const answer = await post('validate', '{"externalId":"x"}', { [name]: value });
    t.equal(answer.outcome, '415 UNSUPPORTED_MEDIA_TYPE', `${name}: ${value}`);
  }
  t.equal(
    (await post('store', '', { 'content-type': 'text/plain' })).outcome,
    '400 BAD_REQUEST',
    'an empty one is none',
  );
  const untyped = await send({ method: 'POST', url: `${base}/store`, headers: { ...credentials }, payload });
  t.equal(untyped.outcome, '415 UNSUPPORTED_MEDIA_TYPE', 'no media type');
});

t.test('64 KiB is the limit', async (t) => {
  const { post } = await startService(t);
  const padded = (bytes: number) => JSON.stringify({ externalId: 'x' }).padEnd(bytes);
  t.equal((await post('validate', padded(64 * 1024))).outcome, '200 SUCCESS');
  for (const route of routes) {
    t.equal((await post(route, padded(64 * 1024 + 1))).outcome, '413 PAYLOAD_TOO_LARGE');
  }
});

t.test('a body at the limit that is nothing but violations is answered in a size of its own', async (t) => {
  const { post } = await startService(t);
  const names = Object.fromEntries(Array.from({ length: 6_000 }, (_, index) => [`x${index}`, 1]));
  const answer = await post('store', storing({ externalIdentifier: 'x', ...names }));
  t.equal(answer.outcome, '400 INVALID_REQUEST');
  t.equal(answer.problems.length, 100);
  t.equal(
    (await post('store', `{"customer":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)).outcome,
    '400 INVALID_REQUEST',
  );
});
