/** SQLite with several processes, kill -9, locks, a full disk, and files that must be refused. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { runOnce } from '../../src/adapters/sql/driver/query.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { migrations } from '../../src/adapters/sql/schema/migrations.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { startSqliteProcess } from '../support/sqlite-process.ts';
import {
  atOnce,
  byExternalId,
  connectSqlite,
  newFolder,
  overwrite,
  tally,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

async function open(t: Test, path = newFolder(t)) {
  const { database, repository, close } = await connectSqlite(t, path);
  return { path, database, close, acme: tenantOf(repository) };
}

const isSound = (path: string) =>
  Object.values(sqliteFiles(path)).every(
    (file) => withRawSqlite(file, (database) => database.pragma('integrity_check', { simple: true })) === 'ok',
  );

t.test('two processes that write at the same time keep unique values and lose no write', async (t) => {
  const { path, acme, close } = await open(t);
  const count = 200;
  const processes = await atOnce(2, () => startSqliteProcess(t, 'add', path, count));
  for (const { tell } of processes) tell();
  const said = (await Promise.all(processes.map(({ done }) => done()))).flat().map((line) => line.split(' '));

  const stored = said.filter(([, outcome]) => outcome?.startsWith('cu.'));
  t.equal(stored.length, count);
  t.equal(new Set(stored.map(([externalId]) => externalId)).size, count, 'every ExternalId once');
  t.equal(new Set(stored.map(([, urn]) => urn)).size, count, 'every URN once');
  t.equal(said.filter(([, outcome]) => outcome === 'CUSTOMER_ALREADY_STORED').length, count);
  for (const [externalId, urn] of stored) {
    const found = await acme.find(byExternalId(externalId as string));
    if (found?.customer.customerUrn !== urn) t.fail(`${externalId} is lost`);
  }
  await close();
  t.ok(isSound(path));
});

t.test('acknowledged writes survive kill -9 at any moment', async (t) => {
  const path = newFolder(t);
  const acknowledged = new Map<string, string>();
  for (let round = 0; round < 6; round += 1) {
    const writer = await startSqliteProcess(t, 'addForever', path, `r${round}`);
    writer.tell();
    await writer.said(1);
    await delay(Math.random() * 120);
    await writer.kill();
    for (const line of writer.lines) acknowledged.set(...(line.split(' ') as [string, string]));

    t.ok(isSound(path), `the file is sound after ${writer.lines.length} writes`);
    const { acme, close } = await open(t, path);
    const lost = [];
    for (const [externalId, urn] of acknowledged) {
      if ((await acme.find(byExternalId(externalId)))?.customer.customerUrn !== urn) lost.push(externalId);
    }
    t.strictSame(lost, []);
    await close();
  }
  t.equal(new Set(acknowledged.values()).size, acknowledged.size, 'no CustomerUrn was assigned twice');
});

t.test('a process that is killed while it writes does not stop other processes', async (t) => {
  const { path, acme } = await open(t);
  const writer = await startSqliteProcess(t, 'addForever', path, 'killed');
  writer.tell();
  await writer.said(1);
  const writing = atOnce(20, (index) => acme.store(`crm-${index}`));
  await writer.kill();
  t.strictSame(tally(await writing), { SUCCESS: 20 });
  for (const line of writer.lines) t.ok(await acme.find(byExternalId(line.split(' ')[0] as string)));
});

t.test('many processes can open a new file at the same time', async (t) => {
  const paths = Array.from({ length: 12 }, (_, index) => `${newFolder(t)}-${index}`);
  const processes = await atOnce(6, () => startSqliteProcess(t, 'open', paths[0] as string));
  for (const [round, path] of paths.entries()) {
    for (const { tell } of processes) tell(path);
    await Promise.all(processes.map(({ said }) => said(round + 1)));
    t.ok(isSound(path));
    const { acme } = await open(t, path);
    t.equal((await acme.store('crm-1')).code, 'SUCCESS');
  }
  for (const { done } of processes) await done();
});

t.test('a short lock of another process delays writes, and none fails', async (t) => {
  const { path, acme } = await open(t);
  const holder = await startSqliteProcess(t, 'lock', path);
  holder.tell();
  await holder.said(1);
  let written = 0;
  const writing = atOnce(20, async (index) => {
    const answer = await acme.store(`crm-${index}`);
    written += 1;
    return answer;
  });
  await delay(300);
  t.equal(written, 0);
  t.equal(await acme.find(byExternalId('crm-1')), undefined, 'reads do not wait');
  holder.tell();
  t.strictSame(tally(await writing), { SUCCESS: 20 });
});

t.test('a lock that is held too long is a DatabaseFailure, and later writes succeed', async (t) => {
  const { path, acme } = await open(t);
  const { by, stored } = await acme.mustStore('crm-0');
  const holder = await startSqliteProcess(t, 'lock', path);
  holder.tell();
  await holder.said(1);
  const failed = await Promise.allSettled([acme.store('crm-1'), acme.update(by, overwrite({ firstName: 'Jane' }))]);
  for (const result of failed) t.ok(result.status === 'rejected' && result.reason instanceof DatabaseFailure);
  holder.tell();
  await holder.done();
  t.strictSame(await acme.find(by), stored, 'nothing of the failed write was stored');
  t.equal((await acme.store('crm-1')).code, 'SUCCESS');
});

t.test('a full disk is a DatabaseFailure and loses nothing, and writes succeed once there is space', async (t) => {
  const { path, database, acme, close } = await open(t);
  const { by, stored } = await acme.mustStore('crm-0');
  const limit = (pages: number) => database.write(() => runOnce({ sql: `PRAGMA data.max_page_count = ${pages}` }));
  const big = { lastName: 'x'.repeat(100), primaryBillingAddress: { street: 'y'.repeat(8_000), countryCode: 'DE' } };

  await limit(1);
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, index) => acme.store(`crm-${index + 1}`, big)),
  );
  const failures = results.filter((result) => result.status === 'rejected');
  t.ok(failures.length > 0);
  t.ok(failures.every(({ reason }) => reason instanceof DatabaseFailure));
  for (const [index, { status }] of results.entries()) {
    t.equal((await acme.find(byExternalId(`crm-${index + 1}`))) !== undefined, status === 'fulfilled');
  }
  t.strictSame(await acme.find(by), stored);

  await limit(1_000_000);
  t.strictSame(tally(await atOnce(30, (index) => acme.store(`new-${index}`, big))), { SUCCESS: 30 });
  await close();
  t.ok(isSound(path));
});

t.test('checkpoints are rarer while transactions are large', async (t) => {
  const { database, acme } = await open(t);
  const pages = () => database.write(() => runOnce({ sql: 'PRAGMA wal_autocheckpoint' }));
  t.match(await pages(), [{ wal_autocheckpoint: 1_000 }]);
  // Not the first ones: they are split, because they take the ids of the new customers.
  for (let round = 0; round < 5; round += 1) await atOnce(230, (index) => acme.store(`crm-${round}-${index}`));
  t.match(await pages(), [{ wal_autocheckpoint: 16_000 }]);
  t.match(await pages(), [{ wal_autocheckpoint: 1_000 }], 'after a small one');
});

t.test('a file with a newer schema version is refused and not changed', async (t) => {
  const { path, acme, close } = await open(t);
  const { by, stored } = await acme.mustStore('crm-1');
  await close();
  const known = migrations.data.length;
  const setVersion = (version: number) =>
    withRawSqlite(sqliteFiles(path).data, (raw) =>
      raw.exec(`UPDATE data_version SET version = ${version}, oldest = ${version}`),
    );
  setVersion(known + 1);
  const before = readFileSync(sqliteFiles(path).data);
  await t.rejects(connectSqlite(t, path), { message: new RegExp(`version ${known + 1}.* knows ${known}`) });
  t.ok(readFileSync(sqliteFiles(path).data).equals(before));
  setVersion(known);
  t.strictSame(await (await open(t, path)).acme.find(by), stored);
});

t.test('a file that is not a database is refused and not changed', async (t) => {
  for (const [index, text] of ['hello', 'This is a letter to a friend. '.repeat(400)].entries()) {
    const path = `${newFolder(t)}-${index}`;
    mkdirSync(path);
    for (const file of Object.values(sqliteFiles(path))) writeFileSync(file, text);
    await t.rejects(connectSqlite(t, path), { message: /not a database/ });
    for (const file of Object.values(sqliteFiles(path))) t.equal(readFileSync(file, 'utf8'), text);
  }
});

t.test('only their owner can read the files', async (t) => {
  const { path, acme } = await open(t);
  await acme.mustStore('crm-1');
  t.strictSame(readdirSync(path).sort(), [
    'customers.db',
    'customers.db-shm',
    'customers.db-wal',
    'keys.db',
    'keys.db-shm',
    'keys.db-wal',
    'master.key',
  ]);
  for (const file of readdirSync(path)) t.equal(statSync(join(path, file)).mode & 0o777, 0o600, file);
});

/** Stores, changes and erases customers. @returns the personal data that is left in the files */
async function tracesOf(t: Test, customers: number): Promise<string[]> {
  const { path, acme, close } = await open(t);
  await atOnce(customers, async (index) => {
    const { by } = await acme.mustStore(`PERSONAL-${index}`, {
      email: `personal-${index}@example.com`,
      phoneNumber: `+49170${7_000_000 + index}`,
      firstName: `PERSONAL${'x'.repeat(index % 100)}`,
      primaryBillingAddress: { street: `PERSONAL${'y'.repeat((index * 7) % 100)}`, countryCode: 'DE' },
    });
    await acme.update(
      by,
      overwrite({ firstName: 'PERSONAL', lastName: 'PERSONAL', email: `new-personal-${index}@example.com` }),
    );
    await acme.erase(by);
  });
  await close();
  return readdirSync(path).flatMap(
    (file) => readFileSync(join(path, file), 'latin1').match(/personal|\+491707/gi) ?? [],
  );
}

t.test('after an erasure and a checkpoint no personal data is left in the files', async (t) => {
  t.strictSame(await tracesOf(t, 3), []);
});

t.test('no personal data is left of many customers, whose rows SQLite has moved between pages', async (t) => {
  t.strictSame(await tracesOf(t, 500), []);
});
