/** From SQLite to PostgreSQL and back: everything as it was, whatever interrupts it. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { transferTables } from '../../src/adapters/sql/maintenance/transfer.ts';
import { openPostgres, openSqlite } from '../../src/adapters/sql/schema/database.ts';
import { migrate } from '../../src/adapters/sql/schema/migrate.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { openServices } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { storing } from '../support/client.ts';
import { deployment } from '../support/deployment.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { atOnce, connectSqlite, newFolder, tenantOf } from '../support/storage.ts';

t.test('a deployment that is moved to PostgreSQL, and on, is the same to its callers', async (t) => {
  const { dataDir, serve, command, beside, masterKeyFile } = deployment(t);
  const server = await serve();
  const stored = await atOnce(40, async (index) => {
    const customer = { externalIdentifier: `crm-${index}`, email: `${index}@example.com`, firstName: 'Jane' };
    return server.has(customer);
  });
  await server.post('update', { customer: { customerUrn: stored[0], firstName: 'Joan' } });
  await server.forget(stored[1] as string);
  const body = { customer: { externalIdentifier: 'kept' }, claimedRegion: { countryCode: 'DE', languageCode: 'de' } };
  const kept = await server.post('store', body, { 'idempotency-key': 'k' });
  await server.post('delete', { externalIdentifier: 'overtaken', sourceRevision: 9 });
  const added = await command('webhook', 'add', '--tenant', 'acme', '--url', 'https://hooks.example.com');
  const webhook = (await command('webhook', 'set', added.value.id, '--disable')).value;
  const before = await atOnce(3, async (index) => (await server.info({ urn: stored[index] as string })).text);
  const receipt = (await server.receipt(stored[1] as string)).body.result.receipt;
  const url = await newDatabase(t);
  t.match(await command('move', '--from', `sqlite:${dataDir}`, '--to', url), { code: 1, stderr: /stop it first/ });
  await server.stop();
  const services = await openServices(readConfig({}, { C2A_DATA_DIR: dataDir }), { mayCreate: false });
  await services.jobs.find(({ name }) => name === 'make_checkpoints')?.run(new AbortController().signal);
  await services.close();

  const keysUrl = await newDatabase(t);
  const other = await newDatabase(t);
  const steps: [name: string, from: string[], to: string[], serveWords: string[]][] = [
    ['to one database', [`sqlite:${dataDir}`], [url], ['--database-url', url]],
    ['to two', [url], [other, keysUrl], ['--database-url', other, '--keys-database-url', keysUrl]],
    ['back to SQLite', [other, keysUrl], [`sqlite:${beside('back')}`], ['--data-dir', beside('back')]],
  ];
  for (const [name, [from, fromKeys], [to, toKeys], words] of steps) {
    const sides = ['--from', from as string, '--to', to as string];
    if (fromKeys) sides.push('--from-keys', fromKeys);
    if (toKeys) sides.push('--to-keys', toKeys);
    const moved = await command('move', ...sides);
    t.match(moved, { code: 0, value: { verified: true, moved: { erasures: 1, checkpoints: 1, webhooks: 1 } } }, name);
    const { customers, data_keys: keys } = moved.value.moved;
    t.ok(keys >= customers - 1, 'all but the erased one have a key, and some are ready for customers to come');
    t.match((await command('move', ...sides)).value, moved.value, 'a second time changes nothing');
    const audit = await command('audit', 'verify', ...words, '--master-key-file', masterKeyFile);
    t.match(audit, { code: 0, value: { findings: [], checkpoints: [{ sequence: 1 }] } }, 'checkpoints are valid there');
    const again = await serve(...words, '--master-key-file', masterKeyFile);
    const after = await atOnce(3, async (index) => (await again.info({ urn: stored[index] as string })).text);
    t.same(after, before, 'URNs, versions and times are kept');
    t.match((await again.receipt(stored[1] as string)).body.result.receipt, {
      erasedAt: receipt.erasedAt,
      keyId: receipt.keyId,
    });
    const repeat = await again.post('store', body, { 'idempotency-key': 'k' });
    t.equal(repeat.text, kept.text, 'a repeat gets its first answer');
    const late = await again.post('sync', { ...storing({ externalIdentifier: 'overtaken' }), sourceRevision: 8 });
    t.equal(late.body.outcome, 'stale', 'a tombstone is kept');
    t.notOk(stored.includes(await again.has({ externalIdentifier: `new ${name}` })), 'no URN is used again');
    t.equal((await again.post('store', body)).body.status.messageCode, 'CUSTOMER_ALREADY_STORED');
    await again.stop();
    const at = [...words, '--master-key-file', masterKeyFile];
    const { value: listed } = await command('webhook', 'list', ...at);
    t.match(listed, [{ id: webhook.id, url: webhook.url, position: webhook.position, state: 'disabled' }]);
    const rotated = await command('webhook', 'rotate-secret', webhook.id, '--overlap', '0', ...at);
    t.equal(rotated.code, 0, 'its secrets can be opened');
  }
});

/** A source with customers, and an empty target. */
async function sides(t: Test, customers: number) {
  const path = newFolder(t);
  const { repository, close } = await connectSqlite(t, path);
  await atOnce(customers, (index) => tenantOf(repository).store(`crm-${index}`));
  await close();
  const from = await openSqlite({ files: sqliteFiles(path), mayCreate: false, isExclusive: true }, noTelemetry);
  t.teardown(() => from.close());
  const url = await newDatabase(t);
  const to = await openPostgres({ url, poolSize: 4, timeoutMs: 5_000 }, noTelemetry);
  t.teardown(() => to.close());
  await migrate(to, { mayCreate: true });
  return { path, from, to, url };
}

t.test('a move that was interrupted goes on where it was', async (t) => {
  const { from, to, url } = await sides(t, 2_300);
  let writes = 0;
  const dying = {
    ...to,
    write: ((program) => {
      writes += 1;
      return writes > 6 ? Promise.reject(new DatabaseFailure(new Error('cut'))) : to.write(program);
    }) as typeof to.write,
  };
  await t.rejects(transferTables(from, dying, () => {}));
  const [{ count }] = (await withRawPostgres(url, 'select count(*)::int as count from c2a_keys.data_keys')) as [
    { count: number },
  ];
  t.ok(count > 0 && count < 2_300, `${count} keys were there`);
  let written = 0;
  const counting = {
    ...to,
    write: ((program) => {
      written += 1;
      return to.write(program);
    }) as typeof to.write,
  };
  const seen: number[] = [];
  const counts = await transferTables(from, counting, ({ done }) => seen.push(done));
  t.equal(counts.customers, 2_300);
  t.ok((counts.data_keys as number) >= 2_300, 'some are ready for customers to come');
  t.ok(written < 17, `${written} pages were written, and not those that were there`);
  t.same(
    seen,
    seen.toSorted((one, other) => one - other),
    'progress goes one way',
  );
});

t.test('what an interrupted move has left is mended, and serves nobody before', async (t) => {
  const { from, to, url } = await sides(t, 30);
  await transferTables(from, to, () => {});
  for (const part of ['c2a.data_version', 'c2a_keys.keys_version']) {
    await withRawPostgres(url, `update ${part} set deployment = deployment || ', to which a move is not finished'`);
  }
  await withRawPostgres(url, 'delete from c2a.customers where number in (3, 30)');
  await withRawPostgres(url, `update c2a.customers set version = 99 where number = 7`);
  await t.rejects(migrate(to, { mayCreate: false }), { message: /not finished: run it again/ });
  await transferTables(from, to, () => {});
  t.same(await withRawPostgres(url, 'select count(*)::int as all, max(version) as version from c2a.customers'), [
    { all: 30, version: 1 },
  ]);
  await migrate(to, { mayCreate: false });
});

t.test('a place that has gone on by itself is not written over, nor is another deployment', async (t) => {
  const { from, to, url } = await sides(t, 30);
  await transferTables(from, to, () => {});
  await withRawPostgres(url, 'delete from c2a.customers where number = 3');
  await t.rejects(
    transferTables(from, to, () => {}),
    { message: /is a complete copy that differs from the source/ },
  );
  t.same(await withRawPostgres(url, 'select count(*)::int as all from c2a.customers'), [{ all: 29 }]);
  const theirs = await sides(t, 1);
  await t.rejects(
    transferTables(theirs.from, to, () => {}),
    { message: /another deployment/ },
  );
});

t.test('with the wrong master key nothing is made', async (t) => {
  const { dataDir, serve, command, masterKeyFile, beside } = deployment(t);
  await (await serve()).stop();
  copyFileSync(masterKeyFile, beside('right.key'));
  const url = await newDatabase(t);
  const wrong = join(dataDir, 'customers.db');
  t.match(await command('move', '--from', `sqlite:${dataDir}`, '--to', url, '--master-key-file', wrong), {
    code: 1,
    stderr: /C2A_MASTER_KEY_FILE/,
  });
  t.same(await withRawPostgres(url, `select nspname from pg_namespace where nspname like 'c2a%'`), []);
});
