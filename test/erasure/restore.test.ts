/** Backups: what they contain, which of them a restore accepts, and that no erased customer comes back with one. */
import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import type { Maintenance } from '../../src/application/ports/maintenance.ts';
import type { SignedReceipt } from '../../src/application/privacy-reports.ts';
import { openServices, restorePart } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { type CustomerUrn, parseCustomerUrn } from '../../src/domain/identity.ts';
import { filesOf, occurrences, wrappedKeys } from '../support/bytes.ts';
import { deployment } from '../support/deployment.ts';
import {
  atOnce,
  byUrn,
  connectSqlite,
  newFolder,
  noon,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

const urnOf = (text: string) => parseCustomerUrn(text) as CustomerUrn;
const configOf = (dataDir: string) => readConfig({}, { C2A_DATA_DIR: dataDir });

/** Opens a data folder as a command does. */
async function opened<Result>(
  dataDir: string,
  use: (services: Awaited<ReturnType<typeof openServices>>) => Promise<Result> | Result,
  mayCreate = false,
): Promise<Result> {
  const services = await openServices(configOf(dataDir), { mayCreate });
  try {
    return await use(services);
  } finally {
    await services.close();
  }
}
const maintain = <Result>(dataDir: string, use: (maintenance: Maintenance) => Promise<Result>): Promise<Result> =>
  opened(dataDir, ({ maintenance }) => use(maintenance));
/** What a start says of its recovery. */
const recoveredAt = (dataDir: string) => opened(dataDir, ({ recovered }) => recovered);

/** A closed data folder with customers of one tenant, and a backup of it. */
async function backedUp(t: Test, customers = 3, dataDir = newFolder(t)) {
  const { repository, directory, close } = await connectSqlite(t, dataDir);
  await directory.addTenant({ id: tenantId('acme'), payment: { channels: [] }, createdAt: noon } as never);
  await atOnce(customers, (index) => tenantOf(repository).mustStore(`crm-${index}`, { firstName: 'Jane' }));
  await close();
  const backup = `${dataDir}.backup`;
  await maintain(dataDir, ({ backup: write }) => write(backup));
  return { dataDir, backup };
}

const restore = (dataDir: string, backup: string) => restorePart(configOf(dataDir), 'data', backup, false);
const restoreKeys = (dataDir: string, copy: string) => restorePart(configOf(dataDir), 'keys', copy, false);

/** Other files in the data folder than those of the deployment. */
const leftIn = (dataDir: string): string[] =>
  readdirSync(dataDir).filter((name) => !/^(customers|keys)\.db$|^master\.key$/.test(name));

/** Ways to restore the records. */
const ways: Record<string, (dataDir: string, backup: string) => unknown> = {
  'the restore command': restore,
  'copying the file': (dataDir, backup) => copyFileSync(backup, sqliteFiles(dataDir).data),
};

t.test('a backup under load is complete, contains every write acknowledged before it, and no data key', async (t) => {
  const { dataDir, serve, command, beside } = deployment(t);
  const backup = beside('backup.db');
  const server = await serve();
  await atOnce(200, (index) => server.has({ externalIdentifier: `before-${index}` }));

  const load = { goesOn: true, stored: 0 };
  const storing = atOnce(8, async (lane) => {
    for (let count = 0; load.goesOn; count += 1) {
      await server.has({ externalIdentifier: `during-${lane}-${count}` });
      load.stored += 1;
    }
  });
  const { code, value } = await command('backup', backup);
  load.goesOn = false;
  await storing;
  t.same({ code, value }, { code: 0, value: { file: backup } });
  t.ok(load.stored > 0);
  t.equal(statSync(backup).mode & 0o777, 0o600);

  const bytes = readFileSync(backup);
  t.same(
    wrappedKeys(dataDir).filter((key) => occurrences(bytes, key) > 0),
    [],
  );
  t.notOk(bytes.includes('data_keys'));
  withRawSqlite(backup, (raw) => {
    t.equal(raw.pragma('integrity_check', { simple: true }), 'ok');
    t.ok((raw.prepare('SELECT count(*) FROM customers').pluck().get() as number) >= 200);
  });
  t.match(await command('backup', backup), { code: 1, stderr: /exist/i }, 'an existing file is never overwritten');
});

for (const [name, putBack] of Object.entries(ways)) {
  t.test(`no erased customer comes back by ${name}, and no URN is issued twice`, async (t) => {
    const { dataDir, serve, beside } = deployment(t);
    const backup = beside('backup.db');
    const server = await serve();
    const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com', phoneNumber: '+491701234567' };
    const urn = await server.has(jane);
    const joan = await server.has({ externalIdentifier: 'crm-2' });
    await maintain(dataDir, ({ backup: write }) => write(backup));
    await server.forget(urn);
    const late = await server.has({ externalIdentifier: 'crm-3' });
    await server.stop();

    await putBack(dataDir, backup);
    const restored = await serve();
    t.match((await restored.info({ urn })).body.result, { status: 'Anonymized', firstName: 'Anonymized' });
    t.equal((await restored.info({ exId: 'crm-1' })).status, 404);
    t.equal((await restored.info({ urn: joan })).body.result.externalIdentifier, 'crm-2');
    t.equal((await restored.info({ urn: late })).status, 404, 'the backup is older than this customer');
    t.equal((await restored.receipt(urn)).body.result.receipt.residualScan.clean, true);
    const again = await restored.has(jane);
    t.notOk([urn, joan, late].includes(again), 'its unique keys are free, and a store with them gets a new URN');
  });
}

t.test('the restore command prints how many customers were erased again', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const { repository, close } = await connectSqlite(t, dataDir);
  for (const urn of ['cu.00.1', 'cu.00.2']) await tenantOf(repository).erase(byUrn(urn));
  await close();
  const { code, value } = await deployment(t, dataDir).command('restore', backup);
  t.match({ code, value }, { code: 0, value: { file: backup, erasedAgain: 2, unreadable: 0, keptKeys: true } });
  t.ok(existsSync(value.replaced), 'and the name of the file that it replaced');
  t.same(await recoveredAt(dataDir), [], 'the next start has nothing to do');
  t.equal(statSync(sqliteFiles(dataDir).data).mode & 0o777, 0o600);
});

t.test('a backup of the keys does not bring back a customer whose erasure is in its log', async (t) => {
  const { dataDir } = await backedUp(t);
  const { repository, close } = await connectSqlite(t, dataDir);
  await tenantOf(repository).erase(byUrn('cu.00.1'));
  await close();
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  copyFileSync(copy, sqliteFiles(dataDir).keys);
  const reopened = tenantOf((await connectSqlite(t, dataDir)).repository);
  t.match((await reopened.find(byUrn('cu.00.1')))?.customer, { status: 'Anonymized' });
  t.match((await reopened.find(byUrn('cu.00.2')))?.customer, { firstName: 'Jane' });
});

t.test('a file that is not a sound backup is refused, and no file changes', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const file = `${dataDir}.bad`;
  const sql = (text: string) => withRawSqlite(file, (raw) => raw.exec(text));
  const bad: Record<string, () => void> = {
    missing: () => rmSync(file, { force: true }),
    empty: () => writeFileSync(file, ''),
    'no database': () => writeFileSync(file, 'This is a letter to a friend. '.repeat(400)),
    'cut short': () => truncateSync(file, statSync(file).size - 4096),
    damaged: () => {
      const bytes = readFileSync(file);
      writeFileSync(file, bytes.fill(0xa5, 4096, 3 * 4096));
    },
    'of another program': () => {
      rmSync(file);
      sql('CREATE TABLE erasures (urn TEXT)');
    },
    'the store of keys': () => copyFileSync(sqliteFiles(dataDir).keys, file),
    'with a log beside it': () => writeFileSync(`${file}-wal`, 'a log'),
    'of a newer version': () => sql('UPDATE data_version SET version = 99, oldest = 99'),
  };
  for (const [name, make] of Object.entries(bad)) {
    copyFileSync(backup, file);
    rmSync(`${file}-wal`, { force: true });
    make();
    const before = filesOf(dataDir);
    await t.rejects(restore(dataDir, file), name);
    t.same(filesOf(dataDir), before, `${name}: no file changed`);
  }
});

t.test('while a server runs a restore is refused, and the server goes on', async (t) => {
  const { dataDir, serve, command, beside } = deployment(t);
  const server = await serve();
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  const backup = beside('backup.db');
  await maintain(dataDir, ({ backup: write }) => write(backup));
  const late = await server.has({ externalIdentifier: 'crm-2' });
  const before = Object.keys(filesOf(dataDir));
  t.match(await command('restore', backup), { code: 1, stderr: /stop it first/ });
  t.same(Object.keys(filesOf(dataDir)), before, 'nothing is left beside the files');
  for (const known of [urn, late]) t.equal((await server.info({ urn: known })).status, 200);
});

t.test('without the keys no command and no restore works, and the records do not change', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  rmSync(sqliteFiles(dataDir).keys);
  const before = filesOf(dataDir);
  const { command } = deployment(t, dataDir);
  const refused = { code: 1, stderr: /keys\.db is missing/ };
  t.match(await command('tenant', 'list'), refused);
  t.match(await command('restore', backup), refused);
  t.same(filesOf(dataDir), before);
});

t.test('records of another deployment are refused, an empty backup too, and no file changes', async (t) => {
  for (const customers of [0, 3]) {
    const theirs = await backedUp(t, customers);
    const { dataDir } = await backedUp(t, 2, `${theirs.dataDir}-ours`);
    const before = filesOf(dataDir);
    await t.rejects(restore(dataDir, theirs.backup), { message: /another deployment/ });
    t.same(filesOf(dataDir), before);
  }
});

t.test('a backup with records that the present keys cannot decrypt is refused, unless it is forced', async (t) => {
  const { dataDir, backup } = await backedUp(t, 3);
  withRawSqlite(sqliteFiles(dataDir).keys, (raw) => raw.exec('DELETE FROM data_keys WHERE number = 2'));
  const { command } = deployment(t, dataDir);
  const before = filesOf(dataDir);
  t.match(await command('restore', backup), { code: 1, stderr: /1 records could not be read .* nothing was replaced/ });
  t.same(filesOf(dataDir), before);
  t.match(await command('restore', backup, '--force'), { code: 0, value: { unreadable: 1 } });
  const acme = tenantOf((await connectSqlite(t, dataDir)).repository);
  await t.rejects(acme.find(byUrn('cu.00.2')), DatabaseFailure);
  t.equal((await acme.erase(byUrn('cu.00.2'))).code, 'SUCCESS', 'it can be erased all the same');
});

t.test('a backup that is refused erases no customer of the present deployment', async (t) => {
  const { dataDir } = await backedUp(t);
  const twin = `${dataDir}.twin`;
  cpSync(dataDir, twin, { recursive: true });
  const [backup, copy] = [`${twin}.backup`, `${twin}.keys`];
  const elsewhere = await connectSqlite(t, twin);
  await tenantOf(elsewhere.repository).mustStore('of the twin');
  await tenantOf(elsewhere.repository).erase(byUrn('cu.00.1'));
  await elsewhere.close();
  await maintain(twin, ({ backup: write }) => write(backup));
  await maintain(twin, ({ backupKeys }) => backupKeys(copy));
  const here = await connectSqlite(t, dataDir);
  await tenantOf(here.repository).mustStore('of ours');
  await here.close();
  const before = wrappedKeys(dataDir);
  await t.rejects(restore(dataDir, backup), { message: /nothing was replaced/ });
  await t.rejects(restoreKeys(dataDir, copy), { message: /nothing was replaced/ });
  t.same(wrappedKeys(dataDir), before);
  const again = await connectSqlite(t, dataDir);
  t.match(await tenantOf(again.repository).find(byUrn('cu.00.1')), { customer: { firstName: 'Jane' } });
});

t.test('with a wrong master key nothing is restored, and with the right one everything is', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const late = await connectSqlite(t, dataDir);
  await tenantOf(late.repository).mustStore('late');
  await late.close();
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  const masterKey = join(dataDir, 'master.key');
  const right = readFileSync(masterKey);
  const before = filesOf(dataDir);
  const names = Object.keys(before);
  writeFileSync(masterKey, '0'.repeat(64));
  for (const attempt of [() => restore(dataDir, backup), () => restoreKeys(dataDir, copy)]) {
    await t.rejects(attempt(), { message: /not the one that the data was sealed with/ });
  }
  writeFileSync(masterKey, right);
  t.same(Object.keys(filesOf(dataDir)), names, 'no file was replaced');
  t.same(filesOf(dataDir)['customers.db'], before['customers.db']);
  await restore(dataDir, backup);
  await restoreKeys(dataDir, copy);
  const { repository } = await connectSqlite(t, dataDir);
  t.ok(await tenantOf(repository).find(byUrn('cu.00.1')));
  t.equal(await tenantOf(repository).find(byUrn('cu.00.4')), undefined, 'the backup is older');
});

t.test('each restore keeps the file that it replaced under a name of its own', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  await restore(dataDir, backup);
  await restore(dataDir, backup);
  const kept = leftIn(dataDir);
  t.equal(kept.length, 2);
  for (const name of kept) t.match(name, /^customers\.db\.replaced-\d+T\d+$/);

  const { repository } = await connectSqlite(t, dataDir);
  await tenantOf(repository).erase(byUrn('cu.00.1'));
  const { findings } = await repository.findResidue(tenantId('acme'), urnOf('cu.00.1'));
  const found = findings.filter(({ found }) => found > 0);
  t.same(new Set(found.map(({ kind }) => kind)), new Set(['records_copy']));
  t.same(found.map(({ place }) => place).toSorted(), kept.toSorted(), 'a search for an erased customer names them');
});

t.test('a restore ignores what one that was killed has left', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    writeFileSync(`${sqliteFiles(dataDir).data}.restoring${suffix}`, 'left by a restore that was killed');
  }
  await restore(dataDir, backup);
  t.equal(leftIn(dataDir).length, 1);
  t.ok(await tenantOf((await connectSqlite(t, dataDir)).repository).find(byUrn('cu.00.3')));
});

/** The time of the last change of a file's names cannot be set, so the clock is moved. */
async function afterMinutes<Result>(minutes: number, run: () => Promise<Result>): Promise<Result> {
  const { now } = Date;
  Date.now = () => now() + minutes * 60_000;
  try {
    return await run();
  } finally {
    Date.now = now;
  }
}

t.test('a backup of the keys overwrites the previous one, and only its owner can read it', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  const copyKeys = () => maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  await copyKeys();
  const held = (file: string) => {
    const bytes = readFileSync(file);
    return wrappedKeys(dataDir).filter((key) => bytes.includes(key)).length;
  };
  t.equal(held(copy), 3);
  t.equal(statSync(copy).mode & 0o777, 0o600);

  // A second name shows what becomes of the old file's bytes.
  linkSync(copy, `${copy}.beside`);
  const left = ['next', 'previous', 'next-journal'].map((kind) => {
    const [name, more = ''] = kind.split(/(?=-)/);
    const file = `${copy}.${name}-0123456789abcdef${more}`;
    writeFileSync(file, 'left by a copy that was interrupted');
    return file;
  });
  await copyKeys();
  t.same(left.map(existsSync), [true, true, true], 'they may be under way');
  await afterMinutes(11, copyKeys);
  t.same(left.map(existsSync), [false, false, false]);
  t.equal(held(copy), 3);
  const previous = readFileSync(`${copy}.beside`);
  t.ok(previous.length > 0 && previous.every((byte) => byte === 0));
});

t.test('backups of the keys that are written to one file at the same time are complete and marked', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await opened(dataDir, async ({ maintenance: one }) =>
    opened(dataDir, async ({ maintenance: other }) => {
      for (let round = 0; round < 20; round += 1) {
        await Promise.all([one.backupKeys(copy), other.backupKeys(copy), one.backupKeys(copy)]);
        withRawSqlite(copy, (raw) => {
          t.equal(raw.pragma('integrity_check', { simple: true }), 'ok');
          t.same(raw.prepare('SELECT taken_at FROM key_copies_used').pluck().all(), [null]);
        });
      }
    }),
  );
  const beside = readdirSync(dirname(copy)).filter((name) => name.startsWith(`${basename(copy)}.`));
  t.same(beside, [], 'nothing is left beside it');
});

t.test('a backup of the keys does not follow links beside its file', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  const masterKey = join(dataDir, 'master.key');
  const before = readFileSync(masterKey);
  symlinkSync(masterKey, `${copy}.next`);
  symlinkSync(masterKey, `${copy}.previous`);
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  symlinkSync(masterKey, `${copy}.next-0123456789abcdef`);
  const copyKeys = () => maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  await t.rejects(afterMinutes(11, copyKeys), { message: /is a link, or has other names/ });
  t.same(readFileSync(masterKey), before);
});

t.test('a backup of the keys never replaces another file', async (t) => {
  const theirs = await backedUp(t);
  const { dataDir, backup } = await backedUp(t, 2, `${theirs.dataDir}-ours`);
  const { keys, data } = sqliteFiles(dataDir);
  const secondName = `${dataDir}.second-name`;
  linkSync(keys, secondName);
  const files = [keys, data, secondName, sqliteFiles(theirs.dataDir).keys, join(dataDir, 'master.key'), backup];
  const before = files.map((file) => readFileSync(file));
  for (const file of files) {
    await t.rejects(
      maintain(dataDir, ({ backupKeys }) => backupKeys(file)),
      { message: /not a backup of these keys/ },
      file,
    );
  }
  t.same(
    files.map((file) => readFileSync(file)),
    before,
  );
});

t.test('only serve and tenant add create a deployment', async (t) => {
  const { dataDir, command, beside } = deployment(t);
  for (const words of [
    ['tenant', 'list'],
    ['backup', beside('backup.db')],
    ['backup-keys', beside('keys.db')],
    ['keys', 'rotate-master'],
  ]) {
    t.match(await command(...words), { code: 1, stderr: /there is no data in/ }, words.join(' '));
  }
  t.notOk(readdirSync(dirname(dataDir)).includes(basename(dataDir)));
});

t.test('restored keys decrypt what they decrypted before, after a crash too', async (t) => {
  const { serve, command, beside } = deployment(t);
  const copy = beside('keys.copy');
  const server = await serve();
  const early = await atOnce(20, (index) => server.has({ externalIdentifier: `early-${index}` }));
  t.equal((await command('backup-keys', copy)).code, 0);
  t.match(await command('restore-keys', copy), { code: 1, stderr: /stop it first/ });
  await server.stop('SIGKILL');
  t.match(await command('restore-keys', copy), { code: 0, value: { erasedAgain: 0, unreadable: 0 } });
  const again = await serve();
  for (const urn of early) t.equal((await again.info({ urn })).status, 200);
  await again.has({ externalIdentifier: 'late' });
  await again.stop();
  t.match(
    await command('restore-keys', copy),
    { code: 1, stderr: /1 records could not be read/ },
    'the backup is too old',
  );
});

for (const [name, putBack] of Object.entries(ways)) {
  t.test(`keys and records that were restored from different backups by ${name} complete each other`, async (t) => {
    const { dataDir, backup } = await backedUp(t);
    const copy = `${dataDir}.keys`;
    const newer = `${backup}.newer`;
    const forget = async (urn: string) => {
      const { repository, close } = await connectSqlite(t, dataDir);
      await tenantOf(repository).erase(byUrn(urn));
      await close();
    };
    await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
    await forget('cu.00.1');
    await maintain(dataDir, ({ backup: write }) => write(newer));
    // As after a disaster: both are older than that erasure.
    const { data, keys } = sqliteFiles(dataDir);
    for (const [from, to] of [
      [backup, data],
      [copy, keys],
    ] as const)
      copyFileSync(from, to);
    await forget('cu.00.2');
    // Each part now has one erasure, and not the same.
    await putBack(dataDir, newer);
    const { repository, close } = await connectSqlite(t, dataDir);
    for (const urn of ['cu.00.1', 'cu.00.2']) {
      t.match(await repository.find(tenantId('acme'), byUrn(urn)), { customer: { status: 'Anonymized' } });
      t.ok(await repository.findErasure(tenantId('acme'), urnOf(urn)), 'its erasure is in the log');
    }
    t.equal(await repository.hasExternalId(tenantId('acme'), 'crm-1' as never), false);
    t.equal(wrappedKeys(dataDir).length, 1);
    await close();
    t.same(await recoveredAt(dataDir), []);
  });
}

/** The head of the log, and the position up to which the records have applied it. */
const positionsOf = (dataDir: string): unknown[] => {
  const { data, keys } = sqliteFiles(dataDir);
  const of = (file: string, table: string) =>
    withRawSqlite(file, (raw) => raw.prepare(`SELECT sequence, hex(chain) AS chain FROM ${table}`).get());
  return [of(keys, 'erasure_heads'), of(data, 'erasure_positions')];
};

t.test('a position that lags, is lost or is of another chain is brought to the head, once', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const { repository, close } = await connectSqlite(t, dataDir);
  await tenantOf(repository).erase(byUrn('cu.00.1'));
  await close();
  const { data } = sqliteFiles(dataDir);
  const [head] = positionsOf(dataDir);
  t.match(head, { sequence: 1 });
  t.same(positionsOf(dataDir), [head, undefined], 'an erasure does not move it');
  t.same(await recoveredAt(dataDir), []);
  t.same(positionsOf(dataDir), [head, head]);

  withRawSqlite(data, (raw) => raw.exec('UPDATE erasure_positions SET chain = randomblob(32)'));
  t.match(await recoveredAt(dataDir), [/do not belong together/]);
  t.same(positionsOf(dataDir), [head, head]);
  t.same(await recoveredAt(dataDir), []);

  copyFileSync(backup, data);
  t.match(await recoveredAt(dataDir), [/^finished 1 erasures/]);
  t.same(positionsOf(dataDir), [head, head]);
  t.same(await recoveredAt(dataDir), []);
});

t.test('keys that are older than the records issue no number that a record of any tenant has', async (t) => {
  const { dataDir } = await backedUp(t);
  const { data, keys } = sqliteFiles(dataDir);
  withRawSqlite(keys, (raw) => raw.exec("UPDATE sequences SET last = 0 WHERE name = 'customer'"));
  withRawSqlite(data, (raw) =>
    raw.exec("INSERT INTO tenants (tenant, payment, created_at) VALUES ('globex', '{}', 0)"),
  );
  const { repository } = await connectSqlite(t, dataDir);
  const { customer } = await tenantOf(repository, tenantId('globex')).mustStore('crm-1');
  t.equal(customer.customerUrn, 'cu.00.4');
});

t.test('keys without a mark that are older than the records get their erasures from the records', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const { keys } = sqliteFiles(dataDir);
  const copy = `${dataDir}.keys`;
  copyFileSync(keys, copy);
  const first = await connectSqlite(t, dataDir);
  await tenantOf(first.repository).erase(byUrn('cu.00.1'));
  await first.close();
  const [head] = positionsOf(dataDir);
  // The position lags, so only the row shows that the keys are older.
  copyFileSync(copy, keys);
  t.same(await recoveredAt(dataDir), []);
  t.same(positionsOf(dataDir), [head, head], 'the row gave the same entry back');
  t.equal(wrappedKeys(dataDir).length, 2);
  await restore(dataDir, backup);
  const again = await connectSqlite(t, dataDir);
  t.match(await again.repository.find(tenantId('acme'), byUrn('cu.00.1')), { customer: { status: 'Anonymized' } });
});

t.test(
  'the next start removes what an interrupted restore has left, and receipts name files that cannot be read',
  async (t) => {
    const { dataDir } = await backedUp(t);
    const { data, keys } = sqliteFiles(dataDir);
    for (const file of [data, keys]) copyFileSync(file, `${file}.restoring`);
    writeFileSync(`${data}.replaced-1`, 'damaged');
    await opened(dataDir, async ({ erasures }) => {
      const { repository, close } = await connectSqlite(t, dataDir);
      await tenantOf(repository).erase(byUrn('cu.00.1'));
      await close();
      const signed = (await erasures.receipt(tenantId('acme'), urnOf('cu.00.1'))) as SignedReceipt;
      const { unseen, findings } = signed.receipt.residualScan;
      t.ok(unseen.some((place) => /^customers\.db\.replaced-1, which cannot/.test(place)));
      const found = findings.filter(({ found }) => found > 0).map(({ kind, place }) => [kind, place]);
      const expected = [
        ['keys_copy', 'keys.db.restoring'],
        ['records_copy', 'customers.db.restoring'],
      ];
      t.same(found, expected, 'until then a receipt names it');
    });
    // As `serve` does.
    await opened(dataDir, () => undefined, true);
    t.same(
      leftIn(dataDir).filter((name) => name.includes('restoring')),
      [],
    );
  },
);

t.test('a damaged row of an erased customer keeps it erased, and its data key is destroyed again', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  const { repository, close } = await connectSqlite(t, dataDir);
  for (const urn of ['cu.00.1', 'cu.00.2']) await tenantOf(repository).erase(byUrn(urn));
  await close();
  withRawSqlite(sqliteFiles(dataDir).data, (raw) =>
    raw.prepare('UPDATE customers SET sealed = zeroblob(length(sealed)) WHERE number = 1').run(),
  );
  await t.rejects(restoreKeys(dataDir, copy), { message: /1 records could not be read/ });
  await restorePart(configOf(dataDir), 'keys', copy, true);
  const reopened = await connectSqlite(t, dataDir);
  const acme = tenantOf(reopened.repository);
  t.equal(wrappedKeys(dataDir).length, 1, 'both keys are destroyed again');
  t.match(await reopened.repository.findErasure(tenantId('acme'), urnOf('cu.00.1')), { keyId: 'unknown' });
  t.match(await reopened.repository.findErasure(tenantId('acme'), urnOf('cu.00.2')), { keyId: 'key' });
  for (const urn of ['cu.00.1', 'cu.00.2']) {
    t.match(await acme.erase(byUrn(urn)), { code: 'SUCCESS', stored: { customer: { status: 'Anonymized' } } });
    t.match(await acme.find(byUrn(urn)), { customer: { status: 'Anonymized' } });
  }
});

t.test('keys that are older than the records do not bring back a customer that the records have erased', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  const { repository, close } = await connectSqlite(t, dataDir);
  await tenantOf(repository).erase(byUrn('cu.00.1'));
  await close();
  const [head] = positionsOf(dataDir);
  await restoreKeys(dataDir, copy);
  const reopened = await connectSqlite(t, dataDir);
  t.equal(wrappedKeys(dataDir).length, 2, 'the key that came back is destroyed again');
  t.same(positionsOf(dataDir)[0], head, 'the row gave the same entry back');
  t.match(await reopened.repository.findErasure(tenantId('acme'), urnOf('cu.00.1')), { keyId: 'key' });
  const { findings } = await reopened.repository.findResidue(tenantId('acme'), urnOf('cu.00.1'));
  t.ok(
    findings.some(({ kind }) => kind === 'keys_copy'),
    'the replaced keys are searched too',
  );
  t.same(
    findings.filter(({ found }) => found > 0),
    [],
  );
  await reopened.close();
  t.same(await recoveredAt(dataDir), []);
});

t.test('a key that was revoked since the backup stays revoked', async (t) => {
  const { command, beside } = deployment(t);
  const backup = beside('backup.db');
  await command('tenant', 'add', 'acme');
  const { value: issued } = await command('key', 'issue', 'acme');
  await command('backup', backup);
  const { value: revoked } = await command('key', 'revoke', issued.id);
  t.match((await command('restore', backup)).value, { keptKeys: true });
  t.same((await command('key', 'list')).value, [revoked]);
});

t.test('a data folder without its records is not a new deployment', async (t) => {
  const { dataDir } = await backedUp(t);
  const { command } = deployment(t, dataDir);
  rmSync(sqliteFiles(dataDir).data);
  t.match(await command('tenant', 'list'), { code: 1, stderr: /customers\.db is missing/ });
});

t.test('with older copies of keys and records, put in place by hand, no URN is issued twice', async (t) => {
  const { dataDir, serve, command, beside } = deployment(t);
  let server = await serve();
  await server.has({ externalIdentifier: 'crm-0' });
  t.equal((await command('backup-keys', beside('keys.copy'))).code, 0);
  await server.has({ externalIdentifier: 'crm-1' });
  t.equal((await command('backup', beside('customers.copy'))).code, 0);
  const handedOut = new Set<string>();
  for (let number = 2; number < 12; number += 1) {
    handedOut.add(await server.has({ externalIdentifier: `crm-${number}` }));
  }
  await server.stop('SIGKILL');
  function putBack() {
    for (const name of readdirSync(dataDir)) if (name !== 'master.key') rmSync(join(dataDir, name));
    copyFileSync(beside('keys.copy'), sqliteFiles(dataDir).keys);
    copyFileSync(beside('customers.copy'), sqliteFiles(dataDir).data);
  }
  putBack();
  server = await serve('--log-level', 'warn');
  const urn = await server.has({ externalIdentifier: 'crm-2' });
  t.notOk(handedOut.has(urn));
  t.match(urn, /^cu\.00\.1\d{7}$/);
  t.equal((await server.info({ exId: 'crm-1' })).status, 500, 'its data key is newer than the backup');
  const { stderr } = await server.stop();
  t.match(stderr, /the keys are a backup/);
  t.match(stderr, /revoke again/);
  t.match(stderr, /1 records cannot be decrypted with these keys/);
  server = await serve('--log-level', 'warn');
  t.equal(urn.length, (await server.has({ externalIdentifier: 'crm-3' })).length, 'once is enough');
  t.notMatch((await server.stop()).stderr, /the keys are a backup/);

  // The same copies once more, and another command first.
  putBack();
  t.match(await command('tenant', 'list'), { code: 0, stderr: /the keys are a backup: .*revoke again/s });
  server = await serve();
  t.ok(numberOf(await server.has({ externalIdentifier: 'crm-2' })) > numberOf(urn) + 1000);
});

const numberOf = (urn: string): number => Number(urn.split('.')[2]);
