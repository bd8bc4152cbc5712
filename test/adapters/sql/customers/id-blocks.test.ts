import t, { type Test } from 'tap';
import type { Routine } from '../../../../src/adapters/sql/driver/query.ts';
import { sqliteFiles } from '../../../../src/adapters/sql/driver/sqlite.ts';
import type { SqlDatabase } from '../../../../src/adapters/sql/schema/database.ts';
import { DatabaseFailure } from '../../../../src/application/ports/database-failure.ts';
import {
  atOnce,
  byUrn,
  connectSqlite,
  newFolder,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../../../support/storage.ts';

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

t.test('a tenant that stores one customer takes one id', async (t) => {
  const { path, repository } = await opened(t);
  for (const tenant of ['acme', 'globex']) await tenantOf(repository, tenantId(tenant)).mustStore('crm-1');
  t.strictSame(keysOf(path), [
    { tenant: 'acme', keys: 1 },
    { tenant: 'globex', keys: 1 },
  ]);
});

t.test('a refused store returns its id to the block', async (t) => {
  const { path, acme } = await opened(t);
  await atOnce(20, (index) => acme.mustStore(`crm-${index}`));
  const numberOf = async (externalId: string) =>
    Number((await acme.mustStore(externalId)).customer.customerUrn.split('.').at(-1));
  const before = await numberOf('crm-20');
  const keys = keysInAll(path);
  for (let time = 0; time < 100; time += 1) t.equal((await acme.store('crm-1')).code, 'CUSTOMER_ALREADY_STORED');
  t.equal(await numberOf('crm-21'), before + 1);
  t.equal(keysInAll(path), keys);
});

t.test('a number that has a key or a record is skipped', async (t) => {
  const { path, acme, repository } = await opened(t);
  withRawSqlite(sqliteFiles(path).keys, (raw) =>
    raw.prepare("INSERT INTO data_keys (tenant, number, wrapped) VALUES ('acme', 1, x'00')").run(),
  );
  const urn = (await acme.mustStore('crm-1')).customer.customerUrn;
  t.equal(urn, 'cu.00.2');

  // As if an older backup of the keys had been copied into place.
  await acme.erase(byUrn(urn));
  withRawSqlite(sqliteFiles(path).keys, (raw) => raw.exec("UPDATE sequences SET last = 0 WHERE name = 'customer'"));
  const { repository: other } = await connectSqlite(t, path);
  const stored = await atOnce(20, (index) => tenantOf(other, tenantId('acme')).mustStore(`crm-${index}`));
  t.notOk(stored.some(({ customer }) => customer.customerUrn === urn));
  const { findings } = await repository.findResidue(tenantId('acme'), urn);
  t.same(
    findings.filter(({ found }) => found > 0),
    [],
    'the erased customer has no key',
  );
});

t.test('the key of a store that failed is destroyed', async (t) => {
  const { path, database, over } = await opened(t);
  const keysBefore = keysInAll(path);
  let failing = true;
  const refusing: SqlDatabase = {
    ...database,
    writeWithoutTransaction: (routine) => {
      if (failing) return Promise.reject(new DatabaseFailure(new Error('disk full')));
      return database.writeWithoutTransaction(routine);
    },
  };
  const acme = tenantOf(over(refusing).repository, tenantId('acme'));
  for (let time = 0; time < 1_500; time += 1) await t.rejects(acme.mustStore(`crm-${time}`), DatabaseFailure);
  failing = false;
  await acme.mustStore('crm-1');
  t.ok(keysInAll(path) - keysBefore <= 1_024, 'only the keys of ready ids');
});

t.test('a key that could not be destroyed is destroyed with the next block', async (t) => {
  const { path, database, over } = await opened(t);
  let isDown = false;
  const down = () => Promise.reject(new DatabaseFailure(new Error('down')));
  const losing: SqlDatabase = {
    ...database,
    write: (routine) => (isDown ? down() : database.write(routine)),
    writeWithoutTransaction: (routine) => (isDown ? down() : database.writeWithoutTransaction(routine)),
  };
  const acme = tenantOf(over(losing).repository, tenantId('acme'));
  await acme.mustStore('crm-0');
  await acme.mustStore('crm-1');
  const numbers = () =>
    withRawSqlite(sqliteFiles(path).keys, (raw) => raw.prepare('SELECT number FROM data_keys').pluck().all());
  t.same(numbers(), [1, 2, 3]);
  isDown = true;
  await t.rejects(acme.mustStore('crm-2'), DatabaseFailure);
  isDown = false;
  t.same(numbers(), [1, 2, 3]);
  t.equal((await acme.mustStore('crm-2')).customer.customerUrn, 'cu.00.4');
  t.notOk(numbers().includes(3), 'the key of the store that failed');
});

t.test('keys of a tenant for which the database fails do not keep other tenants from storing', async (t) => {
  const { path, database, over } = await opened(t);
  let isAway = false;
  /** Fails at the first query that names acme, as long as its node is away. */
  function* failing<Result>(routine: Routine<Result>): Routine<Result> {
    let next = routine.next();
    while (!next.done) {
      if (isAway && next.value.values.includes('acme')) throw new DatabaseFailure(new Error('the node is away'));
      next = routine.next(yield next.value);
    }
    return next.value;
  }
  const { repository } = over({
    ...database,
    write: (routine) => database.write(() => failing(routine())),
    writeWithoutTransaction: (routine) => database.writeWithoutTransaction(() => failing(routine())),
  });
  const [acme, globex] = ['acme', 'globex'].map((name) => tenantOf(repository, tenantId(name)));
  for (const name of ['crm-0', 'crm-1']) await acme?.mustStore(name);
  const ofAcme = () =>
    withRawSqlite(sqliteFiles(path).keys, (raw) =>
      raw.prepare("SELECT number FROM data_keys WHERE tenant = 'acme'").pluck().all(),
    );
  t.same(ofAcme(), [1, 2, 3]);
  isAway = true;
  await t.rejects(acme?.mustStore('crm-2') as Promise<unknown>, DatabaseFailure);
  for (let number = 0; number < 20; number += 1) await globex?.mustStore(`crm-${number}`);
  t.same(ofAcme(), [1, 2, 3]);
  isAway = false;
  for (let number = 20; number < 200; number += 1) await globex?.mustStore(`crm-${number}`);
  t.same(ofAcme(), [1, 2], 'the key of the store that failed is destroyed when the next block is taken');
});

t.test('refused stores of more tenants than there are blocks leave no keys behind', async (t) => {
  const { path, repository } = await opened(t);
  const sides = Array.from({ length: 510 }, (_, index) => tenantOf(repository, tenantId(`tenant-${index}`)));
  for (let round = 0; round < 3; round += 1) await Promise.all(sides.map((side) => side.store('crm-1')));
  const before = keysInAll(path);
  for (let round = 0; round < 3; round += 1) await Promise.all(sides.map((side) => side.store('crm-1')));
  t.ok(keysInAll(path) <= before + sides.length, `${before} keys before, ${keysInAll(path)} after`);
});

t.test('every customer has its own key, with many tenants and two processes storing at once', async (t) => {
  const { path, repository } = await opened(t);
  const { repository: other } = await connectSqlite(t, path);
  const tenants = Array.from({ length: 600 }, (_, index) => tenantId(`tenant-${index}`));
  const sides = [repository, other].flatMap((one) => tenants.map((tenant) => tenantOf(one, tenant)));
  // More tenants than blocks, each more than once.
  const stored = (
    await atOnce(2, (round) => Promise.all(sides.map((side, index) => side.mustStore(`crm-${round}-${index}`))))
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
