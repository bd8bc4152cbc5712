/** The envelope of every answer, and of errors: 500 without internals, and nothing stored. */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import t from 'tap';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { customerUrn } from '../../src/domain/identity.ts';
import { conflicting } from '../contract/customer-repository/examples.ts';
import { base, storing } from '../support/client.ts';
import { refusedFor, type Service, startService } from '../support/service.ts';
import { exchangeAll, portOf, rawRequests } from '../support/sockets.ts';

const mediaType = 'application/clientOutput+Json; charset=utf-8';
const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com' };
const everyOperation = ({ post, info }: Service) =>
  Promise.all([
    post('validate', { externalId: 'crm-1' }),
    post('store', storing(jane), { 'idempotency-key': 'k' }),
    post('update', { customer: jane }),
    post('delete', { externalIdentifier: 'crm-1' }),
    info({ exId: 'crm-1' }),
    post('find', { email: jane.email }),
  ]);

/** A repository whose methods all throw. */
function failing(error: () => Error): CustomerRepository {
  const fail = async () => {
    throw error();
  };
  return {
    store: fail,
    find: fail,
    list: fail,
    hasExternalId: fail,
    update: fail,
    sync: fail,
    exchange: fail,
    findTombstone: fail,
    erase: fail,
    merge: fail,
    recoverErasures: fail,
    deleteExpired: fail,
    findErasure: fail,
    history: fail,
    changes: fail,
    lastChange: fail,
    findIdempotencyRecords: fail,
    findResidue: fail,
    countCustomers: fail,
  };
}

for (const [outcome, error] of [
  ['500 SQL_DATABASE_FAILURE', () => new DatabaseFailure(new Error('SECRET at line 5'))],
  ['500 INTERNAL_SERVER_ERROR', () => new TypeError('SECRET is not a function')],
  ['500 INTERNAL_SERVER_ERROR', () => Object.assign(new Error('SECRET'), { statusCode: 200 })],
] as const) {
  t.test(`${outcome} without internals: ${error().constructor.name}`, async (t) => {
    const answers = await everyOperation(await startService(t, { repository: failing(error) }));
    for (const answer of answers) {
      t.equal(answer.outcome, outcome);
      t.notMatch(answer.text, /SECRET|stack|\.ts/);
      t.equal(answer.headers.etag, undefined);
    }
    t.same(
      answers.map(({ body }) => Object.keys(body as object)),
      [['status'], ['result', 'status'], ['result', 'status'], ['status'], ['result', 'status'], ['result', 'status']],
    );
  });
}

t.test('an internal error is not kept under its Idempotency-Key', async (t) => {
  let broken = true;
  const add: CustomerRepository['store'] = async () => {
    if (broken) throw new DatabaseFailure(new Error('disk full'));
    return conflicting(customerUrn('00', 1));
  };
  const { post } = await startService(t, { repository: { ...failing(() => new Error('unused')), store: add } });
  const store = () => post('store', storing(jane), { 'idempotency-key': 'k' });
  t.equal((await store()).outcome, '500 SQL_DATABASE_FAILURE');
  broken = false;
  t.equal((await store()).outcome, '409 CUSTOMER_ALREADY_STORED');
});

t.test('a failing database stores nothing, and the service continues when it works again', async (t) => {
  const dataDir = t.testdir({});
  const service = await startService(t, { storage: 'sqlite', dataDir });
  t.equal((await service.info({ exId: 'crm-1' })).outcome, '404 CUSTOMER_NOT_FOUND', 'caches the API key');
  const outside = new Database(join(dataDir, 'customers.db'));
  // Reads of one event-loop turn share a snapshot.
  await setImmediate();
  outside.exec('ALTER TABLE customers RENAME TO elsewhere');
  for (const answer of await everyOperation(service)) t.equal(answer.outcome, '500 SQL_DATABASE_FAILURE');
  refusedFor(
    t,
    await service.post('store', storing({})),
    ['customer.externalIdentifier: required'],
    'validation needs no database',
  );

  outside.exec('ALTER TABLE elsewhere RENAME TO customers');
  t.equal(outside.prepare('SELECT count(*) FROM customers').pluck().get(), 0);
  t.equal(outside.prepare('SELECT count(*) FROM idempotency_records').pluck().get(), 0);
  outside.close();
  t.match((await service.post('store', storing(jane), { 'idempotency-key': 'k' })).result, {
    customerUrn: /^cu\.00\.\d+$/,
  });
});

t.test('a failing write of a group commit leaves the others stored', async (t) => {
  const dataDir = t.testdir({});
  const { post } = await startService(t, { storage: 'sqlite', dataDir });
  const outside = new Database(join(dataDir, 'customers.db'));
  outside.exec(`CREATE TRIGGER refuse BEFORE INSERT ON customers WHEN NEW.number = 3
    BEGIN SELECT RAISE(ABORT, 'refused'); END`);
  outside.close();
  const answers = await Promise.all(
    ['a', 'b', 'c', 'd', 'e'].map((externalIdentifier) => post('store', storing({ externalIdentifier }))),
  );
  const outcomes = answers.map(({ outcome }) => outcome);
  t.same(outcomes.toSorted(), [...Array(4).fill('200 SUCCESS'), '500 SQL_DATABASE_FAILURE']);
});

t.test('every answer with a body has this media type', async (t) => {
  const { post, info, send } = await startService(t);
  const answers = [
    await post('store', storing({ externalIdentifier: 'x' })),
    await post('store', storing({ externalIdentifier: 'x' })),
    await post('store', '{'),
    await post('validate', { externalId: 'x' }),
    await post('delete', {}),
    await info({ exId: 'x' }),
    await info({}),
    await send({ method: 'GET', url: '/' }),
    await send({ method: 'GET', url: `${base}/store` }),
    await send({ method: 'GET', url: '/%zz' }),
  ];
  for (const { headers, outcome } of answers) t.equal(headers['content-type'], mediaType, outcome);
});

t.test('the media type is sent in this letter case', async (t) => {
  const service = await startService(t);
  const [answer] = await exchangeAll(await portOf(service), rawRequests(service).get());
  t.match(answer, { outcome: '404 CUSTOMER_NOT_FOUND', headers: { 'content-type': mediaType } });
});

t.test('malformed HTTP is refused in the envelope', async (t) => {
  const port = await portOf(await startService(t));
  for (const [bytes, outcome] of [
    ['NONSENSE\r\n\r\n', '400 BAD_REQUEST'],
    [`GET / HTTP/1.1\r\nHost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, '431 HEADERS_TOO_LARGE'],
  ] as const) {
    const [answer] = await exchangeAll(port, bytes);
    t.match(answer, {
      outcome,
      headers: { 'content-type': mediaType, 'x-request-id': /^[\w-]{36}$/ },
      body: { result: null },
    });
  }
});
