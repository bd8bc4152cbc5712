/** The master key: its file, its rotation while servers run, and refusals of a wrong one. */
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { rotateMasterKey } from '../../../src/adapters/sql/root-keys.ts';
import { filesOf, occurrences } from '../../support/bytes.ts';
import { deployment } from '../../support/deployment.ts';
import { startSqliteProcess } from '../../support/sqlite-process.ts';
import { atOnce, byExternalId, connectSqlite, newFolder, tenantOf, withRawSqlite } from '../../support/storage.ts';

const aKey = /^[0-9a-f]{64}\n$/;

/** A closed data folder with one customer. */
async function folderWithJane(t: Test) {
  const path = newFolder(t);
  const { repository, close } = await connectSqlite(t, path);
  await tenantOf(repository).mustStore('crm-1', { firstName: 'Jane' });
  await close();
  const masterKeyFile = join(path, 'master.key');
  return { path, masterKeyFile, nextFile: `${masterKeyFile}.next` };
}

/** Opens a data folder anew and reads its customer. */
async function janeIsRead(t: Test, path: string): Promise<void> {
  const { repository, close } = await connectSqlite(t, path);
  t.match(await tenantOf(repository).find(byExternalId('crm-1')), { customer: { firstName: 'Jane' } });
  await close();
}

async function rotate(t: Test, path: string): Promise<void> {
  const { database, close } = await connectSqlite(t, path);
  await rotateMasterKey({ database, masterKeyFile: join(path, 'master.key') });
  await close();
}

t.test('the first start creates the master key, which only its owner can read, whatever the umask', async (t) => {
  const before = process.umask(0);
  try {
    const { path, masterKeyFile } = await folderWithJane(t);
    t.match(readFileSync(masterKeyFile, 'utf8'), aKey);
    for (const name of Object.keys(filesOf(path))) t.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
  } finally {
    process.umask(before);
  }
});

t.test('the master key may be in another folder, and the operator may create it', async (t) => {
  const { dataDir, command, beside } = deployment(t);
  const file = beside('elsewhere.key');
  writeFileSync(file, 'AB'.repeat(32), { mode: 0o600 });
  t.equal((await command('tenant', 'add', 'acme', '--master-key-file', file)).code, 0);
  t.notOk(existsSync(join(dataDir, 'master.key')));
  t.equal(readFileSync(file, 'utf8'), 'AB'.repeat(32), 'its file does not change');
});

t.test('without the right master key every command fails, names the setting and changes no file', async (t) => {
  const { dataDir, masterKeyFile, command } = deployment(t);
  await command('tenant', 'add', 'acme');
  const right = readFileSync(masterKeyFile);
  const wrong: Record<string, () => void> = {
    missing: () => rmSync(masterKeyFile),
    another: () => writeFileSync(masterKeyFile, `${'0'.repeat(64)}\n`),
    empty: () => writeFileSync(masterKeyFile, ''),
    'too short': () => writeFileSync(masterKeyFile, right.subarray(0, 63)),
    'too long': () => writeFileSync(masterKeyFile, Buffer.concat([right, right])),
    'no hexadecimal digits': () => writeFileSync(masterKeyFile, 'g'.repeat(64)),
  };
  for (const [name, break_] of Object.entries(wrong)) {
    break_();
    const before = filesOf(dataDir);
    await t.rejects(connectSqlite(t, dataDir), { message: /C2A_MASTER_KEY_FILE/ }, name);
    t.same(filesOf(dataDir), before, `${name}: no file changed`);
  }
  const before = filesOf(dataDir);
  await Promise.all(
    [
      ['serve', '--port', '0'],
      ['tenant', 'list'],
      ['keys', 'rotate-master'],
    ].map(async (words) => {
      const { code, stderr } = await command(...words);
      t.match({ code, stderr }, { code: 1, stderr: /^c2a: .*C2A_MASTER_KEY_FILE.*\n$/ }, words.join(' '));
    }),
  );
  t.same(filesOf(dataDir), before);
  writeFileSync(masterKeyFile, right);
  t.equal((await command('tenant', 'list')).value.length, 1);
});

t.test('a folder that is not writable is an error with its path', async (t) => {
  const { command } = deployment(t);
  const { code, stderr } = await command('tenant', 'add', 'acme', '--master-key-file', '/nowhere/master.key');
  t.match(
    { code, stderr },
    { code: 1, stderr: /^c2a: the folder \/nowhere does not exist; create it \(C2A_MASTER_KEY_FILE\)/ },
  );
});

t.test('a rotation disturbs no running server, and the next start uses the new master key', async (t) => {
  const { dataDir, masterKeyFile, serve, command } = deployment(t);
  const server = await serve();
  await server.has({ externalIdentifier: 'crm-1' });
  const old = { key: readFileSync(masterKeyFile, 'utf8'), roots: rootsOf(dataDir) };

  const storing = atOnce(40, (index) => server.has({ externalIdentifier: `during-${index}` }));
  t.match(await command('keys', 'rotate-master'), { code: 0, value: { rotated: true } });
  await storing;
  t.match(readFileSync(masterKeyFile, 'utf8'), aKey);
  t.not(readFileSync(masterKeyFile, 'utf8'), old.key);
  t.equal(statSync(masterKeyFile).mode & 0o777, 0o600);
  t.equal((await server.info({ exId: 'crm-1' })).status, 200);
  await server.has({ externalIdentifier: 'crm-2' });

  await server.stop();
  const again = await serve();
  for (const exId of ['crm-1', 'crm-2', 'during-39']) t.equal((await again.info({ exId })).status, 200);
  await again.stop();
  const bytes = Buffer.concat(Object.values(filesOf(dataDir)));
  for (const root of old.roots) t.equal(occurrences(bytes, root), 0, 'no root key under the old master key is left');
});

const rootsOf = (path: string): Buffer[] =>
  withRawSqlite(join(path, 'keys.db'), (raw) => raw.prepare<[], Buffer>('SELECT wrapped FROM root_keys').pluck().all());

t.test('an interrupted rotation is completed, wherever it stopped', async (t) => {
  type Folder = Awaited<ReturnType<typeof folderWithJane>>;
  /** As after the commit of a rotation: the new key beside the old one. */
  async function committed({ path, masterKeyFile, nextFile }: Folder): Promise<void> {
    const old = readFileSync(masterKeyFile);
    await rotate(t, path);
    renameSync(masterKeyFile, nextFile);
    writeFileSync(masterKeyFile, old, { mode: 0o600 });
  }
  const states: Record<string, (folder: Folder) => Promise<void> | void> = {
    'before the new key was written': ({ nextFile }) => writeFileSync(nextFile, ''),
    'before the commit': ({ nextFile }) => writeFileSync(nextFile, `${'a'.repeat(64)}\n`),
    'after the commit': committed,
    'when the old key was overwritten': async (folder) => {
      await committed(folder);
      writeFileSync(folder.masterKeyFile, Buffer.alloc(65));
    },
    'when the old key was already gone': async (folder) => {
      await committed(folder);
      rmSync(folder.masterKeyFile);
    },
  };
  for (const [name, leave] of Object.entries(states)) {
    for (const next of ['a start', 'a rotation']) {
      await t.test(`${name}, then ${next}`, async (t) => {
        const folder = await folderWithJane(t);
        await leave(folder);
        if (next === 'a rotation') await rotate(t, folder.path);
        await janeIsRead(t, folder.path);
        await rotate(t, folder.path);
        t.notOk(existsSync(folder.nextFile));
        await janeIsRead(t, folder.path);
      });
    }
  }
});

t.test('concurrent rotations and starts leave one master key, which opens everything', async (t) => {
  const { path, masterKeyFile, nextFile } = await folderWithJane(t);
  const processes = await atOnce(3, () => startSqliteProcess(t, 'rotate', path, 15));
  const opener = await startSqliteProcess(t, 'open', path);
  for (const { tell } of [...processes, opener]) tell(path);
  await Promise.all([...processes, opener].map(({ done }) => done()));
  t.match(readFileSync(masterKeyFile, 'utf8'), aKey);
  t.notOk(existsSync(nextFile));
  await janeIsRead(t, path);
});

t.test('six processes that start at once on an empty folder use one master key', async (t) => {
  const path = newFolder(t);
  const count = 5;
  const processes = await atOnce(6, () => startSqliteProcess(t, 'add', path, count));
  for (const { tell } of processes) tell();
  await Promise.all(processes.map(({ done }) => done()));
  const { repository } = await connectSqlite(t, path);
  for (let index = 0; index < count; index += 1) {
    t.match(await tenantOf(repository).find(byExternalId(`crm-${index}`)), { customer: { email: String } });
  }
});

t.test('the master key of another deployment is refused', async (t) => {
  const ours = await folderWithJane(t);
  const others = `${ours.path}-others`;
  await (await connectSqlite(t, others)).close();
  copyFileSync(join(others, 'master.key'), ours.masterKeyFile);
  await t.rejects(connectSqlite(t, ours.path), { message: /not the one that the data was sealed with/ });
});
