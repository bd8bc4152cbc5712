/**
 * The client as a package: packed, installed by npm in an empty folder, type-checked, measured, and run on every platform that
 * is there. CI installs Deno, Bun and workerd; without them their tests say that they were skipped.
 */
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import t, { type Test } from 'tap';
import manifest from '../../../package.json' with { type: 'json' };
import { createService } from '../../../src/index.ts';
import { run, start, succeed } from '../../../test/support/process.ts';
import own from '../package.json' with { type: 'json' };

const root = resolve(import.meta.dirname, '../../..');
const client = resolve(import.meta.dirname, '..');
const maxBytes = 15_000;

/** Outside this checkout, whose node_modules must not be found. */
const project = mkdtempSync(join(tmpdir(), 'c2a-client-'));
t.teardown(() => rmSync(project, { recursive: true, force: true }));
const installed = join(project, 'node_modules/c2a-customers-client');

t.before(async () => {
  const workspace = ['--workspace', own.name];
  await succeed('npm', ['run', 'build', ...workspace], root);
  const packed = await succeed('npm', ['pack', ...workspace, '--json', '--pack-destination', project], root);
  const [{ filename }] = JSON.parse(packed);
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  await succeed('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${filename}`], project);
});

t.test('it contains the built client, and depends on openapi-fetch alone', async (t) => {
  t.same(readdirSync(installed).sort(), ['LICENSE', 'README.md', 'dist', 'package.json']);
  const packages = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'));
  t.same(packages.sort(), ['c2a-customers-client', 'openapi-fetch', 'openapi-typescript-helpers']);
  t.equal(own.version, manifest.version, 'the version of the service');
});

t.test(`it has less than ${maxBytes} bytes when minified, and imports nothing of Node`, async (t) => {
  for (const name of ['', '/verify']) {
    const { outputFiles } = await build({
      stdin: { contents: `export * from '${own.name}${name}'`, resolveDir: project },
      bundle: true,
      minify: true,
      format: 'esm',
      // Resolves no built-in module.
      platform: 'neutral',
      write: false,
    });
    const { length } = outputFiles[0]?.contents ?? [];
    t.ok(length > 500 && length < maxBytes, `${own.name}${name}: ${length} bytes`);
  }
});

t.test('what is misspelt does not compile', async (t) => {
  const types = readFileSync(join(client, 'test/types.ts'), 'utf8')
    .replace('../src/index.ts', own.name)
    .replace('../src/verify.ts', `${own.name}/verify`);
  const expectType = join(root, 'node_modules/expect-type');
  writeFileSync(join(project, 'types.ts'), types.replace("'expect-type'", `'${expectType}/dist/index.js'`));
  const options =
    '--ignoreConfig --noEmit --strict --noUnusedLocals --exactOptionalPropertyTypes --noUncheckedIndexedAccess --module nodenext';
  const libraries = '--target es2022 --lib es2022,dom,dom.iterable,dom.asynciterable --types';
  const words = [...`${options} ${libraries}`.split(' '), '', 'types.ts'];
  const { stdout } = await run(join(root, 'node_modules/.bin/tsc'), words, {}, project);
  t.equal(stdout, '');
});

/** The programs of this name on the PATH, each once. */
function programs(name: string): string[] {
  const files = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  return [...new Set(files.filter((file) => existsSync(file)).map((file) => realpathSync(file)))];
}

/** The service, and the files of the journey beside the installed client. */
async function startJourney(t: Test) {
  const service = await createService();
  t.teardown(() => service.close());
  const baseUrl = await service.listen({ port: 0 });
  for (const name of ['journey.mjs', 'run-journey.mjs', 'worker.mjs']) {
    writeFileSync(join(project, name), readFileSync(join(client, 'test/support', name)));
  }
  return { baseUrl, apiKey: service.credentials['x-api-key'] };
}

const seen = {
  synced: 'created',
  conflict: 'CUSTOMER_ALREADY_STORED',
  refused: 'UNAUTHORIZED',
  summary: { outcome: 'summary', created: 3_000, refused: 0 },
  beginning: 2,
  exported: 3_001,
  receipt: true,
  delivery: { id: 'id', event: {} },
};

async function runJourney(t: Test, file: string, ...words: readonly string[]) {
  const { baseUrl, apiKey } = await startJourney(t);
  const { stdout, stderr } = await run(file, [...words, 'run-journey.mjs', baseUrl, apiKey], {}, project);
  t.match(stdout, /^\{.*\}\n$/, stderr);
  t.match(JSON.parse(stdout || '{}'), seen);
}

for (const file of [process.execPath, ...programs('node').filter((one) => one !== realpathSync(process.execPath))]) {
  const { stdout } = await run(file, ['--version']);
  t.test(`it runs on Node ${stdout.trim()}`, async (t) => runJourney(t, file));
}
const platforms = { deno: ['run', '--allow-net', '--no-lock'], bun: [] };
for (const [name, words] of Object.entries(platforms)) {
  const [file] = programs(name);
  t.test(`it runs on ${name}`, { skip: file === undefined && `no ${name} on the PATH` }, async (t) =>
    runJourney(t, file as string, ...words),
  );
}

const [workerd] = programs('workerd');
t.test('it runs in a worker', { skip: workerd === undefined && 'no workerd on the PATH' }, async (t) => {
  const { baseUrl, apiKey } = await startJourney(t);
  const bundle = { bundle: true, format: 'esm', platform: 'neutral' } as const;
  await build({ ...bundle, entryPoints: [join(project, 'worker.mjs')], outfile: join(project, 'worker.js') });
  const socket = join(project, 'worker.sock');
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker), (name = "out", network = (allow = ["private"])) ],
  sockets = [ (address = "unix:${socket}", http = (), service = "main") ]
);
const worker :Workerd.Worker = (
  modules = [ (name = "worker", esModule = embed "worker.js") ],
  compatibilityDate = "2026-01-01",
  globalOutbound = "out"
);`;
  writeFileSync(join(project, 'worker.capnp'), config);
  const child = start(workerd as string, ['serve', 'worker.capnp'], {}, project);
  const closed = once(child, 'close');
  t.teardown(async () => {
    child.kill();
    await closed;
  });
  while (!existsSync(socket)) await delay(20);
  const query = new URLSearchParams({ baseUrl, apiKey });
  const [response] = await once(get({ socketPath: socket, path: `/?${query}` }), 'response');
  t.match(JSON.parse(await text(response)), seen);
});

t.test('the example of docs/embedding.md runs', async (t) => {
  const page = readFileSync(join(root, 'docs/embedding.md'), 'utf8');
  const [code = ''] = /import \{ createService, type Fault \}[\s\S]+?(?=```)/.exec(page) ?? [];
  const service = pathToFileURL(join(root, 'src/index.ts')).href;
  writeFileSync(join(project, 'example.ts'), code.replace("'c2a-customers'", `'${service}'`));
  t.match(await run(process.execPath, ['example.ts'], {}, project), { stdout: 'SUCCESS true\n', stderr: '' });
});

t.test('the first lines of its README run', async (t) => {
  const service = await createService();
  t.teardown(() => service.close());
  const baseUrl = await service.listen({ port: 0 });
  const [, code = ''] = /```js\n([\s\S]+?)```/.exec(readFileSync(join(client, 'README.md'), 'utf8')) ?? [];
  t.ok(code.trimEnd().split('\n').length <= 10);
  writeFileSync(join(project, 'first.mjs'), code.replace('http://127.0.0.1:3000', baseUrl));
  const key = { KEY: service.credentials['x-api-key'] };
  t.match(await run(process.execPath, ['first.mjs'], key, project), { stdout: 'created cu.00.1\n', stderr: '' });
});
