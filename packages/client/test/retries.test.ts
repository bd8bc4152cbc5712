/** What is repeated, for how long, and that nothing is done twice. */
import { getEventListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { Fault } from '../../../src/index.ts';
import { ConnectionError, createClient } from '../src/index.ts';
import { retryAfterMs } from '../src/retries.ts';
import { startOtherServer } from './support/other-server.ts';
import { all, start, stateOf } from './support/service.ts';

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
  const { url: closed, server } = await startOtherServer(t, () => {});
  await new Promise((resolve) => server.close(resolve));
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
  const { url } = await startOtherServer(t, () => {});
  const silent = clientOf(service.credentials, { baseUrl: url });
  const tooLate = { name: 'ConnectionError', cause: 'time limit' };
  await t.rejects(silent.info({ exId: 'a' }), tooLate);
  await t.rejects(all(silent.export()), tooLate);
  await t.rejects(all(silent.import([stateOf('a')])), tooLate);
  const hanging = clientOf(service.credentials, { apiKey: () => new Promise(() => {}) });
  await t.rejects(hanging.info({ exId: 'a' }), tooLate);
  t.ok(performance.now() - began < 5_000);
});
