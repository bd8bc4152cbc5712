/** What is unforeseen: 500 without internals, and nothing stored. */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import t from 'tap';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { refusedFor, type Service, startService, storing } from '../support/service.ts';

const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com' };
const everyOperation = ({ post, info }: Service) =>
  Promise.all([
    post('validate', { externalId: 'crm-1' }),
    post('store', storing(jane), { 'idempotency-key': 'k' }),
    post('update', { customer: jane }),
    post('delete', { externalIdentifier: 'crm-1' }),
    info({ exId: 'crm-1' }),
  ]);

/** A repository all of whose methods fail. */
function failing(error: () => Error): CustomerRepository {
  const fail = async () => {
    throw error();
  };
  return {
    store: fail,
    find: fail,
    hasExternalId: fail,
    update: fail,
    erase: fail,
    deleteExpired: fail,
    findErasure: fail,
    findIdempotencyRecords: fail,
    findResidue: fail,
  };
}

for (const [outcome, error] of [
  ['500 SQL_DATABASE_FAILURE', () => new DatabaseFailure(new Error('SECRET at line 5'))],
  ['500 INTERNAL_SERVER_ERROR', () => new TypeError('SECRET is not a function')],
  ['500 INTERNAL_SERVER_ERROR', () => Object.assign(new Error('SECRET'), { statusCode: 200 })],
] as const) {
  t.test(`${outcome} says so and no more: ${error().constructor.name}`, async (t) => {
    const answers = await everyOperation(await startService(t, { repository: failing(error) }));
    for (const answer of answers) {
      t.equal(answer.outcome, outcome);
      t.notMatch(answer.text, /SECRET|stack|\.ts/);
      t.equal(answer.headers.etag, undefined);
    }
    t.same(
      answers.map(({ body }) => Object.keys(body as object)),
      [['status'], ['result', 'status'], ['result', 'status'], ['status'], ['result', 'status']],
    );
  });
}

t.test('a failure is not kept under its Idempotency-Key', async (t) => {
  let broken = true;
  const add: CustomerRepository['store'] = async () => {
    if (broken) throw new DatabaseFailure(new Error('disk full'));
    return { code: 'CUSTOMER_ALREADY_STORED' };
  };
  const { post } = await startService(t, { repository: { ...failing(() => new Error('unused')), store: add } });
  const store = () => post('store', storing(jane), { 'idempotency-key': 'k' });
  t.equal((await store()).outcome, '500 SQL_DATABASE_FAILURE');
  broken = false;
  t.equal((await store()).outcome, '409 CUSTOMER_ALREADY_STORED');
});

t.test('a database that refuses stores nothing, and the service goes on when it is mended', async (t) => {
  const dataDir = t.testdir({});
  const service = await startService(t, { storage: 'sqlite', dataDir });
  t.equal((await service.info({ exId: 'crm-1' })).outcome, '404 CUSTOMER_NOT_FOUND', 'the key is trusted for a moment');
  const outside = new Database(join(dataDir, 'customers.db'));
  // Reads of one turn share a snapshot.
  await setImmediate();
  outside.exec('ALTER TABLE customers RENAME TO elsewhere');
  for (const answer of await everyOperation(service)) t.equal(answer.outcome, '500 SQL_DATABASE_FAILURE');
  refusedFor(
    t,
    await service.post('store', storing({})),
    ['customer.externalIdentifier: required'],
    'asks no database',
  );

  outside.exec('ALTER TABLE elsewhere RENAME TO customers');
  t.equal(outside.prepare('SELECT count(*) FROM customers').pluck().get(), 0);
  t.equal(outside.prepare('SELECT count(*) FROM kept_answers').pluck().get(), 0);
  outside.close();
  t.match((await service.post('store', storing(jane), { 'idempotency-key': 'k' })).result, {
    customerUrn: /^cu\.00\.\d+$/,
  });
});

t.test('one bad write in a batch does not spoil the others', async (t) => {
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
