/** Copies: what they hold, what may be put back, and that nobody who was erased comes back with them. */
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
import { atOnce, byUrn, connectSqlite, newFolder, tenantId, tenantOf, withRawSqlite } from '../support/storage.ts';

const urnOf = (text: string) => parseCustomerUrn(text) as CustomerUrn;
const configOf = (dataDir: string) => readConfig({}, { C2A_DATA_DIR: dataDir });

/** Does something with the files of a data folder, as a command does. */
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
/** What a start says of customers that it has erased again. */
const erasedAgain = (dataDir: string) =>
  opened(dataDir, ({ recovered }) => recovered.filter((what) => what.includes('erased again')));

/** A closed data folder with customers, and a backup of it. */
async function backedUp(t: Test, customers = 3, dataDir = newFolder(t)) {
  const { repository, close } = await connectSqlite(t, dataDir);
  await atOnce(customers, (index) => tenantOf(repository).has(`crm-${index}`, { firstName: 'Jane' }));
  await close();
  const backup = `${dataDir}.backup`;
  await maintain(dataDir, ({ backup: write }) => write(backup));
  return { dataDir, backup };
}

const restore = (dataDir: string, backup: string) => restorePart(configOf(dataDir), 'data', backup, false);
const restoreKeys = (dataDir: string, copy: string) => restorePart(configOf(dataDir), 'keys', copy, false);

/** What lies in the folder beside the files that belong there. */
const leftIn = (dataDir: string): string[] =>
  readdirSync(dataDir).filter((name) => !/^(customers|keys)\.db$|^master\.key$/.test(name));

/** Puts a backup in the place of the records. */
const ways: Record<string, (dataDir: string, backup: string) => unknown> = {
  'the restore command': restore,
  'plainly copying the file': (dataDir, backup) => copyFileSync(backup, sqliteFiles(dataDir).data),
};

t.test('a backup under load is whole, holds what was acknowledged before it and no key', async (t) => {
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
  t.match(await command('backup', backup), { code: 1, stderr: /exist/i }, 'a file that is there is never overwritten');
});

for (const [name, putBack] of Object.entries(ways)) {
  t.test(`nobody who was erased comes back by ${name}, and no URN is used again`, async (t) => {
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
    t.equal((await restored.info({ urn: late })).status, 404, 'what came after the backup is not in it');
    t.equal((await restored.receipt(urn)).body.result.receipt.residualScan.clean, true);
    const again = await restored.has(jane);
    t.notOk([urn, joan, late].includes(again), 'its identities are free, and get a new URN');
  });
}

t.test('the restore command says how many were erased again', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const { repository, close } = await connectSqlite(t, dataDir);
  for (const urn of ['cu.00.1', 'cu.00.2']) await tenantOf(repository).forget(byUrn(urn));
  await close();
  const { code, value } = await deployment(t, dataDir).command('restore', backup);
  t.match({ code, value }, { code: 0, value: { file: backup, erasedAgain: 2, unreadable: 0, keptKeys: true } });
  t.ok(existsSync(value.replaced), 'and where what was there is kept');
  t.same(await erasedAgain(dataDir), [], 'once');
  t.equal(statSync(sqliteFiles(dataDir).data).mode & 0o777, 0o600);
});

t.test('a copy of the keys that was put back does not revive whom the ledger in it knows', async (t) => {
  const { dataDir } = await backedUp(t);
  const { repository, close } = await connectSqlite(t, dataDir);
  await tenantOf(repository).forget(byUrn('cu.00.1'));
  await close();
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  copyFileSync(copy, sqliteFiles(dataDir).keys);
  const reopened = tenantOf((await connectSqlite(t, dataDir)).repository);
  t.match((await reopened.find(byUrn('cu.00.1')))?.customer, { status: 'Anonymized' });
  t.match((await reopened.find(byUrn('cu.00.2')))?.customer, { firstName: 'Jane' });
});

t.test('what is no sound backup of ours is refused, and nothing is touched', async (t) => {
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
    t.same(filesOf(dataDir), before, `${name}: no file was touched`);
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

t.test('without the keys nothing starts or is restored, and the records stay as they are', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  rmSync(sqliteFiles(dataDir).keys);
  const before = filesOf(dataDir);
  const { command } = deployment(t, dataDir);
  const refused = { code: 1, stderr: /keys\.db is missing/ };
  t.match(await command('tenant', 'list'), refused);
  t.match(await command('restore', backup), refused);
  t.same(filesOf(dataDir), before);
});

t.test('records of another deployment are refused, an empty one of theirs too, and nothing is touched', async (t) => {
  for (const customers of [0, 3]) {
    const theirs = await backedUp(t, customers);
    const { dataDir } = await backedUp(t, 2, `${theirs.dataDir}-ours`);
    const before = filesOf(dataDir);
    await t.rejects(restore(dataDir, theirs.backup), { message: /another deployment/ });
    t.same(filesOf(dataDir), before);
  }
});

t.test('what the keys of now could not read is refused, unless it is forced', async (t) => {
  const { dataDir, backup } = await backedUp(t, 3);
  withRawSqlite(sqliteFiles(dataDir).keys, (raw) => raw.exec('DELETE FROM data_keys WHERE number = 2'));
  const { command } = deployment(t, dataDir);
  const before = filesOf(dataDir);
  t.match(await command('restore', backup), { code: 1, stderr: /1 records could not be read .* nothing was replaced/ });
  t.same(filesOf(dataDir), before);
  t.match(await command('restore', backup, '--force'), { code: 0, value: { unreadable: 1 } });
  const acme = tenantOf((await connectSqlite(t, dataDir)).repository);
  await t.rejects(acme.find(byUrn('cu.00.2')), DatabaseFailure, 'it is a failure');
  t.equal((await acme.forget(byUrn('cu.00.2'))).code, 'SUCCESS', 'which can be erased all the same');
});

t.test('a copy that is refused erases nobody in what is in use', async (t) => {
  const { dataDir } = await backedUp(t);
  const twin = `${dataDir}.twin`;
  cpSync(dataDir, twin, { recursive: true });
  const [backup, copy] = [`${twin}.backup`, `${twin}.keys`];
  const elsewhere = await connectSqlite(t, twin);
  await tenantOf(elsewhere.repository).has('of the twin');
  await tenantOf(elsewhere.repository).forget(byUrn('cu.00.1'));
  await elsewhere.close();
  await maintain(twin, ({ backup: write }) => write(backup));
  await maintain(twin, ({ backupKeys }) => backupKeys(copy));
  const here = await connectSqlite(t, dataDir);
  await tenantOf(here.repository).has('of ours');
  await here.close();
  const before = wrappedKeys(dataDir);
  await t.rejects(restore(dataDir, backup), { message: /nothing was replaced/ });
  await t.rejects(restoreKeys(dataDir, copy), { message: /nothing was replaced/ });
  t.same(wrappedKeys(dataDir), before);
  const again = await connectSqlite(t, dataDir);
  t.match(await tenantOf(again.repository).find(byUrn('cu.00.1')), { customer: { firstName: 'Jane' } });
});

t.test('with a wrong master key nothing is replaced, so that a second try finds all that there was', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  await tenantOf((await connectSqlite(t, dataDir)).repository).has('late');
  const masterKey = join(dataDir, 'master.key');
  const right = readFileSync(masterKey);
  writeFileSync(masterKey, '0'.repeat(64));
  await t.rejects(restore(dataDir, backup), { message: /master key is not the one|stop it first/ });
  t.same(
    leftIn(dataDir).filter((name) => /replaced|restoring/.test(name)),
    [],
  );
  writeFileSync(masterKey, right);
});

t.test('what was there before a restore stays under a name of its own, also after the next one', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  await restore(dataDir, backup);
  await restore(dataDir, backup);
  const kept = leftIn(dataDir);
  t.equal(kept.length, 2);
  for (const name of kept) t.match(name, /^customers\.db\.replaced-\d+T\d+$/);

  const { repository } = await connectSqlite(t, dataDir);
  await tenantOf(repository).forget(byUrn('cu.00.1'));
  const { findings } = await repository.findResidue(tenantId('acme'), urnOf('cu.00.1'));
  const found = findings.filter(({ found }) => found > 0).map(({ place }) => place);
  t.same(found.toSorted(), kept.toSorted(), 'and a receipt says that they hold who was erased since');
});

t.test('a restore that was killed leaves nothing that the next one would take for its own', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    writeFileSync(`${sqliteFiles(dataDir).data}.restoring${suffix}`, 'left by a restore that was killed');
  }
  await restore(dataDir, backup);
  t.equal(leftIn(dataDir).length, 1);
  t.ok(await tenantOf((await connectSqlite(t, dataDir)).repository).find(byUrn('cu.00.3')));
});

/** The time of the last change of a file's names cannot be set: the clock goes on instead. */
async function afterMinutes<Result>(minutes: number, run: () => Promise<Result>): Promise<Result> {
  const { now } = Date;
  Date.now = () => now() + minutes * 60_000;
  try {
    return await run();
  } finally {
    Date.now = now;
  }
}

t.test('a copy of the keys overwrites the previous one, and is for its owner alone', async (t) => {
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

t.test('copies of the keys that are made at once to one place are whole, and marked as copies', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await opened(dataDir, async ({ maintenance: one }) =>
    opened(dataDir, async ({ maintenance: other }) => {
      for (let round = 0; round < 20; round += 1) {
        await Promise.all([one.backupKeys(copy), other.backupKeys(copy), one.backupKeys(copy)]);
        withRawSqlite(copy, (raw) => {
          t.equal(raw.pragma('integrity_check', { simple: true }), 'ok');
          t.equal(raw.prepare("SELECT count(*) FROM sequences WHERE name = 'copy'").pluck().get(), 1);
        });
      }
    }),
  );
  const beside = readdirSync(dirname(copy)).filter((name) => name.startsWith(`${basename(copy)}.`));
  t.same(beside, [], 'nothing is left beside it');
});

t.test('what a link beside a copy of the keys leads to is left alone', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  const masterKey = join(dataDir, 'master.key');
  const before = readFileSync(masterKey);
  symlinkSync(masterKey, `${copy}.next`);
  symlinkSync(masterKey, `${copy}.previous`);
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  symlinkSync(masterKey, `${copy}.next-0123456789abcdef`);
  const copyKeys = () => maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  await t.rejects(afterMinutes(11, copyKeys), { message: /not a file of ours/ });
  t.same(readFileSync(masterKey), before);
});

t.test('a copy of the keys never takes the place of anything else', async (t) => {
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
      { message: /no earlier copy/ },
      file,
    );
  }
  t.same(
    files.map((file) => readFileSync(file)),
    before,
  );
});

t.test('no command but serve and tenant add makes a deployment where there is none', async (t) => {
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

t.test('keys that are put back with the server stopped, after a crash too, open what they opened', async (t) => {
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
  t.match(await command('restore-keys', copy), { code: 1, stderr: /1 records could not be read/ }, 'too old a copy');
});

for (const [name, putBack] of Object.entries(ways)) {
  t.test(`of copies that were mixed by ${name}, both sides learn from each other who was erased`, async (t) => {
    const { dataDir, backup } = await backedUp(t);
    const copy = `${dataDir}.keys`;
    const newer = `${backup}.newer`;
    const forget = async (urn: string) => {
      const { repository, close } = await connectSqlite(t, dataDir);
      await tenantOf(repository).forget(byUrn(urn));
      await close();
    };
    await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
    await forget('cu.00.1');
    await maintain(dataDir, ({ backup: write }) => write(newer));
    // As after a disaster: both from before that erasure.
    const { data, keys } = sqliteFiles(dataDir);
    for (const [from, to] of [
      [backup, data],
      [copy, keys],
    ] as const)
      copyFileSync(from, to);
    await forget('cu.00.2');
    // Each side now has one erasure, and not the same.
    await putBack(dataDir, newer);
    const { repository, close } = await connectSqlite(t, dataDir);
    for (const urn of ['cu.00.1', 'cu.00.2']) {
      t.match(await repository.find(tenantId('acme'), byUrn(urn)), { customer: { status: 'Anonymized' } });
      t.ok(await repository.findErasure(tenantId('acme'), urnOf(urn)), 'the ledger knows it');
    }
    t.equal(await repository.hasExternalId(tenantId('acme'), 'crm-1' as never), false);
    t.equal(wrappedKeys(dataDir).length, 1);
    await close();
    t.same(await erasedAgain(dataDir), []);
  });
}

/** What each side says that its erasures add up to. */
const sumsOf = (dataDir: string): number[] => {
  const { data, keys } = sqliteFiles(dataDir);
  const of = (file: string, statement: string) =>
    withRawSqlite(file, (raw) => raw.prepare(statement).pluck().get() as number);
  return [
    of(keys, "SELECT last FROM sequences WHERE name = 'erasure'"),
    of(data, 'SELECT count FROM erasures_applied'),
  ];
};

t.test('sums that do not agree are brought to agree, once', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const { repository, close } = await connectSqlite(t, dataDir);
  await tenantOf(repository).forget(byUrn('cu.00.1'));
  await close();
  const [weight] = sumsOf(dataDir);
  t.same(sumsOf(dataDir), [weight, weight]);
  const { data, keys } = sqliteFiles(dataDir);
  withRawSqlite(data, (raw) => raw.exec('UPDATE erasures_applied SET count = 1'));
  t.same(await erasedAgain(dataDir), []);
  t.same(sumsOf(dataDir), [weight, weight]);
  copyFileSync(backup, data);
  t.match(await erasedAgain(dataDir), [/^1 customers were erased again/]);
  t.same(sumsOf(dataDir), [weight, weight]);
  t.same(await erasedAgain(dataDir), []);

  // As they were when each erasure counted as one, and mixed: the records have another erasure than the ledger.
  copyFileSync(backup, data);
  withRawSqlite(keys, (raw) => raw.exec("UPDATE sequences SET last = 1 WHERE name = 'erasure'"));
  withRawSqlite(keys, (raw) => raw.exec("UPDATE sequences SET last = 0 WHERE name = 'weighed'"));
  withRawSqlite(data, (raw) => raw.exec('UPDATE erasures_applied SET count = 1'));
  t.match(await erasedAgain(dataDir), [/^1 customers were erased again/], 'the first start sees it');
  t.same(sumsOf(dataDir), [weight, weight], 'and counts by weight');
});

t.test('keys that are older than the records hand out no number that a record has, to no tenant', async (t) => {
  const { dataDir } = await backedUp(t);
  const { data, keys } = sqliteFiles(dataDir);
  withRawSqlite(keys, (raw) => raw.exec("UPDATE sequences SET last = 0 WHERE name = 'customer'"));
  withRawSqlite(data, (raw) =>
    raw.exec("INSERT INTO tenants (tenant, payment, created_at) VALUES ('acme', '{}', 0), ('globex', '{}', 0)"),
  );
  const { repository } = await connectSqlite(t, dataDir);
  const { customer } = await tenantOf(repository, tenantId('globex')).has('crm-1');
  t.equal(customer.customerUrn, 'cu.00.4');
});

t.test('to erase again whom only the record knows to be erased destroys the key, and enters it', async (t) => {
  const { dataDir, backup } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  const first = await connectSqlite(t, dataDir);
  await tenantOf(first.repository).forget(byUrn('cu.00.1'));
  await first.close();
  copyFileSync(copy, sqliteFiles(dataDir).keys);
  // The sums are made the same, so that the start sees nothing.
  const [, applied] = sumsOf(dataDir);
  withRawSqlite(sqliteFiles(dataDir).keys, (raw) => {
    raw.exec(
      `UPDATE sequences SET last = ${applied} WHERE name = 'erasure'; DELETE FROM sequences WHERE name = 'copy'`,
    );
  });
  const { repository, close } = await connectSqlite(t, dataDir);
  t.equal(await repository.findErasure(tenantId('acme'), urnOf('cu.00.1')), undefined);
  t.match(await tenantOf(repository).forget(byUrn('cu.00.1')), { code: 'SUCCESS' });
  t.match(await repository.findErasure(tenantId('acme'), urnOf('cu.00.1')), { keyId: 'key' });
  t.equal(wrappedKeys(dataDir).length, 2);
  await close();
  await restorePart(configOf(dataDir), 'data', backup, false);
  const again = await connectSqlite(t, dataDir);
  t.match(await again.repository.find(tenantId('acme'), byUrn('cu.00.1')), { customer: { status: 'Anonymized' } });
});

t.test(
  'what an interrupted restore has left is gone after a start, and copies that cannot be read are named',
  async (t) => {
    const { dataDir } = await backedUp(t);
    const { data, keys } = sqliteFiles(dataDir);
    for (const file of [data, keys]) copyFileSync(file, `${file}.restoring`);
    writeFileSync(`${data}.replaced-1`, 'damaged');
    await opened(dataDir, async ({ erasures }) => {
      const { repository, close } = await connectSqlite(t, dataDir);
      await tenantOf(repository).forget(byUrn('cu.00.1'));
      await close();
      const signed = (await erasures.receipt(tenantId('acme'), urnOf('cu.00.1'))) as SignedReceipt;
      const { unseen, findings } = signed.receipt.residualScan;
      t.ok(unseen.some((place) => /^customers\.db\.replaced-1, which cannot/.test(place)));
      const places = findings.filter(({ found }) => found > 0).map(({ place }) => place);
      t.same(places, ['customers.db.restoring', 'keys.db.restoring'], 'until then a receipt names it');
    });
    // As `serve` does.
    await opened(dataDir, () => undefined, true);
    t.same(
      leftIn(dataDir).filter((name) => name.includes('restoring')),
      [],
    );
  },
);

t.test('a record that was erased and is damaged stands in nobody’s way', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  const { repository, close } = await connectSqlite(t, dataDir);
  for (const urn of ['cu.00.1', 'cu.00.2']) await tenantOf(repository).forget(byUrn(urn));
  await close();
  withRawSqlite(sqliteFiles(dataDir).data, (raw) =>
    raw.prepare('UPDATE customers SET sealed = zeroblob(length(sealed)) WHERE number = 1').run(),
  );
  await t.rejects(restorePart(configOf(dataDir), 'keys', copy, false), { message: /1 records could not be read/ });
  await restorePart(configOf(dataDir), 'keys', copy, true);
  const reopened = await connectSqlite(t, dataDir);
  const acme = tenantOf(reopened.repository);
  t.equal(wrappedKeys(dataDir).length, 1, 'both keys are destroyed again');
  await t.rejects(acme.find(byUrn('cu.00.1')), DatabaseFailure);
  t.match(await acme.forget(byUrn('cu.00.1')), { code: 'SUCCESS', stored: { customer: { status: 'Anonymized' } } });
  t.match(await acme.find(byUrn('cu.00.2')), { customer: { status: 'Anonymized' } });
});

t.test('keys that are older than the records do not revive whom the records know to be erased', async (t) => {
  const { dataDir } = await backedUp(t);
  const copy = `${dataDir}.keys`;
  await maintain(dataDir, ({ backupKeys }) => backupKeys(copy));
  const { repository, close } = await connectSqlite(t, dataDir);
  await tenantOf(repository).forget(byUrn('cu.00.1'));
  await close();
  await restoreKeys(dataDir, copy);
  const reopened = await connectSqlite(t, dataDir);
  t.equal(wrappedKeys(dataDir).length, 2, 'the key that came back is destroyed again');
  t.match(await reopened.repository.findErasure(tenantId('acme'), urnOf('cu.00.1')), { keyId: 'unknown' });
  const { findings } = await reopened.repository.findResidue(tenantId('acme'), urnOf('cu.00.1'));
  t.same(
    findings.filter(({ place, found }) => found > 0 && !place.includes('replaced')),
    [],
  );
  await reopened.close();
  t.same(await erasedAgain(dataDir), [], 'and both sides count the same');
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

t.test('missing records are not taken for a new deployment', async (t) => {
  const { dataDir } = await backedUp(t);
  const { command } = deployment(t, dataDir);
  rmSync(sqliteFiles(dataDir).data);
  t.match(await command('tenant', 'list'), { code: 1, stderr: /customers\.db is missing/ });
});

t.test('where keys and records are put in place by hand from older copies, no URN is handed out twice', async (t) => {
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
  t.equal((await server.info({ exId: 'crm-1' })).status, 500, 'its key was made after the copy');
  const { stderr } = await server.stop();
  t.match(stderr, /the keys are a copy/);
  t.match(stderr, /revoke again/);
  t.match(stderr, /1 records cannot be read with these keys/);
  server = await serve('--log-level', 'warn');
  t.equal(urn.length, (await server.has({ externalIdentifier: 'crm-3' })).length, 'once is enough');
  t.notMatch((await server.stop()).stderr, /the keys are a copy/);

  // The same copies once more, and another command first.
  putBack();
  t.match(await command('tenant', 'list'), { code: 0, stderr: /the keys are a copy: .*revoke again/s });
  server = await serve();
  t.ok(numberOf(await server.has({ externalIdentifier: 'crm-2' })) > numberOf(urn) + 1000);
});

const numberOf = (urn: string): number => Number(urn.split('.')[2]);
