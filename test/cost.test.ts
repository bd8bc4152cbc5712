/**
 * What each request costs, counted and not timed: statements sent, rows written, transactions, and cryptographic
 * operations. A change that adds one fails here; one that spares one has this table corrected, with its reason in
 * docs/performance.md.
 */
import sodium from 'sodium-native';
import t, { type Test } from 'tap';
import { createSqlCustomers } from '../src/adapters/sql/customers/repository.ts';
import type { SqlDatabase } from '../src/adapters/sql/driver/database.ts';
import type { Routine } from '../src/adapters/sql/driver/query.ts';
import { startService, storing } from './support/service.ts';
import { connectSqlite, newFolder, referenceData } from './support/storage.ts';

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

/** A database that counts what is asked of it. */
function counting(database: SqlDatabase): SqlDatabase {
  const counted_ =
    <Result>(program: () => Routine<Result>) =>
    () =>
      count(program());
  function* count<Result>(program: Routine<Result>): Routine<Result> {
    let step = program.next();
    while (!step.done) {
      counted.statements += 1;
      const rows = yield step.value;
      if (step.value.statement.gives === 'count') counted.rows += Number(rows[0]?.count ?? 0);
      step = program.next(rows);
    }
    return step.value;
  }
  const inTransaction = (way: 'write' | 'writeWithoutTransaction') => {
    const run = database[way];
    return <Result>(program: () => Routine<Result>): Promise<Result> => {
      counted.transactions += 1;
      return run(counted_(program));
    };
  };
  return {
    ...database,
    read: (program) => database.read(counted_(program)),
    readShort: (program) => database.readShort(counted_(program)),
    write: inTransaction('write'),
    writeWithoutTransaction: inTransaction('writeWithoutTransaction'),
  };
}

async function started(t: Test) {
  const { database, vault } = await connectSqlite(t, newFolder(t));
  const repository = createSqlCustomers({ database: counting(database), vault, referenceData, partition: '00' });
  const { tenant } = await startService(t, { repository });
  const acme = await tenant('acme');
  const store = (externalIdentifier: string, more: object = {}, headers = {}) =>
    acme.post('store', storing({ externalIdentifier, ...more }), headers);
  // Until much is reserved at once, a store may have to reserve more.
  for (let number = 0; number < 300; number += 1) await store(`warm-up-${number}`);
  return { ...acme, store, repository };
}

const identity = (number: number) => ({ email: `jane.${number}@example.com`, phoneNumber: `+49170123456${number}` });

t.test('requests', async (t) => {
  const { store, post, info, repository } = await started(t);
  const stored = async (number: number) =>
    (await store(`crm-${number}`, identity(number))).result.customerUrn as string;
  const urn = await stored(1);
  const [other, gone] = [await stored(2), await stored(3)];
  const keyed = { 'idempotency-key': 'once' };
  const asNobodyAsked = async () => {
    for (let time = 0; time < 2; time += 1) await repository.deleteExpired(0);
  };
  const update = (customer: object) => () => post('update', { customer: { customerUrn: urn, ...customer } });

  const expected: [name: string, request: () => Promise<{ status: number }>, cost: Cost][] = [
    ['info by URN', () => info({ urn }), [1, 0, 0, 2]],
    ['info by URN again', () => info({ urn }), [1, 0, 0, 2]],
    ['info by URN a third time', () => info({ urn }), [0, 0, 0, 0]],
    ['the same by ExternalId', () => info({ exId: 'crm-1' }), [0, 0, 0, 0]],
    ['info by ExternalId', () => info({ exId: 'crm-2' }), [1, 0, 0, 3]],
    ['validate, free', () => post('validate', { externalId: 'free' }), [1, 0, 0, 1]],
    ['validate, taken', () => post('validate', { externalId: 'crm-3' }), [1, 0, 0, 1]],
    ['store', () => store('new-1'), [1, 1, 1, 3]],
    ['store with e-mail and phone', () => store('new-2', identity(4)), [1, 1, 1, 5]],
    ['store with an Idempotency-Key', () => store('new-3', {}, keyed), [3, 3, 1, 5]],
    ['its repeat', () => store('new-3', {}, keyed), [3, 0, 1, 4]],
    ['store, refused', () => store('crm-1'), [2, 0, 1, 3]],
    ['update of what was just read', update({ firstName: 'Joan' }), [2, 1, 1, 2]],
    ['update of the e-mail', update({ email: 'new@example.com' }), [3, 1, 1, 7]],
    ['update that changes nothing', update({ firstName: 'Joan' }), [1, 0, 1, 2]],
    ['delete', () => post('delete', { customerUrn: gone }), [12, 5, 2, 8]],
    ['delete again', () => post('delete', { customerUrn: gone }), [3, 0, 2, 3]],
    ['info of an erased customer', () => info({ urn: gone }), [1, 0, 0, 1]],
  ];
  await info({ urn: other });
  await asNobodyAsked();
  for (const [name, request, cost] of expected) {
    Object.assign(counted, { statements: 0, rows: 0, transactions: 0, crypto: 0 });
    const { status } = await request();
    t.ok(status < 500, name);
    t.same(Object.values(counted), cost, name);
  }
});
