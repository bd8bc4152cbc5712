/** The rate of an API key, and load shedding. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { base, storing } from '../support/client.ts';
import { run } from '../support/process.ts';
import { startService } from '../support/service.ts';

t.test('an API key has one rate over both base routes and all operations, apart from other keys', async (t) => {
  const { send, post, info, credentials, key, tenant, anonymous, app } = await startService(t, {
    config: { rateLimit: '5' },
  });
  for (let guess = 0; guess < 10; guess += 1) {
    t.equal((await anonymous.info({})).status, 401);
    const guessed = { ...credentials, 'x-api-key': 'sk_dev_guess' };
    const answer = await send({ method: 'GET', url: `${base}/info`, headers: guessed });
    t.match(answer, { status: 401, headers: { 'ratelimit-limit': undefined } }, 'without rate headers');
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
    'failed authentications were not counted',
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

t.test('a request that the role forbids counts towards the rate', async (t) => {
  const { key } = await startService(t, { config: { rateLimit: '3' } });
  const reader = await key('acme', 'read');
  for (let time = 0; time < 3; time += 1) t.equal((await reader.post('store', {})).outcome, '403 FORBIDDEN');
  t.equal((await reader.post('store', {})).outcome, '429 TOO_MANY_REQUESTS');
});

t.test('a rate limit of `off` limits nothing and adds no headers', async (t) => {
  const { info } = await startService(t, { config: { rateLimit: 'off' } });
  t.match(await info({ exId: 'x' }), { status: 404, headers: { 'ratelimit-limit': undefined } });
});

t.test('under pressure the API answers 503 and the probes 200, until the pressure is over', async (t) => {
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
    'the refused store left nothing',
  );
});

t.test('measuring the pressure needs no file descriptor', async (t) => {
  const script = `
    import { openSync } from 'node:fs';
    import { createService } from '${new URL('../../src/index.ts', import.meta.url)}';
    const service = await createService();
    await service.inject('/healthz');
    try {
      for (;;) openSync('/dev/null');
    } catch ({ code }) {
      console.log(code);
    }
    setTimeout(async () => {
      console.log((await service.inject('/healthz')).statusCode);
      process.exit();
    }, 1_500);`;
  const limited = 'ulimit -n 200; exec "$0" --input-type=module --eval "$1"';
  const { stdout, stderr } = await run('sh', ['-c', limited, process.execPath, script]);
  t.equal(stdout, 'EMFILE\n200\n', stderr);
});
