/** The files released with the binary, and their reproducibility. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import manifest from '../../package.json' with { type: 'json' };
import { migrations } from '../../src/adapters/sql/schema/migrations.ts';
import { commitOf } from '../../src/process/about.ts';
import { build, installed, release, root } from '../support/binary.ts';
import { run } from '../support/process.ts';

const read = async (name: string) => readFileSync(join(await release(), name));
const released = ['c2a', 'c2a.cdx.json', 'c2a.licenses.txt'];

t.test('--version prints the versions', async (t) => {
  const { program } = await installed(t);
  const [file, ...words] = program;
  const { code, stdout, stderr } = await run(file, [...words, '--version', '--json']);
  t.equal(code, 0);
  t.equal(stderr, '', 'V8 accepted the embedded code cache');
  t.match(JSON.parse(stdout), {
    version: manifest.version,
    commit: commitOf(root) ?? 'unknown',
    runtime: `Node.js ${process.versions.node}, ${process.platform}-${process.arch}`,
    sqlite: /^3\.\d+\.\d+$/,
    schema: { data: migrations.data.length, keys: migrations.keys.length },
  });
  const { stdout: text } = await run(file, [...words, '--version']);
  t.match(text, /^c2a-customers \S+\ncommit \S+\nruntime .+\nSQLite \S+\nschema .+\n$/);
});

t.test('SHA256SUMS has the sums of the built files', async (t) => {
  const { code, stdout } = await run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], {}, await release());
  t.equal(code, 0);
  t.same(
    stdout.trim().split('\n'),
    released.map((name) => `${name}: OK`),
  );
});

interface Component {
  readonly name: string;
  readonly version: string;
  readonly licenses?: readonly unknown[];
}

t.test('the bill of materials and the licences list the embedded packages, and no others', async (t) => {
  const bill = JSON.parse((await read('c2a.cdx.json')).toString());
  t.match(bill, {
    bomFormat: 'CycloneDX',
    serialNumber: /^urn:uuid:[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/,
    metadata: { component: { name: manifest.name, version: manifest.version } },
  });
  const components: readonly Component[] = bill.components;
  const names = components.map(({ name }) => name);
  for (const name of ['node', 'fastify', 'better-sqlite3', 'sodium-native', 'pg', 'pino', 'csv-parse', 'cli-progress'])
    t.ok(names.includes(name), name);
  for (const name of Object.keys(manifest.devDependencies)) t.notOk(names.includes(name), `${name} is a tool`);
  t.ok(components.every(({ version, licenses }) => version && licenses?.length));

  const licences = (await read('c2a.licenses.txt')).toString();
  for (const { name, version } of components.slice(1)) t.ok(licences.includes(`\n${name} ${version} (`), name);
  for (const title of ['libsodium', 'SQLite', 'swagger-ui 5', 'Node.js']) t.ok(licences.includes(title), title);

  const [file, ...words] = (await installed(t)).program;
  t.equal((await run(file, [...words, 'licenses'])).stdout, `${licences}\n`);
});

t.test('the same source in another folder gives the same bytes', async (t) => {
  const folder = join(t.testdir({}), 'elsewhere');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(folder);
  const sources = [
    'src',
    'scripts',
    'packages',
    'packaging',
    'package.json',
    'package-lock.json',
    'openapi.json',
    'LICENSE',
  ];
  for (const name of sources) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  // Hard links: the same files under other paths.
  await run('cp', ['--archive', '--link', join(root, 'node_modules'), folder]);
  // The copy is not a checkout.
  await build(folder, join(folder, 'dist'), '--commit', commitOf(root) ?? 'unknown');
  t.same(readdirSync(join(folder, 'dist')).sort(), ['SHA256SUMS', ...released]);
  for (const name of released) t.ok(readFileSync(join(folder, 'dist', name)).equals(await read(name)), name);
});
