import t, { type Test } from 'tap';
import { createSqlCustomers } from '../../src/adapters/sql/customers/repository.ts';
import type { SqlDatabase } from '../../src/adapters/sql/driver/database.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import {
  atOnce,
  byUrn,
  connectSqlite,
  newFolder,
  referenceData,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

const keysOf = (path: string): { tenant: string; keys: number }[] =>
  withRawSqlite(sqliteFiles(path).keys, (raw) =>
    raw
      .prepare<[], { tenant: string; keys: number }>('SELECT tenant, count(*) AS keys FROM data_keys GROUP BY tenant')
      .all(),
  );
const keysInAll = (path: string) => keysOf(path).reduce((sum, { keys }) => sum + keys, 0);

async function opened(t: Test) {
  const path = newFolder(t);
  const connected = await connectSqlite(t, path);
  return { ...connected, path, acme: tenantOf(connected.repository, tenantId('acme')) };
}

t.test('who stores little reserves little, for each tenant by itself', async (t) => {
  const { path, repository } = await opened(t);
  for (const tenant of ['acme', 'globex']) await tenantOf(repository, tenantId(tenant)).has('crm-1');
  t.strictSame(keysOf(path), [
    { tenant: 'acme', keys: 1 },
    { tenant: 'globex', keys: 1 },
  ]);
});

t.test('a store that is refused leaves its number and its key to the next', async (t) => {
  const { path, acme } = await opened(t);
  await atOnce(20, (index) => acme.has(`crm-${index}`));
  const numberOf = async (externalId: string) =>
    Number((await acme.has(externalId)).customer.customerUrn.split('.').at(-1));
  const before = await numberOf('crm-20');
  const keys = keysInAll(path);
  for (let time = 0; time < 100; time += 1) t.equal((await acme.add('crm-1')).code, 'CUSTOMER_ALREADY_STORED');
  t.equal(await numberOf('crm-21'), before + 1);
  t.equal(keysInAll(path), keys);
});

t.test('a number that has a key or a record already is passed over, whoever made it', async (t) => {
  const { path, acme, repository } = await opened(t);
  withRawSqlite(sqliteFiles(path).keys, (raw) =>
    raw.prepare("INSERT INTO data_keys (tenant, number, wrapped, created_at) VALUES ('acme', 1, x'00', 0)").run(),
  );
  const urn = (await acme.has('crm-1')).customer.customerUrn;
  t.equal(urn, 'cu.00.2');

  // As if the keys had been put in place from an older copy, by hand.
  await acme.forget(byUrn(urn));
  withRawSqlite(sqliteFiles(path).keys, (raw) => raw.exec("UPDATE sequences SET last = 0 WHERE name = 'customer'"));
  const { repository: other } = await connectSqlite(t, path);
  const stored = await atOnce(20, (index) => tenantOf(other, tenantId('acme')).has(`crm-${index}`));
  t.notOk(stored.some(({ customer }) => customer.customerUrn === urn));
  const { findings } = await repository.findResidue(tenantId('acme'), urn);
  t.same(
    findings.filter(({ found }) => found > 0),
    [],
    'and an erased one gets no key',
  );
});

t.test('no key outlives a store that failed, however often and whatever the failure', async (t) => {
  const { path, database, vault } = await opened(t);
  const keysBefore = keysInAll(path);
  let failing = true;
  const refusing: SqlDatabase = {
    ...database,
    writeWithoutTransaction: (program) => {
      if (failing) return Promise.reject(new DatabaseFailure(new Error('disk full')));
      return database.writeWithoutTransaction(program);
    },
  };
  const acme = tenantOf(
    createSqlCustomers({ database: refusing, vault, referenceData, partition: '00' }),
    tenantId('acme'),
  );
  for (let time = 0; time < 200; time += 1) await t.rejects(acme.has(`crm-${time}`), DatabaseFailure);
  failing = false;
  await acme.has('crm-1');
  t.ok(keysInAll(path) - keysBefore <= 256, 'what is ready, and no more');
});

t.test('where keys cannot be destroyed at once, that is made up for', async (t) => {
  const { path, database, vault } = await opened(t);
  let isDown = false;
  const down = () => Promise.reject(new DatabaseFailure(new Error('down')));
  const losing: SqlDatabase = {
    ...database,
    write: (program) => (isDown ? down() : database.write(program)),
    writeWithoutTransaction: (program) => (isDown ? down() : database.writeWithoutTransaction(program)),
  };
  const acme = tenantOf(
    createSqlCustomers({ database: losing, vault, referenceData, partition: '00' }),
    tenantId('acme'),
  );
  await acme.has('crm-0');
  await acme.has('crm-1');
  const numbers = () =>
    withRawSqlite(sqliteFiles(path).keys, (raw) => raw.prepare('SELECT number FROM data_keys').pluck().all());
  t.same(numbers(), [1, 2, 3]);
  isDown = true;
  await t.rejects(acme.has('crm-2'), DatabaseFailure);
  isDown = false;
  t.same(numbers(), [1, 2, 3]);
  t.equal((await acme.has('crm-2')).customer.customerUrn, 'cu.00.4');
  t.notOk(numbers().includes(3), 'the key of the store that failed');
});

t.test('of more tenants than are remembered none leaves keys behind by stores that are refused', async (t) => {
  const { path, repository } = await opened(t);
  const sides = Array.from({ length: 510 }, (_, index) => tenantOf(repository, tenantId(`tenant-${index}`)));
  for (let round = 0; round < 3; round += 1) await Promise.all(sides.map((side) => side.add('crm-1')));
  const before = keysInAll(path);
  for (let round = 0; round < 3; round += 1) await Promise.all(sides.map((side) => side.add('crm-1')));
  t.ok(keysInAll(path) <= before + sides.length, `${before} keys before, ${keysInAll(path)} after`);
});

t.test('every customer has a key of its own, however many store at once, and over two processes', async (t) => {
  const { path, repository } = await opened(t);
  const { repository: other } = await connectSqlite(t, path);
  const tenants = Array.from({ length: 600 }, (_, index) => tenantId(`tenant-${index}`));
  const sides = [repository, other].flatMap((one) => tenants.map((tenant) => tenantOf(one, tenant)));
  // More tenants than are remembered, each more than once.
  const stored = (
    await atOnce(2, (round) => Promise.all(sides.map((side, index) => side.has(`crm-${round}-${index}`))))
  ).flat();
  t.equal(new Set(stored.map(({ customer }) => customer.customerUrn)).size, stored.length);
  const sealedApart = withRawSqlite(sqliteFiles(path).keys, (raw) => {
    raw.prepare('ATTACH ? AS data').run(sqliteFiles(path).data);
    return raw
      .prepare('SELECT count(DISTINCT wrapped) FROM data_keys JOIN data.customers USING (tenant, number)')
      .pluck()
      .get();
  });
  t.equal(sealedApart, stored.length);
});
