import t, { type Test } from 'tap';
import { sqliteFiles } from '../../src/adapters/sql/sqlite.ts';
import { atOnce, connectSqlite, newFolder, tenantId, tenantOf, withRawSqlite } from '../support/storage.ts';

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

t.test('a number that has a key already is passed over, whoever made it', async (t) => {
  const { path, acme } = await opened(t);
  withRawSqlite(sqliteFiles(path).keys, (raw) =>
    raw.prepare("INSERT INTO data_keys (tenant, number, wrapped, created_at) VALUES ('acme', 1, x'00', 0)").run(),
  );
  t.equal((await acme.has('crm-1')).customer.customerUrn, 'cu.00.2');
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
