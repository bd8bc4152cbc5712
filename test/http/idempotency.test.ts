/** Grouped by header: `Idempotency-Key` on store, update and delete (routes/customers.ts and application/idempotency.ts). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import t from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { storing } from '../support/client.ts';
import { eachStorage, refusedFor, startService } from '../support/service.ts';

const dayMs = 24 * 60 * 60 * 1000;
const under = (key: string) => ({ 'idempotency-key': key });
const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com', firstName: 'Jane' };
const reused = '422 IDEMPOTENCY_KEY_REUSED';

eachStorage((start, t) => {
  t.test('a retried store gets the first answer', async (t) => {
    const { post } = await start(t);
    const first = await post('store', storing(jane), under('k'));
    const again = await post('store', storing(jane), under('k'));
    t.equal(first.headers['idempotency-replayed'], undefined);
    t.equal(again.headers['idempotency-replayed'], 'true');
    t.equal(again.text, first.text);
    t.equal(again.headers.etag, first.headers.etag);
    t.equal((await post('store', storing(jane))).outcome, '409 CUSTOMER_ALREADY_STORED', 'without the key');
  });

  t.test('a retry in another spelling is the same request', async (t) => {
    const { post } = await start(t);
    const { text } = await post('store', storing(jane), under('k'));
    const { claimedRegion } = storing(jane);
    const spelled = { claimedRegion, customer: { lastName: '', ...jane, firstName: ' Jane ' } };
    t.match(await post('store', spelled, under('k')), { text, headers: { 'idempotency-replayed': 'true' } });
  });

  t.test('a retried update is applied once', async (t) => {
    const { post, info } = await start(t);
    await post('store', storing(jane));
    const update = { customer: { externalIdentifier: 'crm-1', firstName: 'Joan' } };
    const first = await post('update', update, under('k'));
    const again = await post('update', update, under('k'));
    t.same([again.text, again.headers.etag], [first.text, '"2"']);
    t.equal((await post('update', update, { ...under('k'), 'if-match': '"1"' })).outcome, reused, 'another If-Match');
    t.equal((await info({ exId: 'crm-1' })).headers.etag, '"2"');
  });

  t.test('a retried delete succeeds although its ExternalId is free again', async (t) => {
    const { post } = await start(t);
    await post('store', storing(jane));
    const remove = { externalIdentifier: 'crm-1' };
    const first = await post('delete', remove, under('k'));
    const again = await post('delete', remove, under('k'));
    t.equal(first.outcome, '200 SUCCESS');
    t.match(again, { text: first.text, headers: { 'idempotency-replayed': 'true' } });
    t.equal((await post('delete', remove)).outcome, '404 CUSTOMER_NOT_FOUND');
  });

  t.test('only success is recorded: a retry of a refused request is judged anew', async (t) => {
    const { post } = await start(t);
    const update = { customer: { externalIdentifier: 'crm-1', firstName: 'Joan' } };
    const stale = [update, { ...under('v'), 'if-match': '"2"' }] as const;
    t.equal((await post('update', update, under('u'))).outcome, '404 CUSTOMER_NOT_FOUND');
    await post('store', storing(jane));
    t.equal((await post('store', storing(jane), under('s'))).outcome, '409 CUSTOMER_ALREADY_STORED');
    t.equal((await post('update', ...stale)).outcome, '412 VERSION_MISMATCH');

    const anew = { outcome: '200 SUCCESS', headers: { 'idempotency-replayed': undefined } };
    t.match(await post('update', update, under('u')), anew, 'an update that came before its store');
    t.match(await post('update', ...stale), anew);
    await post('delete', { externalIdentifier: 'crm-1' });
    t.match(await post('store', storing(jane), under('s')), anew);
  });

  t.test('field violations are not kept: a corrected request may use the key', async (t) => {
    const { post } = await start(t);
    refusedFor(t, await post('store', storing({ ...jane, email: 'x' }), under('k')), [
      'customer.email: invalid_format',
    ]);
    t.match(await post('store', storing(jane), under('k')), { outcome: '200 SUCCESS' });
    const merged = { customer: { externalIdentifier: 'crm-1', legalType: 'Corporate' } };
    refusedFor(t, await post('update', merged, under('m')), ['customer.corporationInfo: required']);
    const complete = { customer: { ...merged.customer, corporationInfo: { companyName: 'ACME' } } };
    t.equal((await post('update', complete, under('m'))).outcome, '200 SUCCESS');
  });

  t.test('another request with the same key is refused, for every operation', async (t) => {
    const { post, info } = await start(t);
    await post('store', storing(jane), under('k'));
    t.equal((await post('store', storing({ ...jane, firstName: 'Joan' }), under('k'))).outcome, reused);
    t.equal((await post('update', { customer: jane }, under('k'))).outcome, reused);
    t.equal((await post('delete', { externalIdentifier: 'crm-1' }, under('k'))).outcome, reused);
    t.match(await info({ exId: 'crm-1' }), { outcome: '200 SUCCESS', headers: { etag: '"1"' } });
    t.equal(
      (await post('store', storing(jane), under('k'))).headers['idempotency-replayed'],
      'true',
      'the first request is still replayed',
    );
  });

  t.test('a key belongs to its tenant', async (t) => {
    const { post, tenant } = await start(t);
    const { result } = await post('store', storing(jane), under('k'));
    const globex = await tenant('globex');
    const theirs = await globex.post('store', storing(jane), under('k'));
    t.equal(theirs.headers['idempotency-replayed'], undefined);
    t.not(theirs.result.customerUrn, result.customerUrn);
  });

  t.test('a key may be reused after 24 hours', async (t) => {
    const { post, clock } = await start(t);
    await post('store', storing(jane), under('k'));
    clock.now += dayMs - 1;
    t.equal((await post('store', storing(jane), under('k'))).headers['idempotency-replayed'], 'true');
    clock.now += 1;
    t.equal((await post('store', storing(jane), under('k'))).outcome, '409 CUSTOMER_ALREADY_STORED');
  });

  t.test('a key is 1 to 128 visible characters', async (t) => {
    const { post } = await start(t);
    for (const key of ['', ' ', 'a b', 'ä', 'x'.repeat(129)]) {
      for (const [route, body] of [
        ['store', storing(jane)],
        ['update', { customer: jane }],
        ['delete', { externalIdentifier: 'x' }],
      ] as const) {
        refusedFor(t, await post(route, body, under(key)), ['Idempotency-Key: invalid_format'], `${route} ${key}`);
      }
    }
    refusedFor(t, await post('store', storing({}), under('a b')), [
      'Idempotency-Key: invalid_format',
      'customer.externalIdentifier: required',
    ]);
    for (const [index, key] of ['!', '~', 'x'.repeat(128)].entries()) {
      t.equal((await post('store', storing({ externalIdentifier: `k${index}` }), under(key))).outcome, '200 SUCCESS');
    }
  });

  t.test('validate and info ignore it', async (t) => {
    const { post, info } = await start(t);
    for (const isAvailable of [true, false]) {
      const { body, headers } = await post('validate', { externalId: 'crm-1' }, under('k'));
      t.match(body, { isAvailable });
      t.equal(headers['idempotency-replayed'], undefined);
      await post('store', storing(jane));
    }
    t.equal((await info({ exId: 'crm-1' })).status, 200);
  });

  t.test('a replay after a delete returns the anonymized record, and the key refuses another customer', async (t) => {
    const { post, info } = await start(t);
    await post('store', storing(jane), under('k'));
    await post('delete', { externalIdentifier: 'crm-1' }, under('d'));
    const again = await post('store', storing(jane), under('k'));
    t.match(again, { outcome: '200 SUCCESS', result: { status: 'Anonymized' } });
    t.notMatch(again.text, /jane/i);
    t.equal((await info({ exId: 'crm-1' })).outcome, '404 CUSTOMER_NOT_FOUND', 'nobody is brought back');
    for (const key of ['k', 'd']) {
      t.equal((await post('store', storing({ externalIdentifier: 'crm-2' }), under(key))).outcome, reused);
      t.equal((await post('delete', { externalIdentifier: 'crm-2' }, under(key))).outcome, reused);
    }
    const { result } = await post('store', storing({ ...jane, externalIdentifier: 'crm-2' }), under('another'));
    t.match(result, { customerUrn: 'cu.00.2', externalIdentifier: 'crm-2', status: 'Active' }, 'with a key of its own');
  });

  t.test('a repeated delete is replayed after its ExternalId was stored anew, and erases nobody', async (t) => {
    const { post, info } = await start(t);
    const remove = { externalIdentifier: 'crm-1' };
    await post('store', storing(jane), under('s'));
    await post('delete', remove, under('d'));
    const anew = await post('store', storing(jane), under('s2'));
    t.match(anew.result, { customerUrn: 'cu.00.2', firstName: 'Jane' });
    t.match(await post('delete', remove, under('d')), {
      outcome: '200 SUCCESS',
      headers: { 'idempotency-replayed': 'true' },
    });
    t.strictSame((await info({ exId: 'crm-1' })).result.customerUrn, 'cu.00.2');
    const conditional = await post('delete', remove, { ...under('d'), 'if-match': '"1"' });
    t.equal(conditional.outcome, reused, 'If-Match is part of the request');
    t.equal((await post('delete', { ...remove, reference: 'DSAR-1' }, under('d'))).outcome, reused);
  });

  t.test('of fifty concurrent retries one does the work, and none conflicts with it', async (t) => {
    const { post } = await start(t);
    const answers = await Promise.all(Array.from({ length: 50 }, () => post('store', storing(jane), under('k'))));
    const worked = answers.filter(
      ({ outcome, headers }) => outcome === '200 SUCCESS' && !headers['idempotency-replayed'],
    );
    t.equal(worked.length, 1);
    for (const { outcome } of answers) t.match(outcome, /^200 SUCCESS$|^409 REQUEST_IN_PROGRESS$/);
  });
});

t.test('a second request with the key of one in flight is refused', async (t) => {
  const customers = new MemoryCustomers(createReferenceData());
  const store = customers.store.bind(customers);
  let arrived = () => {};
  const arrival = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { post, tenant } = await startService(t, {
    repository: Object.assign(customers, {
      async store(...request: Parameters<typeof store>) {
        arrived();
        await held;
        return store(...request);
      },
    }),
  });
  const first = post('store', storing(jane), under('k'));
  await arrival;
  t.equal((await post('store', storing(jane), under('k'))).outcome, '409 REQUEST_IN_PROGRESS');
  t.equal((await post('update', { customer: jane }, under('k'))).outcome, '409 REQUEST_IN_PROGRESS');
  t.equal((await post('sync', storing(jane), under('k'))).outcome, '409 REQUEST_IN_PROGRESS');
  const other = (await tenant('globex')).post('store', storing(jane), under('k'));
  release();
  t.equal((await first).outcome, '200 SUCCESS');
  t.equal((await other).outcome, '200 SUCCESS', 'a key belongs to its tenant');
  t.equal((await post('store', storing(jane), under('k'))).headers['idempotency-replayed'], 'true');
});

t.test('the idempotency records of SQLite hold no submitted value', async (t) => {
  const dataDir = t.testdir({});
  const { post } = await startService(t, { storage: 'sqlite', dataDir });
  const key = 'key-jane@example.com';
  const records = () => {
    const database = new Database(join(dataDir, 'customers.db'), { readonly: true });
    const query = database.prepare<[], { key_digest: Buffer; request_digest: Buffer; code: string; number: number }>(
      'SELECT key_digest, request_digest, code, number FROM idempotency_records ORDER BY expires_at, rowid',
    );
    const rows = query.all();
    database.close();
    return rows;
  };
  await post('store', storing(jane), under(key));
  await post('store', storing(jane), under('conflict'));
  const before = records();
  await post('delete', { externalIdentifier: 'crm-1' }, under('deleted'));

  const after = records();
  t.same(after.slice(0, 1), before);
  t.same(
    after.map(({ code, number }) => ({ code, number })),
    Array(2).fill({ code: 'SUCCESS', number: 1 }),
    'the conflict is not recorded',
  );
  for (const { key_digest, request_digest } of after) t.same([key_digest.length, request_digest.length], [32, 32]);
  for (const file of readdirSync(dataDir)) t.notOk(readFileSync(join(dataDir, file)).includes(key), file);
});
