/** What SQLite has to stand: other processes, sudden death, locks, full disks and files that are not ours. */
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

t.test('two processes that write at once keep uniqueness and lose nothing', async (t) => {
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

t.test('what was acknowledged survives kill -9 at any moment', async (t) => {
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
  t.equal(new Set(acknowledged.values()).size, acknowledged.size, 'no URN was handed out twice');
});

t.test('a process that is killed while it writes stops no other', async (t) => {
  const { path, acme } = await open(t);
  const writer = await startSqliteProcess(t, 'addForever', path, 'killed');
  writer.tell();
  await writer.said(1);
  const writing = atOnce(20, (index) => acme.add(`crm-${index}`));
  await writer.kill();
  t.strictSame(tally(await writing), { SUCCESS: 20 });
  for (const line of writer.lines) t.ok(await acme.find(byExternalId(line.split(' ')[0] as string)));
});

t.test('many processes may open a new file at the same time', async (t) => {
  const paths = Array.from({ length: 12 }, (_, index) => `${newFolder(t)}-${index}`);
  const processes = await atOnce(6, () => startSqliteProcess(t, 'open', paths[0] as string));
  for (const [round, path] of paths.entries()) {
    for (const { tell } of processes) tell(path);
    await Promise.all(processes.map(({ said }) => said(round + 1)));
    t.ok(isSound(path));
    const { acme } = await open(t, path);
    t.equal((await acme.add('crm-1')).code, 'SUCCESS');
  }
  for (const { done } of processes) await done();
});

t.test('a lock that another process holds for a moment delays writes and does not fail them', async (t) => {
  const { path, acme } = await open(t);
  const holder = await startSqliteProcess(t, 'lock', path);
  holder.tell();
  await holder.said(1);
  let written = 0;
  const writing = atOnce(20, async (index) => {
    const answer = await acme.add(`crm-${index}`);
    written += 1;
    return answer;
  });
  await delay(300);
  t.equal(written, 0);
  t.equal(await acme.find(byExternalId('crm-1')), undefined, 'reading does not wait');
  holder.tell();
  t.strictSame(tally(await writing), { SUCCESS: 20 });
});

t.test('a lock that is held too long is a DatabaseFailure, and what comes after it succeeds', async (t) => {
  const { path, acme } = await open(t);
  const { by, stored } = await acme.has('crm-0');
  const holder = await startSqliteProcess(t, 'lock', path);
  holder.tell();
  await holder.said(1);
  const failed = await Promise.allSettled([acme.add('crm-1'), acme.change(by, overwrite({ firstName: 'Jane' }))]);
  for (const result of failed) t.ok(result.status === 'rejected' && result.reason instanceof DatabaseFailure);
  holder.tell();
  await holder.done();
  t.strictSame(await acme.find(by), stored, 'nothing of it was stored');
  t.equal((await acme.add('crm-1')).code, 'SUCCESS');
});

t.test('a full disk is a DatabaseFailure, loses nothing, and is forgotten when there is room again', async (t) => {
  const { path, database, acme, close } = await open(t);
  const { by, stored } = await acme.has('crm-0');
  const limit = (pages: number) => database.write(() => runOnce({ sql: `PRAGMA data.max_page_count = ${pages}` }));
  const big = { lastName: 'x'.repeat(100), primaryBillingAddress: { street: 'y'.repeat(8_000), countryCode: 'DE' } };

  await limit(1);
  const results = await Promise.allSettled(Array.from({ length: 30 }, (_, index) => acme.add(`crm-${index + 1}`, big)));
  const failures = results.filter((result) => result.status === 'rejected');
  t.ok(failures.length > 0);
  t.ok(failures.every(({ reason }) => reason instanceof DatabaseFailure));
  for (const [index, { status }] of results.entries()) {
    t.equal((await acme.find(byExternalId(`crm-${index + 1}`))) !== undefined, status === 'fulfilled');
  }
  t.strictSame(await acme.find(by), stored);

  await limit(1_000_000);
  t.strictSame(tally(await atOnce(30, (index) => acme.add(`new-${index}`, big))), { SUCCESS: 30 });
  await close();
  t.ok(isSound(path));
});

t.test('a file of a newer version is refused, by both versions, and not touched', async (t) => {
  const { path, acme, close } = await open(t);
  const { by, stored } = await acme.has('crm-1');
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

t.test('what is no database is refused and not touched', async (t) => {
  for (const [index, text] of ['hello', 'This is a letter to a friend. '.repeat(400)].entries()) {
    const path = `${newFolder(t)}-${index}`;
    mkdirSync(path);
    for (const file of Object.values(sqliteFiles(path))) writeFileSync(file, text);
    await t.rejects(connectSqlite(t, path), { message: /not a database/ });
    for (const file of Object.values(sqliteFiles(path))) t.equal(readFileSync(file, 'utf8'), text);
  }
});

t.test('every commit is synced, and what is deleted is overwritten', async (t) => {
  const { database } = await open(t);
  for (const [pragma, expected] of [
    ['journal_mode', 'wal'],
    ['synchronous', 2],
    ['secure_delete', 1],
  ] as const) {
    const rows = await database.read(() => runOnce({ sql: `PRAGMA ${pragma}` }));
    t.strictSame(rows, [{ [pragma]: expected }]);
  }
});

t.test('the files are for their owner alone', async (t) => {
  const { path, acme } = await open(t);
  await acme.has('crm-1');
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

/** Adds customers that are personal in all their fields, changes them and deletes them: what is left once it is closed. */
async function tracesOf(t: Test, customers: number): Promise<string[]> {
  const { path, acme, close } = await open(t);
  await atOnce(customers, async (index) => {
    const { by } = await acme.has(`PERSONAL-${index}`, {
      email: `personal-${index}@example.com`,
      phoneNumber: `+49170${7_000_000 + index}`,
      firstName: `PERSONAL${'x'.repeat(index % 100)}`,
      primaryBillingAddress: { street: `PERSONAL${'y'.repeat((index * 7) % 100)}`, countryCode: 'DE' },
    });
    await acme.change(
      by,
      overwrite({ firstName: 'PERSONAL', lastName: 'PERSONAL', email: `new-personal-${index}@example.com` }),
    );
    await acme.forget(by);
  });
  await close();
  return readdirSync(path).flatMap(
    (file) => readFileSync(join(path, file), 'latin1').match(/personal|\+491707/gi) ?? [],
  );
}

t.test('after anonymisation and a checkpoint no byte of what was personal is left in the file', async (t) => {
  t.strictSame(await tracesOf(t, 3), []);
});

t.test('nor of many customers, whose rows SQLite has moved from page to page', async (t) => {
  t.strictSame(await tracesOf(t, 500), []);
});
