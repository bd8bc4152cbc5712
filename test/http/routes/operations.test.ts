/** `/healthz`, `/readyz` and `/metrics`. */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import pino from 'pino';
import t from 'tap';
import { base, storing } from '../../support/client.ts';
import { startService } from '../../support/service.ts';

const plainJson = 'application/json; charset=utf-8';

t.test('the routes need no authentication, and ignore credentials', async (t) => {
  const { app, credentials } = await startService(t);
  for (const headers of [{}, { ...credentials }, { ...credentials, 'x-api-key': 'wrong' }, { authorization: 'x' }]) {
    const alive = await app.inject({ url: '/healthz', headers });
    t.match(alive, { statusCode: 200, headers: { 'content-type': plainJson }, body: '{"status":"alive"}' });
    const ready = await app.inject({ url: '/readyz', headers });
    t.match(ready, { statusCode: 200, headers: { 'content-type': plainJson }, body: '{"status":"ready"}' });
    const metrics = await app.inject({ url: '/metrics', headers });
    t.match(metrics, { statusCode: 200, headers: { 'content-type': /^text\/plain; version=0\.0\.4/ } });
    for (const answer of [alive, ready, metrics]) t.ok(answer.headers['x-request-id']);
  }
});

t.test('/readyz answers 503 while the storage cannot write; /healthz answers 200', async (t) => {
  const dataDir = t.testdir({});
  const { app, post } = await startService(t, { storage: 'sqlite', dataDir });
  const ready = async () => (await app.inject({ url: '/readyz' })).statusCode;
  /** Waits for a status: an answer is cached for a second. */
  const becomes = async (status: number) => {
    for (let turn = 0; turn < 30 && (await ready()) !== status; turn += 1) await delay(100);
    t.equal(await ready(), status);
  };
  await becomes(200);
  const outside = new Database(join(dataDir, 'customers.db'));
  t.teardown(() => outside.close());
  outside.exec(`CREATE TRIGGER refuse BEFORE UPDATE ON data_version BEGIN SELECT RAISE(ABORT, 'read-only'); END`);
  await becomes(503);
  t.equal(
    (await app.inject({ url: '/readyz' })).body,
    '{"status":"cannot write"}',
    'without the reason, which is in the log',
  );
  t.equal((await app.inject({ url: '/healthz' })).statusCode, 200);
  outside.exec('DROP TRIGGER refuse');
  await becomes(200);
  t.equal(
    (await post('store', storing({ externalIdentifier: 'x' }))).result.customerUrn,
    'cu.00.1',
    'probing used no URN',
  );
});

t.test('/readyz answers 503 when a database file was moved away', async (t) => {
  const dataDir = t.testdir({});
  const { app } = await startService(t, { storage: 'sqlite', dataDir });
  renameSync(join(dataDir, 'customers.db'), join(dataDir, 'elsewhere.db'));
  t.equal((await app.inject({ url: '/readyz' })).statusCode, 503);
  renameSync(join(dataDir, 'elsewhere.db'), join(dataDir, 'customers.db'));
  await delay(1_100);
  t.equal((await app.inject({ url: '/readyz' })).statusCode, 200);
});

t.test('the storage is probed at most once a second', async (t) => {
  const { app } = await startService(t, { storage: 'sqlite', dataDir: t.testdir({}) });
  await Promise.all(Array.from({ length: 50 }, () => app.inject({ url: '/readyz' })));
  const { body } = await app.inject({ url: '/metrics' });
  const what = 'schema, vault, tenant, API key and probe';
  t.equal(sampleOf(body, 'c2a_commit_writes_count'), 5, what);
});

/** The value of a sample by its name and labels; undefined where it is absent. */
function sampleOf(text: string, sample: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1));
}

t.test('metrics count requests by route and code, commits, reads and key look-ups', async (t) => {
  const { app, post, info, anonymous, send, credentials } = await startService(t, {
    storage: 'sqlite',
    dataDir: t.testdir({}),
  });
  const store = (externalIdentifier: string) => post('store', storing({ externalIdentifier }));
  await Promise.all(['a', 'b', 'c', 'd'].map(store));
  await store('a');
  await info({ exId: 'a' });
  await anonymous.info({ exId: 'a' });
  await post('validate', '{');
  await send({ method: 'GET', url: '/nowhere' });
  await send({ method: 'GET', url: `/api/v1/c2a/customer/info?exId=a`, headers: { ...credentials } });
  await app.inject({ url: '/healthz' });

  const { body } = await app.inject({ url: '/metrics' });
  const expected: Record<string, number> = {
    [`c2a_requests_total{route="${base}/store",code="SUCCESS"}`]: 4,
    [`c2a_requests_total{route="${base}/store",code="CUSTOMER_ALREADY_STORED"}`]: 1,
    [`c2a_requests_total{route="${base}/info",code="SUCCESS"}`]: 1,
    [`c2a_requests_total{route="${base}/info",code="401"}`]: 1,
    [`c2a_requests_total{route="${base}/validate",code="BAD_REQUEST"}`]: 1,
    'c2a_requests_total{route="/api/v1/c2a/customer/info",code="SUCCESS"}': 1,
    'c2a_requests_total{route="none",code="NOT_FOUND"}': 1,
    'c2a_not_authenticated_total{reason="no_credentials"}': 1,
    'c2a_requests_total{route="/healthz",code="200"}': 1,
    [`c2a_request_seconds_count{route="${base}/store"}`]: 5,
    [`c2a_request_seconds_bucket{le="+Inf",route="${base}/store"}`]: 5,
  };
  for (const [sample, value] of Object.entries(expected)) t.equal(sampleOf(body, sample), value, sample);
  const commits = sampleOf(body, 'c2a_commit_writes_count') as number;
  const writes = sampleOf(body, 'c2a_commit_writes_sum') as number;
  t.ok(writes >= 9, 'two for tenant and key, five for stores, and those for id blocks');
  t.ok(commits < writes, `${writes} writes in ${commits} transactions`);
  t.equal(sampleOf(body, 'c2a_database_seconds_count{operation="commit"}'), commits);
  const hits = 'c2a_api_key_lookups_total{result="hit"}';
  const misses = 'c2a_api_key_lookups_total{result="miss"}';
  t.equal(
    (sampleOf(body, hits) ?? 0) + (sampleOf(body, misses) ?? 0),
    8,
    'one look-up for each request with credentials',
  );
  t.ok((sampleOf(body, hits) ?? 0) >= 4 && (sampleOf(body, misses) ?? 0) >= 1);
  t.ok((sampleOf(body, 'c2a_database_seconds_count{operation="read"}') ?? 0) >= 3);
  for (const gauge of ['nodejs_eventloop_lag_p99_seconds', 'process_resident_memory_bytes']) {
    t.ok(sampleOf(body, gauge) !== undefined, gauge);
  }
  const samples = body.split('\n').filter((one) => one !== '' && !one.startsWith('#'));
  t.ok(samples.length > 100, `${samples.length} samples`);
  for (const line of samples) {
    if (!/^[a-z_0-9]+(\{([a-z_]+="[^"\n]*",?)*\})? (-?[\d.e+-]+|NaN|\+Inf)$/.test(line))
      t.fail(`malformed sample: ${line}`);
  }
});

t.test('metrics hold no tenant, key, path or submitted value, and the number of series is bounded', async (t) => {
  const mark = 'Zx9';
  const { app, post, info, send, anonymous, credentials, services } = await startService(t);
  const [key] = await services.apiKeys.list();
  const series = async () => (await app.inject({ url: '/metrics' })).body.match(/^c2a_requests_total\{/gm)?.length ?? 0;
  const ask = async (turn: number) => {
    const customer = { externalIdentifier: `${mark}-${turn}`, email: `${mark}${turn}@example.com`, firstName: mark };
    await post('store', storing(customer), { 'idempotency-key': `${mark}-${turn}`, 'x-request-id': `${mark}-${turn}` });
    await info({ exId: `${mark}-${turn}` });
    await send({ method: 'GET', url: `/${mark}-${turn}?${mark}=${mark}` });
    await send({ method: 'GET', url: `/%zz${mark}-${turn}` });
    await anonymous.info({ exId: mark });
    await app.inject({ method: 'GET', url: '/healthz', headers: { 'x-tn': `${mark}-${turn}` } });
  };
  await ask(1);
  await series();
  const few = await series();
  for (let turn = 2; turn < 40; turn += 1) await ask(turn);
  t.equal(await series(), few, 'the series of the first round');
  const { body } = await app.inject({ url: '/metrics' });
  for (const secret of [mark, '"acme"', credentials['x-api-key'], key?.id as string, 'example.com']) {
    t.notOk(body.includes(secret), secret.slice(0, 8));
  }
});

t.test('the routes are logged at debug', async (t) => {
  const routes = ['/healthz', '/readyz', '/metrics'];
  for (const [level, expected] of [
    ['info', []],
    ['debug', routes],
  ] as const) {
    const stream = new PassThrough();
    const { app } = await startService(t, { logger: pino({ level }, stream) });
    stream.read();
    for (const url of routes) await app.inject({ url });
    const lines = String(stream.read() ?? '')
      .split('\n')
      .filter(Boolean);
    t.same(
      lines.map((line) => JSON.parse(line).route),
      expected,
      level,
    );
  }
});

t.test('other methods are answered 405', async (t) => {
  const { send } = await startService(t);
  for (const url of ['/healthz', '/readyz', '/metrics']) {
    const answer = await send({ method: 'POST', url, payload: '{' });
    t.match(answer, { outcome: '405 METHOD_NOT_ALLOWED', headers: { allow: /GET/ } }, url);
  }
});
