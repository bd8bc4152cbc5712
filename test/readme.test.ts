/**
 * The documentation names only things that exist: npm scripts, files, links, commands, options, settings and metrics.
 * Every pattern must match at least once, so that no check passes because it has found nothing to check.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import manifest from '../package.json' with { type: 'json' };
import { createMetrics } from '../src/adapters/telemetry/metrics.ts';
import { optionOf, settings, type Variable } from '../src/config.ts';
import { httpStatus } from '../src/http/envelope.ts';
import { createService } from '../src/index.ts';
import { c2a, run } from './support/process.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const maxReadmeLines = 150;

/** Options of other programs that the documentation shows. */
const optionsOfOtherPrograms = [
  '--build',
  '--clean',
  '--commit',
  '--format',
  '--full',
  '--if-exists',
  '--now',
  '--omit',
  '--schema',
  '--workspace',
];
/** In the examples, the name of a PostgreSQL schema and not of a metric. */
const schemaOfKeys = 'c2a_keys';

/** Files that a command creates. */
const generated = ['bench/results.json'];

interface Page {
  readonly path: string;
  readonly text: string;
  /** Lines of fenced blocks (a line that ends with a backslash is joined to the next) and inline code. */
  readonly code: readonly string[];
}

const own = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'packages/client/README.md'];
const paths = [...own, ...globSync('docs/**/*.md', { cwd: root }).sort()];
const pages = paths.filter((path) => path !== 'docs/statements.md').map(readPage);

function readPage(path: string): Page {
  const text = readFileSync(join(root, path), 'utf8');
  const fence = /^```.*\n([\s\S]*?)^```$/gm;
  const lines = [...text.matchAll(fence)].flatMap(([, block = '']) => block.replaceAll('\\\n', ' ').split('\n'));
  const spans = [...text.replace(fence, '').matchAll(/`([^`]+)`/g)].map(([, span = '']) => span.replace(/\s+/g, ' '));
  return { path, text, code: [...lines.map((line) => line.replace(/\s+#\s.*$/, '')), ...spans] };
}

interface Found {
  readonly page: Page;
  readonly name: string;
}

/** Every first group of the pattern. Throws where the pattern matches nothing. */
function find(pattern: RegExp, textsOf: (page: Page) => readonly string[]): readonly Found[] {
  const found = pages.flatMap((page) =>
    textsOf(page).flatMap((text) => [...text.matchAll(pattern)].map(([, name]) => ({ page, name: name as string }))),
  );
  if (found.length === 0) throw new Error(`${pattern} matches nothing`);
  return found;
}
const inText = (pattern: RegExp) => find(pattern, ({ text }) => [text]);
const inCode = (pattern: RegExp) => find(pattern, ({ code }) => code);
/** Reports each name that does not exist, with its page. */
const allExist = (t: Test, found: readonly Found[], exists: (name: string, page: Page) => boolean) =>
  t.same(
    found.filter(({ page, name }) => !exists(name, page)).map(({ page, name }) => `${page.path}: ${name}`),
    [],
    'each exists',
  );
const pageOf = (path: string): Page => {
  const page = pages.find((one) => one.path === path);
  if (page === undefined) throw new Error(`there is no page ${path}`);
  return page;
};

t.test(`README.md has at most ${maxReadmeLines} lines`, async (t) => {
  t.ok(pageOf('README.md').text.trimEnd().split('\n').length <= maxReadmeLines);
});

t.test('README.md links to every page', async (t) => {
  const expected = pages.filter(({ path }) => /^docs\/[^/]+$/.test(path)).map((page) => ({ page, name: 'no link' }));
  t.ok(expected.length > 0);
  allExist(t, expected, (_, { path }) => pageOf('README.md').text.includes(`](${path})`));
});

t.test('npm scripts exist', async (t) => {
  const isScript = (name: string) => name in manifest.scripts;
  allExist(t, inCode(/npm run (?:-s )?([\w:-]+)/g), isScript);
  const commandsOfNpm = ['ci', 'install', 'pack'];
  allExist(t, inCode(/\bnpm (?!run\b)([a-z]+)/g), (name) => commandsOfNpm.includes(name) || isScript(name));
});

t.test('files exist', async (t) => {
  const isFile = (path: string) => existsSync(join(root, path)) || generated.includes(path);
  const folders = ['src', 'test', 'docs', 'packages', 'postman', 'scripts', 'bench', 'packaging', '.ci'];
  const paths = new RegExp(`(?<![\\w/.:@-])((?:${folders.join('|')})/[\\w./-]*\\w)`, 'g');
  allExist(t, inText(paths), isFile);
  allExist(t, inCode(/^([\w-]+\.md)$/g), isFile);
});

t.test('links lead to a file, and to a heading in it', async (t) => {
  allExist(t, inText(/\]\((?!https?:)([^)\s]+)\)/g), (link, page) => {
    const [file = '', anchor] = link.split('#');
    const target = file === '' ? page.path : normalize(join(dirname(page.path), file));
    return existsSync(join(root, target)) && (anchor === undefined || headingsOf(target).includes(anchor));
  });
});

/** The anchors that a renderer of Markdown gives to the headings of a page. */
const headingsOf = (path: string): string[] =>
  [...pageOf(path).text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );

t.test('commands exist, with the options that they are shown with', async (t) => {
  const uses = inCode(/(?:npm run -s c2a -- |^(?:sudo -u \S+ )?(?:\.\/dist\/)?c2a )(.+)$/g);
  const helps = new Map<string, string>();
  for (const command of new Set(['', ...uses.map(({ name }) => commandOf(name))])) {
    helps.set(command, (await c2a([...command.split(' ').filter(Boolean), '--help'])).stdout);
  }
  t.ok(helps.size > 15, 'most commands are shown');
  allExist(t, uses, (words) => {
    const usage = ['usage: c2a', commandOf(words)].filter(Boolean).join(' ');
    return new RegExp(`^${usage}\\b`, 'im').test(helps.get(commandOf(words)) ?? '');
  });
  allExist(t, uses, (words) => {
    const allowed = optionsIn(`--help --json ${helps.get('')} ${helps.get(commandOf(words))}`);
    return optionsIn(words).every((option) => allowed.includes(option));
  });
  const known = [...optionsOfOtherPrograms, ...optionsIn([...helps.values()].join(' '))];
  allExist(t, inText(/(?<![\w-])(--[a-z][a-z-]+)/g), (option) => known.includes(option));
});

const optionsIn = (text: string): string[] => [...text.matchAll(/(?<![\w-])--[a-z][a-z-]+/g)].map(([option]) => option);

/** The words that select a command, `key issue` of `key issue acme --role read`; empty where only options follow. */
const commandOf = (words: string): string => {
  const [first = '', second = ''] = words.split(' ');
  const isWord = (text: string) => /^[a-z]+(-[a-z]+)*$/.test(text);
  return [first, ...(isWord(second) ? [second] : [])].filter(isWord).join(' ');
};

t.test('variables exist', async (t) => {
  const ofTests = globSync('{test,scripts,bench}/**/*.ts', { cwd: root }).flatMap((path) =>
    [...readFileSync(join(root, path), 'utf8').matchAll(/process\.env\.(C2A_\w+)/g)].map(([, name]) => name),
  );
  allExist(t, inText(/\b(C2A_\w+)/g), (name) => name in settings.properties || ofTests.includes(name));
});

t.test('docs/configuration.md has every setting with its default', async (t) => {
  const { text } = pageOf('docs/configuration.md');
  const all = Object.entries(settings.properties);
  t.ok(all.length > 0);
  for (const [variable, { default: fallback }] of all) {
    const row = `| \`${variable}\` | ${fallback === '' ? '' : `\`${fallback}\` `}|`;
    t.match(text, row, `${variable}, --${optionOf(variable as Variable)}`);
  }
});

t.test('metrics exist', async (t) => {
  const rendered = await createMetrics().render();
  const metrics = inCode(/(?<!\w)((?:c2a|nodejs|process)_[a-z0-9_]+)/g).filter(({ name }) => name !== schemaOfKeys);
  t.ok(metrics.length > 0);
  allExist(t, metrics, (name) => rendered.includes(`# TYPE ${name} `));
});

t.test('docs/api.md has every message code with its HTTP status', async (t) => {
  const rows = [...pageOf('docs/api.md').text.matchAll(/^\| (\d{3}) \| `([A-Z_]+)` \|/gm)];
  const documented = rows.map(([, status, code]) => [code as string, Number(status)] as const);
  t.same(Object.fromEntries(documented), httpStatus);
});

for (const path of ['README.md', 'docs/api.md']) {
  t.test(`the curl commands of ${path} work when pasted`, async (t) => {
    const service = await createService();
    t.teardown(() => service.close());
    const url = await service.listen({ port: 0 });
    const blocks = [...pageOf(path).text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
    const script = blocks
      .filter((block) => block.includes('curl '))
      .join('\n')
      .replace(/^KEY=.*$/m, '')
      .replaceAll('http://127.0.0.1:3000', url);
    const commands = script.match(/^curl /gm) ?? [];
    t.ok(commands.length > 1);
    const { stdout, stderr } = await run('sh', ['-c', script], { KEY: service.credentials['x-api-key'] });
    t.equal(stderr, '');
    t.same(
      stdout.match(/"messageCode":"\w+"/g),
      commands.map(() => '"messageCode":"SUCCESS"'),
    );
  });
}
