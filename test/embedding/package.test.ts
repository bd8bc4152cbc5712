/** The package in another project: packed, installed by npm in an empty folder, imported and type-checked there. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run, succeed } from '../support/process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const snippet = (page: string, pattern: RegExp): string =>
  pattern.exec(readFileSync(join(root, page), 'utf8'))?.[1] as string;

/** Outside this checkout, whose node_modules must not be found. */
const project = mkdtempSync(join(tmpdir(), 'c2a-test-'));
t.teardown(() => rmSync(project, { recursive: true, force: true }));
const has = (name: string, text: string) => writeFileSync(join(project, name), text);
const node = (...words: string[]) => run(process.execPath, words, {}, project);

t.before(async () => {
  await succeed('npm', ['run', 'build'], root);
  const packed = await succeed('npm', ['pack', '--json', '--pack-destination', project], root);
  const [{ filename }] = JSON.parse(packed);
  has('package.json', '{ "type": "module" }');
  const options = ['--omit=optional', '--prefer-offline', '--no-audit', '--no-fund'];
  await succeed('npm', ['install', ...options, `./${filename}`], project);
});

t.test('the snippet of the README runs', async (t) => {
  has('snippet.mjs', snippet('README.md', /```js\n(import \{ createService \}[\s\S]+?)```/));
  const { stdout, stderr } = await node('snippet.mjs');
  t.equal(stdout, '200 cu.00.1\n');
  t.equal(stderr, '');
});

/** A third-party adapter: the memory repository, written against the package alone. */
const againstPackage = (name: string): string =>
  readFileSync(join(root, 'src/adapters/memory', name), 'utf8').replace(
    /'(\.\.\/)+(application|domain)\/[\w/-]+\.ts'/g,
    "'c2a-customers/ports'",
  );
const adapter = `${againstPackage('customers.ts')}
import { createReferenceData } from 'c2a-customers/ports';
export const openMyCustomers = async () =>
  Object.assign(new MemoryCustomers(createReferenceData()), { close: async () => {} });
`;
const conflictCheck = 'conflicts[0] !== undefined';

t.test('an adapter written with the package passes the contract suite, and serves', async (t) => {
  for (const name of ['customer-table.ts', 'idempotency-records.ts']) has(name, againstPackage(name));
  has('my-customers.ts', adapter);
  has('my-customers.test.ts', snippet('docs/embedding.md', /```ts\n(import \{ describe \}[\s\S]+?)```/));
  const proof = await node('--test', '--test-reporter=tap', 'my-customers.test.ts');
  t.match(proof, { code: 0, stdout: /^# fail 0$/m }, proof.stdout);
  t.ok(Number(/^# pass (\d+)$/m.exec(proof.stdout)?.[1]) > 40, 'the whole suite ran');

  has(
    'serve.ts',
    `import { createService } from 'c2a-customers';
import { openMyCustomers } from './my-customers.ts';
const repository = await openMyCustomers();
const service = await createService({ repository });
const { statusCode } = await service.inject({
  method: 'POST',
  url: '/api/c2a/customer/store',
  headers: service.credentials,
  payload: { customer: { externalIdentifier: 'crm-1' }, claimedRegion: { countryCode: 'DE', languageCode: 'de' } },
});
const stored = await repository.find('acme' as never, { externalId: 'crm-1' as never });
console.log(statusCode, stored?.customer.customerUrn);
await service.close();
`,
  );
  t.match(await node('serve.ts'), { code: 0, stdout: '200 cu.00.1\n', stderr: '' });
});

t.test('the contract suite fails for an adapter that breaks the contract', async (t) => {
  t.ok(adapter.includes(conflictCheck));
  has('my-customers.ts', adapter.replace(conflictCheck, "conflicts[0]?.messageCode === 'CUSTOMER_ALREADY_STORED'"));
  const { code, stdout } = await node('--test', '--test-reporter=tap', 'my-customers.test.ts');
  t.equal(code, 1);
  t.match(stdout, /not ok \d+ - an e-mail address is unique in its canonical form/);
});

t.test('the package has types', async (t) => {
  has('my-customers.ts', adapter);
  has(
    'types.ts',
    `import { createService, type Service } from 'c2a-customers';
const service: Service = await createService({ tenant: 'acme' });
const status: number = (await service.inject({ url: '/openapi.json' })).statusCode;
export { status };
// @ts-expect-error an option that does not exist
await createService({ tenent: 'acme' });
`,
  );
  const options =
    '--ignoreConfig --noEmit --strict --module nodenext --target es2024 --skipLibCheck --types node --allowImportingTsExtensions';
  const types = join(project, 'node_modules/@types');
  rmSync(types, { recursive: true, force: true });
  symlinkSync(join(root, 'node_modules/@types'), types);
  const files = ['types.ts', 'my-customers.ts', 'my-customers.test.ts', 'serve.ts'];
  const tsc = join(root, 'node_modules/.bin/tsc');
  const { stdout: complaints } = await run(tsc, [...options.split(' '), ...files], {}, project);
  t.equal(complaints, '');
});
