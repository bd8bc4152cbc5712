/** The contracts of the ports over SQLite. */
import t, { type Test } from 'tap';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import type { CustomerUrn } from '../../src/domain/identity.ts';
import { everyContract } from '../support/contracts.ts';
import {
  atOnce,
  byUrn,
  connectSqlite,
  idempotencyKey,
  newFolder,
  noon,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

/** Returns a function that opens the same new data folder at each call. */
const storage = (t: Test) => {
  const path = newFolder(t);
  return () => connectSqlite(t, path);
};
const open = (t: Test) => storage(t)();

everyContract(t, storage);

t.test('a CustomerUrn of another partition with the same number is not found', async (t) => {
  const { database, over } = await open(t);
  const acme = tenantOf(over(database, '01').repository);
  const { customer } = await acme.mustStore('crm-1');
  t.equal(customer.customerUrn, 'cu.01.1');
  t.equal(await acme.find(byUrn('cu.00.10000000000001')), undefined);
});

t.test('customers of several partitions are listed by partition', async (t) => {
  const { database, over } = await open(t);
  const store = async (partition: string, name: string) =>
    (await tenantOf(over(database, partition).repository).mustStore(name)).customer.customerUrn;
  const [second, first] = [await store('01', 'crm-1'), await store('00', 'crm-2')];
  const acme = tenantOf(over(database).repository);
  const after = async (urn?: string) =>
    (await acme.list(urn as CustomerUrn | undefined)).map(({ customer }) => customer.customerUrn);
  t.same(await after(), [first, second]);
  t.same(await after(first), [second]);
  t.same(await after(`cu.00.${'9'.repeat(100)}`), [second]);
  t.same(await after(second), []);
});

t.test('an exhausted partition assigns no CustomerUrn of the next one', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  withRawSqlite(sqliteFiles(path).keys, (raw) =>
    raw.exec(`UPDATE sequences SET last = ${10 ** 13 - 2} WHERE name = 'customer'`),
  );
  const acme = tenantOf(repository);
  t.equal((await acme.mustStore('crm-1')).customer.customerUrn, `cu.00.${10 ** 13 - 1}`);
  await t.rejects(acme.store('crm-2'), { cause: { message: /no URNs left/ } });
});

t.test('expired idempotency records are deleted from the file', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  const acme = tenantOf(repository);
  const count = () =>
    withRawSqlite(sqliteFiles(path).data, (raw) =>
      raw.prepare('SELECT count(*) FROM idempotency_records').pluck().get(),
    );
  await atOnce(1_200, (index) => acme.store(`crm-${index}`, {}, { key: idempotencyKey(`k${index}`, 'one', noon + 1) }));
  t.equal(count(), 1_200);
  await repository.deleteExpired(tenantId('acme'), noon + 1);
  t.equal(count(), 0);
});

t.test('a webhook without events after its cursor is not due', async (t) => {
  const { webhooks, repository } = await open(t);
  const webhook = {
    id: 'wh_1',
    url: 'https://example.com',
    createdAt: noon,
    sealedSecrets: new Uint8Array(1),
    revision: 1,
  };
  await webhooks.add({ ...webhook, tenant: tenantId('acme'), cursor: { position: 0 } });
  await tenantOf(repository, tenantId('globex')).mustStore('crm-1');
  t.same(await webhooks.listDue(noon), []);
  await tenantOf(repository).mustStore('crm-1');
  t.equal((await webhooks.listDue(noon)).length, 1);
});
