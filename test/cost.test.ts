/**
 * The cost of each request, counted and not timed: SQL statements, rows written, transactions and cryptographic
 * operations. A change that adds or saves one must correct the table here, and give the reason in
 * docs/decisions/0035-optimizations-kept.md.
 */
import sodium from 'sodium-native';
import t, { type Test } from 'tap';
import type { Routine } from '../src/adapters/sql/driver/query.ts';
import type { SqlDatabase } from '../src/adapters/sql/schema/database.ts';
import { storing } from './support/client.ts';
import { startService } from './support/service.ts';
import { connectSqlite, newFolder } from './support/storage.ts';

const counted = { statements: 0, rows: 0, transactions: 0, crypto: 0 };

type Cost = [statements: number, rows: number, transactions: number, crypto: number];

const functions = sodium as unknown as Record<string, (...values: unknown[]) => unknown>;
for (const name of [
  'crypto_aead_xchacha20poly1305_ietf_encrypt',
  'crypto_aead_xchacha20poly1305_ietf_decrypt',
  'crypto_generichash',
  'crypto_sign_detached',
]) {
  const original = functions[name] as (...values: unknown[]) => unknown;
  functions[name] = (...values) => {
    counted.crypto += 1;
    return original(...values);
  };
}

/** A database that counts statements, written rows and transactions. */
function counting(database: SqlDatabase): SqlDatabase {
  function* count<Result>(routine: () => Routine<Result>): Routine<Result> {
    const running = routine();
    let step = running.next();
    while (!step.done) {
      counted.statements += 1;
      const rows = yield step.value;
      if (step.value.statement.gives === 'count') counted.rows += Number(rows[0]?.count ?? 0);
      step = running.next(rows);
    }
    return step.value;
  }
  const countTransaction =
    (method: 'write' | 'writeWithoutTransaction') =>
    <Result>(routine: () => Routine<Result>): Promise<Result> => {
      counted.transactions += 1;
      return database[method](() => count(routine));
    };
  return {
    ...database,
    read: (routine) => database.read(() => count(routine)),
    readShort: (routine) => database.readShort(() => count(routine)),
    write: countTransaction('write'),
    writeWithoutTransaction: countTransaction('writeWithoutTransaction'),
  };
}

async function started(t: Test) {
  const { database, over } = await connectSqlite(t, newFolder(t));
  const customers = over(counting(database));
  const { tenant } = await startService(t, { repository: customers.repository, references: customers.references });
  const acme = await tenant('acme');
  const store = (externalIdentifier: string, more: object = {}, headers = {}) =>
    acme.post('store', storing({ externalIdentifier, ...more }), headers);
  // Until id blocks have their full size, a store may have to reserve another.
  for (let number = 0; number < 300; number += 1) await store(`warm-up-${number}`);
  return { ...acme, store, customers };
}

const identity = (number: number) => ({ email: `jane.${number}@example.com`, phoneNumber: `+49170123456${number}` });

t.test('each request has its outcome at its cost', async (t) => {
  const { store, post, info, customers } = await started(t);
  const stored = async (number: number) =>
    (await store(`crm-${number}`, identity(number))).result.customerUrn as string;
  const urn = await stored(1);
  const [other, gone] = [await stored(2), await stored(3)];
  const keyed = { 'idempotency-key': 'once' };
  const update = (customer: object) => () => post('update', { customer: { customerUrn: urn, ...customer } });

  const expected: [name: string, request: () => Promise<{ outcome: string }>, outcome: string, cost: Cost][] = [
    ['info by URN', () => info({ urn }), '200 SUCCESS', [1, 0, 0, 2]],
    ['info by URN again', () => info({ urn }), '200 SUCCESS', [1, 0, 0, 2]],
    ['info by URN a third time', () => info({ urn }), '200 SUCCESS', [0, 0, 0, 0]],
    ['the same by ExternalId', () => info({ exId: 'crm-1' }), '200 SUCCESS', [0, 0, 0, 0]],
    ['info by ExternalId', () => info({ exId: 'crm-2' }), '200 SUCCESS', [1, 0, 0, 3]],
    ['find by e-mail', () => post('find', { email: identity(2).email }), '200 SUCCESS', [1, 0, 0, 3]],
    ['find by phone number', () => post('find', { phoneNumber: identity(3).phoneNumber }), '200 SUCCESS', [1, 0, 0, 3]],
    ['find nobody', () => post('find', { email: 'nobody@example.com' }), '404 CUSTOMER_NOT_FOUND', [1, 0, 0, 1]],
    ['validate, free', () => post('validate', { externalId: 'free' }), '200 SUCCESS', [1, 0, 0, 1]],
    ['validate, taken', () => post('validate', { externalId: 'crm-3' }), '200 SUCCESS', [1, 0, 0, 1]],
    ['store', () => store('new-1'), '200 SUCCESS', [3, 2, 1, 3]],
    ['store with e-mail and phone', () => store('new-2', identity(4)), '200 SUCCESS', [3, 2, 1, 5]],
    ['store with an Idempotency-Key', () => store('new-3', {}, keyed), '200 SUCCESS', [6, 3, 1, 5]],
    ['its replay', () => store('new-3', {}, keyed), '200 SUCCESS', [2, 0, 1, 4]],
    ['store of a stored customer', () => store('crm-1'), '409 CUSTOMER_ALREADY_STORED', [2, 0, 1, 3]],
    ['update of what was just read', update({ firstName: 'Joan' }), '200 SUCCESS', [4, 2, 1, 4]],
    ['update of the e-mail', update({ email: 'new@example.com' }), '200 SUCCESS', [5, 2, 1, 7]],
    ['update that changes nothing', update({ firstName: 'Joan' }), '200 SUCCESS', [1, 0, 1, 2]],
    ['delete', () => post('delete', { customerUrn: gone }), '200 SUCCESS', [14, 5, 2, 10]],
    ['delete again', () => post('delete', { customerUrn: gone }), '200 SUCCESS', [1, 0, 1, 2]],
    ['info of an erased customer', () => info({ urn: gone }), '200 SUCCESS', [1, 0, 0, 2]],
  ];
  await info({ urn: other });
  customers.cache.clear();
  for (const [name, request, outcome, cost] of expected) {
    Object.assign(counted, { statements: 0, rows: 0, transactions: 0, crypto: 0 });
    t.equal((await request()).outcome, outcome, `${name}: outcome`);
    t.same(Object.values(counted), cost, `${name}: cost`);
  }
});
