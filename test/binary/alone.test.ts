/** Where the binary unpacks its native addons, and which environments it tolerates. */
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { installed, isRoot } from '../support/binary.ts';
import { deployment } from '../support/deployment.ts';
import { type Program, run } from '../support/process.ts';

const prefix = 'c2a-addons-';
const addonFolders = (folder: string) => readdirSync(folder).filter((name) => name.startsWith(prefix));

/** Stores a customer, and reads it after a restart. */
async function works(t: Test, dataDir: string, program: Program): Promise<void> {
  const { serve, command } = deployment(t, dataDir, [], program);
  let server = await serve();
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  await server.stop('SIGKILL');
  server = await serve();
  t.match((await server.info({ urn })).body.result, { externalIdentifier: 'crm-1' });
  t.equal((await command('tenant', 'list')).code, 0);
  t.equal((await server.stop()).code, 0);
}

t.test('addons are unpacked in the temporary folder during the start, then removed', async (t) => {
  const { home } = await installed(t);
  const { program } = await installed(t, { TMPDIR: home });
  const left = join(home, `${prefix}left`);
  const running = join(home, `${prefix}running`);
  for (const folder of [left, running]) mkdirSync(folder);
  utimesSync(left, 0, 0);
  if (isRoot) {
    const { uid, gid } = statSync(home);
    for (const folder of [left, running]) chownSync(folder, uid, gid);
  }
  await works(t, join(home, 'data'), program);
  t.same(addonFolders(home), [`${prefix}running`], 'old leftovers are removed; a folder that may be in use is not');
});

t.test('the data folder is used if the temporary folder cannot be written to', async (t) => {
  const { folder, home } = await installed(t);
  const locked = join(folder, 'locked');
  mkdirSync(locked);
  chmodSync(locked, 0o555);
  const { program } = await installed(t, { TMPDIR: locked });
  const dataDir = join(home, 'data');
  await works(t, dataDir, program);
  t.same(addonFolders(dataDir), []);
});

t.test('if neither can be written to, the error says what is needed', async (t) => {
  const { folder } = await installed(t);
  const [file, ...words] = (await installed(t, { TMPDIR: '/nowhere' })).program;
  const said = await run(file, [...words, 'tenant', 'list', '--data-dir', join(folder, 'nowhere')]);
  t.equal(said.code, 1);
  t.match(said.stderr, /^c2a: the binary needs a folder that it can write to.*TMPDIR.*\/nowhere/);
});

/** Runs a program in a mount namespace of its own. */
const withMounts = (script: string): Program => {
  const apart = ['--mount', '--propagation', 'private', 'sh', '-c', `${script} && exec "$@"`, 'sh'];
  return ['unshare', ...apart];
};
const readOnlyBut = (folder: string): Program =>
  withMounts(`mount --bind '${folder}' '${folder}' && mount -o remount,bind,ro /`);
const canMount = (await run('unshare', [...readOnlyBut('/mnt').slice(1), 'true'])).code === 0;
const mounts = { skip: !canMount && 'mounting needs root' };

t.test('the data folder is used if the temporary folder is mounted noexec', mounts, async (t) => {
  const { folder, home } = await installed(t);
  const noexec = join(folder, 'noexec');
  mkdirSync(noexec);
  const { program } = await installed(t, { TMPDIR: noexec });
  const dataDir = join(home, 'data');
  await works(t, dataDir, [...withMounts(`mount -t tmpfs -o noexec,mode=1777 tmpfs '${noexec}'`), ...program]);
  t.same(addonFolders(dataDir), []);
});

t.test('it runs on a read-only root with one writable folder', mounts, async (t) => {
  const { home, program } = await installed(t);
  const apart = readOnlyBut(home);
  t.not((await run(apart[0], [...apart.slice(1), 'touch', join(dirname(home), 'x')])).code, 0);
  await works(t, join(home, 'data'), [...apart, ...program]);
});

t.test('NODE_OPTIONS and NODE_PATH have no effect', async (t) => {
  const [file, ...words] = (await installed(t, { NODE_OPTIONS: '--require /nowhere', NODE_PATH: '/nowhere' })).program;
  t.match(await run(file, [...words, '--version']), { code: 0, stdout: /^c2a-customers/, stderr: '' });
});
