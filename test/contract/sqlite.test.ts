/** The contracts over SQLite. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createSqlCustomers } from '../../src/adapters/sql/customers/repository.ts';
import { runOnce } from '../../src/adapters/sql/driver/query.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { everyContract } from '../support/contracts.ts';
import {
  atOnce,
  byExternalId,
  byUrn,
  connectSqlite,
  newFolder,
  noon,
  referenceData,
  requestKey,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

/** Makes a path and gives what opens it, as often as wanted. */
const storage = (t: Test) => {
  const path = newFolder(t);
  return () => connectSqlite(t, path);
};
const open = (t: Test) => storage(t)();

everyContract(t, storage);

t.test('a URN is not taken for one of another partition that has the same number', async (t) => {
  const { database, vault } = await open(t);
  const acme = tenantOf(createSqlCustomers({ database, vault, referenceData, partition: '01' }));
  const { customer } = await acme.has('crm-1');
  t.equal(customer.customerUrn, 'cu.01.1');
  t.equal(await acme.find(byUrn('cu.00.10000000000001')), undefined);
});

t.test('a partition that is used up hands out no URN of the next', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  withRawSqlite(sqliteFiles(path).keys, (raw) =>
    raw.exec(`UPDATE sequences SET last = ${10 ** 13 - 2} WHERE name = 'customer'`),
  );
  const acme = tenantOf(repository);
  t.equal((await acme.has('crm-1')).customer.customerUrn, `cu.00.${10 ** 13 - 1}`);
  await t.rejects(acme.add('crm-2'), { cause: { message: /no URNs left/ } });
});

t.test('what was read together does not hide what another connection commits afterwards', async (t) => {
  const path = newFolder(t);
  const { database } = await connectSqlite(t, path);
  const read = async () => {
    const [row] = await database.readShort(() =>
      runOnce({ sql: "SELECT last FROM sequences WHERE name = 'customer'" }),
    );
    return row?.last;
  };
  const commit = () => withRawSqlite(sqliteFiles(path).keys, (raw) => raw.exec('UPDATE sequences SET last = last + 1'));
  for (let turn = 0; turn < 3; turn += 1) {
    const [before, after] = await new Promise<Promise<unknown>[]>((resolve) => {
      setImmediate(() => {
        // In line before whatever the read puts there.
        setImmediate(() => resolve([first, read()]));
        const first = read();
        process.nextTick(commit);
      });
    }).then((reads) => Promise.all(reads));
    t.equal(after, Number(before) + 1);
  }
});

t.test('requests that keep coming hold up no write', async (t) => {
  const acme = tenantOf((await open(t)).repository);
  const { customer } = await acme.has('crm-0');
  for (let turn = 1; turn <= 5; turn += 1) {
    const written = { is: false };
    const adding = acme.add(`crm-${turn}`).then(() => {
      written.is = true;
    });
    // Something is read in every turn of the event loop. Where writes waited for a quiet one, this would never end.
    while (!written.is) {
      await acme.find(byUrn(customer.customerUrn));
      await nextTurn();
    }
    await adding;
  }
  t.ok(await acme.find(byExternalId('crm-5')));
});

t.test('what was kept for expired keys leaves the file', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  const acme = tenantOf(repository);
  const kept = () =>
    withRawSqlite(sqliteFiles(path).data, (raw) => raw.prepare('SELECT count(*) FROM kept_answers').pluck().get());
  await atOnce(1_200, (index) => acme.add(`crm-${index}`, {}, { key: requestKey(`k${index}`, 'one', noon + 1) }));
  t.equal(kept(), 1_200);
  await repository.deleteExpired(noon + 1);
  t.equal(kept(), 0);
});
