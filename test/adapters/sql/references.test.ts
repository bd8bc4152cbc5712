/** References and a merge that only the erasure log remembers. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { sqliteFiles } from '../../../src/adapters/sql/driver/sqlite.ts';
import { connectSqlite, newFolder, noon, tenantId, tenantOf } from '../../support/storage.ts';

const acme = tenantId('acme');

t.test('a recovery repeats a merge that a restored backup had undone, and moves the references', async (t) => {
  const path = newFolder(t);
  const { data } = sqliteFiles(path);
  const backup = join(t.testdir({}), 'before');
  const before = await connectSqlite(t, path);
  const customers = tenantOf(before.repository);
  const urnOf = async (name: string) => (await customers.mustStore(name)).customer.customerUrn;
  const [one, two, three] = [await urnOf('one'), await urnOf('two'), await urnOf('three')];
  for (const [index, customerUrn] of [one, two, three].entries()) {
    const bound = { customerUrn, kind: 'subscription', reference: `sub.${index}`, state: 'active' } as const;
    await before.references.bind(acme, bound, noon);
  }
  await before.close();
  copyFileSync(data, backup);

  const merged = await connectSqlite(t, path);
  const later = tenantOf(merged.repository);
  await later.merge({ urn: one }, { urn: two });
  await later.merge({ urn: two }, { urn: three });
  await later.erase({ urn: three });
  await merged.close();
  copyFileSync(backup, data);

  const { repository, references } = await connectSqlite(t, path);
  t.equal((await repository.recoverErasures(acme)).erasedAgain, 3);
  for (const urn of [one, two, three]) {
    const listed = (await references.list(acme, urn)) ?? [];
    t.strictSame(
      listed.map(({ customerUrn, reference }) => [customerUrn, reference]),
      ['sub.0', 'sub.1', 'sub.2'].map((reference) => [three, reference]),
    );
    t.match(await references.find(acme, { urn }), { subscriptions: { total: 3, active: 3, canceled: 0 } });
  }
});
