import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run } from '../support/process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');

t.test('the snippet of the README runs in another project, on the package as it is packed', async (t) => {
  const project = join(t.testdir(), 'project');
  const home = join(project, 'node_modules', 'c2a-customers');
  mkdirSync(home, { recursive: true });
  await run('npm', ['run', 'build'], {}, root);
  const { stdout: packed } = await run('npm', ['pack', '--json', '--pack-destination', project], {}, root);
  const [{ filename }] = JSON.parse(packed);
  await run('tar', ['-xzf', join(project, filename), '--strip-components=1', '-C', home], {}, root);
  // Its dependencies are those of this checkout.
  symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'));

  const snippet = /```js\n(import \{ createService \}[\s\S]+?)```/.exec(readme)?.[1] as string;
  writeFileSync(join(project, 'snippet.mjs'), snippet);
  const { stdout, stderr } = await run(process.execPath, ['snippet.mjs'], {}, project);
  t.equal(stdout, '200 cu.00.1\n');
  t.equal(stderr, '');

  writeFileSync(
    join(project, 'types.ts'),
    `import { createService, type Service } from 'c2a-customers';
const service: Service = await createService({ tenant: 'acme' });
const status: number = (await service.inject({ url: '/openapi.json' })).statusCode;
export { status };
// @ts-expect-error an option that does not exist
await createService({ tenent: 'acme' });
`,
  );
  const options =
    '--ignoreConfig --noEmit --strict --module nodenext --target es2024 --skipLibCheck --types node'.split(' ');
  symlinkSync(join(root, 'node_modules', '@types'), join(project, 'node_modules', '@types'));
  const { stdout: complaints } = await run(
    join(root, 'node_modules', '.bin', 'tsc'),
    [...options, 'types.ts'],
    {},
    project,
  );
  t.equal(complaints, '');
});
