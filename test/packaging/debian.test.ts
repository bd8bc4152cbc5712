/** The Debian package: build, install in a separate root, start as its unit does, upgrade, remove. */
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import manifest from '../../package.json' with { type: 'json' };
import { isRoot, release, root } from '../support/binary.ts';
import { deployment } from '../support/deployment.ts';
import { type Program, run } from '../support/process.ts';

const isFound = async (file: string) => (await run('which', [file])).code === 0;
const lacks =
  (!isRoot && 'installing packages needs root') ||
  (!(await isFound('dpkg-deb')) && 'dpkg is not installed') ||
  (!(await isFound('systemd-sysusers')) && 'systemd-sysusers is not installed');

/** Runs a command and returns its standard output. Throws unless it exits with 0. */
async function succeed(file: string, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(file, words, { SOURCE_DATE_EPOCH: '1767225600' }, root);
  if (code !== 0) throw new Error(`${file} ${words.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

t.test('the Debian package', { skip: lacks }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'c2a-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  cpSync(await release(), folder, { recursive: true });
  await succeed('npm', 'run', '-s', 'build:debian', '--', folder);
  const file = join(folder, readdirSync(folder).find((name) => name.endsWith('.deb')) as string);

  t.match(await succeed('dpkg-deb', '--field', file), `Version: ${manifest.version}\n`);
  t.match(readFileSync(join(folder, 'SHA256SUMS'), 'utf8'), /^[\da-f]{64} {2}c2a-customers_\S+\.deb$/m);

  // A root with only what dpkg needs, so that nothing is installed on this machine.
  const system = join(folder, 'system');
  for (const path of ['etc', 'var/lib/dpkg/info', 'var/lib/dpkg/updates']) {
    mkdirSync(join(system, path), { recursive: true });
  }
  await succeed('touch', join(system, 'var/lib/dpkg/status'));
  const dpkg = (...words: string[]) =>
    // The root has no libc to depend on and no shell, so the package's scripts run outside it.
    succeed('dpkg', `--root=${system}`, '--force-depends', '--force-script-chrootless', ...words);
  const at = (path: string) => join(system, path);

  await dpkg('--install', file);
  const users = readFileSync(at('etc/passwd'), 'utf8');
  const [, uid] = /^c2a-customers:x:(\d+):/m.exec(users) ?? [];
  t.ok(Number(uid) > 0, 'the package made its user');
  t.equal(lstatSync(at('etc/c2a-customers.env')).mode & 0o777, 0o600);
  t.match(
    (await run('systemd-analyze', ['verify', '--man=no', `--root=${system}`, 'c2a-customers.service'])).stderr,
    /^((?!c2a-customers\.service:\d|not executable|Unknown).)*$/s,
    'systemd accepts the unit, and its program exists',
  );

  // As systemd does: the state folder, user, command line and environment of the unit.
  const unit = readFileSync(at('usr/lib/systemd/system/c2a-customers.service'), 'utf8');
  const [, words] = /^ExecStart=(.*) serve$/m.exec(unit) ?? [];
  t.equal(words, '/usr/bin/c2a');
  const dataDir = at('var/lib/c2a-customers');
  mkdirSync(dataDir, { mode: 0o700 });
  await succeed('chown', uid as string, dataDir);
  const asUser: Program = ['setpriv', `--reuid=${uid}`, '--clear-groups', 'env', '-i', at('usr/bin/c2a')];
  const { serve, command, useKey } = deployment(t, dataDir, ['--environment', 'live'], asUser);
  let server = await serve();
  t.equal((await command('tenant', 'add', 'acme')).code, 0);
  useKey('acme', (await command('key', 'issue', 'acme')).value.key);
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  await dpkg('--install', file);
  t.equal((await server.stop()).code, 0, 'an upgrade does not stop a running server');
  server = await serve();
  t.match((await server.info({ urn })).body.result, { externalIdentifier: 'crm-1' });
  t.equal((await server.stop()).code, 0);

  await dpkg('--remove', 'c2a-customers');
  t.notOk(existsSync(at('usr/bin/c2a')));
  t.ok(existsSync(at('etc/c2a-customers.env')), 'settings stay until the package is purged');
  t.match(await dpkg('--purge', 'c2a-customers'), /customers and keys stay in \/var\/lib\/c2a-customers/);
  t.notOk(existsSync(at('etc/c2a-customers.env')));
  t.ok(existsSync(join(dataDir, 'customers.db')));
});
