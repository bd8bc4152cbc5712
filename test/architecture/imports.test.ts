/** The layers of src hold, and the guard that says so is awake: every rule reports what is planted for it. */
import { resolve } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import extractDepcruiseOptions from 'dependency-cruiser/config-utl/extract-depcruise-options';
import t from 'tap';

const root = resolve(import.meta.dirname, '../..');
const options = await extractDepcruiseOptions(resolve(root, '.dependency-cruiser.cjs'));

async function cruiseTree(baseDir: string): Promise<ICruiseResult> {
  const { output } = await cruise(['src', 'packages/client/src'], { ...options, baseDir, validate: true });
  return output as ICruiseResult;
}

/** One line for each rule broken: rule, importer, imported. */
function violations({ summary }: ICruiseResult): string[] {
  return summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`).sort();
}

/** Each is a file of its own with one statement, and the rules that it breaks, with what they report. */
const planted: { file: string; imports: string; broken: [rule: string, to: string][] }[] = [
  {
    file: 'src/domain/clock.ts',
    imports: `import { hrtime } from 'node:process'`,
    broken: [['domain-is-pure', 'process']],
  },
  {
    file: 'src/domain/package.ts',
    imports: `import { z } from '@sinclair/typebox'`,
    broken: [['domain-is-pure', 'node_modules/@sinclair/typebox/index.js']],
  },
  {
    file: 'src/domain/type-only.ts',
    imports: `import type { Leaf } from '../application/leaf.ts'`,
    broken: [['domain-is-pure', 'src/application/leaf.ts']],
  },
  {
    file: 'src/domain/type-inline.ts',
    imports: `export const found: Map<string, import('../application/leaf.ts').Leaf> = new Map()`,
    broken: [['domain-is-pure', 'src/application/leaf.ts']],
  },
  {
    file: 'src/domain/type-re-export.ts',
    imports: `export type { Leaf } from '../application/leaf.ts'`,
    broken: [['domain-is-pure', 'src/application/leaf.ts']],
  },
  {
    file: 'src/domain/dynamic.ts',
    imports: `export const later = () => import('../application/leaf.ts')`,
    broken: [['domain-is-pure', 'src/application/leaf.ts']],
  },
  {
    file: 'src/application/builtin.ts',
    imports: `import { randomUUID } from 'node:crypto'`,
    broken: [['application-knows-only-domain', 'crypto']],
  },
  {
    file: 'src/application/package.ts',
    imports: `import type { Kysely } from 'kysely'`,
    broken: [['application-knows-only-domain', 'node_modules/kysely/index.js']],
  },
  {
    file: 'src/application/adapter.ts',
    imports: `import type { Leaf } from '../adapters/leaf.ts'`,
    broken: [['application-knows-only-domain', 'src/adapters/leaf.ts']],
  },
  {
    file: 'src/http/adapter.ts',
    imports: `import type { Leaf } from '../adapters/leaf.ts'`,
    broken: [['http-knows-only-application', 'src/adapters/leaf.ts']],
  },
  {
    file: 'src/http/database.ts',
    imports: `import { Kysely } from 'kysely'`,
    broken: [['http-knows-only-application', 'node_modules/kysely/index.js']],
  },
  {
    file: 'src/http/root.ts',
    imports: `import type { Config } from '../config.ts'`,
    broken: [['http-knows-only-application', 'src/config.ts']],
  },
  {
    file: 'src/adapters/http.ts',
    imports: `import type { Leaf } from '../http/leaf.ts'`,
    broken: [['adapters-know-only-application', 'src/http/leaf.ts']],
  },
  {
    file: 'src/adapters/sql/http.ts',
    imports: `import type { Leaf } from '../../http/leaf.ts'`,
    broken: [['adapters-know-only-application', 'src/http/leaf.ts']],
  },
  {
    file: 'src/adapters/configured.ts',
    imports: `import type { Config } from '../config.ts'`,
    broken: [['adapters-know-only-application', 'src/config.ts']],
  },
  {
    file: 'src/adapters/sql/server.ts',
    imports: `import type { FastifyInstance } from 'fastify'`,
    broken: [['adapters-know-no-fastify', 'node_modules/fastify/index.js']],
  },
  {
    file: 'src/adapters/plugin.ts',
    imports: `import swagger from '@fastify/swagger'`,
    broken: [['adapters-know-no-fastify', 'node_modules/@fastify/swagger/index.js']],
  },
  {
    file: 'src/adapters/cli/http.ts',
    imports: `import type { Leaf } from '../../http/leaf.ts'`,
    broken: [['cli-knows-no-storage', 'src/http/leaf.ts']],
  },
  {
    file: 'src/adapters/cli/database.ts',
    imports: `import type { Leaf } from '../sql/leaf.ts'`,
    broken: [['cli-knows-no-storage', 'src/adapters/sql/leaf.ts']],
  },
  {
    file: 'src/adapters/sql/driver/table.ts',
    imports: `import type { Leaf } from '../schema/leaf.ts'`,
    broken: [['sql-driver-knows-no-table', 'src/adapters/sql/schema/leaf.ts']],
  },
  {
    file: 'src/adapters/sql/schema/customers.ts',
    imports: `import type { Leaf } from '../customers/leaf.ts'`,
    broken: [['sql-schema-knows-only-driver', 'src/adapters/sql/customers/leaf.ts']],
  },
  {
    file: 'src/adapters/sql/customers/backup.ts',
    imports: `import type { Leaf } from '../maintenance/leaf.ts'`,
    broken: [['sql-maintenance-is-on-top', 'src/adapters/sql/maintenance/leaf.ts']],
  },
  {
    file: 'src/binary/stranger.ts',
    imports: `import type { Leaf } from '../domain/leaf.ts'`,
    broken: [['binary-stands-alone', 'src/domain/leaf.ts']],
  },
  {
    file: 'src/config.ts',
    imports: `import type { Leaf } from './application/leaf.ts'\nexport type Config = Leaf`,
    broken: [['config-stands-alone', 'src/application/leaf.ts']],
  },
  {
    file: 'src/helpers/stranger.ts',
    imports: `import type { Leaf } from '../domain/leaf.ts'`,
    broken: [['no-place-without-a-rule', 'src/domain/leaf.ts']],
  },
  {
    file: 'src/compose.ts',
    imports: `import { double } from '../test/double.ts'`,
    broken: [['src-stands-on-src', 'test/double.ts']],
  },
  {
    file: 'packages/client/src/server.ts',
    imports: `import type { Leaf } from '../../../src/domain/leaf.ts'`,
    broken: [['client-stands-alone', 'src/domain/leaf.ts']],
  },
  {
    file: 'src/adapters/developer.ts',
    imports: `import t from 'tap'`,
    broken: [['no-dev-dependency', 'node_modules/tap/index.js']],
  },
  {
    file: 'src/domain/circle.ts',
    imports: `import type { Back } from './circle-back.ts'\nexport type Circle = Back`,
    broken: [], // a cycle is reported once
  },
  {
    file: 'src/domain/circle-back.ts',
    imports: `import type { Circle } from './circle.ts'\nexport type Back = Circle`,
    broken: [['no-cycle', 'src/domain/circle.ts']],
  },
  {
    file: 'src/main.ts',
    imports: `import { nothing } from './nowhere.ts'`,
    broken: [['no-unresolvable', './nowhere.ts']],
  },
];

/** What the layers may do: none of it may be reported. */
const permitted: Record<string, string> = {
  'src/domain/leaf.ts': `export type Leaf = 1`,
  'src/application/leaf.ts': `export type { Leaf } from '../domain/leaf.ts'`,
  'src/http/leaf.ts': [
    `import { createHash } from 'node:crypto'`,
    `import swagger from '@fastify/swagger'`,
    `import { Type } from '@sinclair/typebox'`,
    `import fastify from 'fastify'`,
    `export type { Leaf } from '../application/leaf.ts'`,
  ].join('\n'),
  'src/adapters/leaf.ts': `import { createHmac } from 'node:crypto'\nexport type { Leaf } from '../application/leaf.ts'`,
  'src/adapters/sql/driver/leaf.ts': `import { Kysely } from 'kysely'\nexport type Leaf = 1`,
  'src/adapters/sql/schema/leaf.ts': `export type { Leaf } from '../driver/leaf.ts'`,
  'src/adapters/sql/customers/leaf.ts': `export type { Leaf } from '../schema/leaf.ts'`,
  'src/adapters/sql/maintenance/leaf.ts': `export type { Leaf } from '../customers/leaf.ts'`,
  'src/binary/leaf.ts': `import { isSea } from 'node:sea'`,
  'src/process/leaf.ts': `export type { Leaf } from '../binary/leaf.ts'\nexport * from '../http/leaf.ts'\nexport * from '../compose.ts'`,
  'src/adapters/sql/leaf.ts': `import { Kysely } from 'kysely'\nexport type { Leaf } from '../leaf.ts'`,
  'src/adapters/cli/leaf.ts': `import type { Config } from '../../config.ts'\nexport type { Leaf } from '../../application/leaf.ts'`,
  'src/index.ts': `export * from './http/leaf.ts'\nexport * from './adapters/sql/leaf.ts'\nexport * from './config.ts'`,
  'packages/client/src/leaf.ts': `import createClient from 'openapi-fetch'`,
  'test/double.ts': `export const double = 2`,
};

const packages = { '@fastify/swagger': '1', '@sinclair/typebox': '1', fastify: '1', kysely: '1', 'openapi-fetch': '1' };

/** Builds testdir's nested description from paths. */
function tree(files: Record<string, string>) {
  interface Folder {
    [name: string]: string | Folder;
  }
  const top: Folder = {};
  for (const [path, text] of Object.entries(files)) {
    const names = path.split('/');
    const name = names.pop() as string;
    let folder = top;
    for (const parent of names) {
      folder[parent] ??= {};
      folder = folder[parent] as Folder;
    }
    folder[name] = text;
  }
  return top;
}

t.test('src keeps its direction', async (t) => {
  const result = await cruiseTree(root);
  t.same(violations(result), []);
  t.ok((result.summary.totalDependenciesCruised ?? 0) > 0, 'imports were seen');
});

t.test('every planted violation is reported, and nothing else', async (t) => {
  const manifest = { name: 'planted', type: 'module', dependencies: packages, devDependencies: { tap: '1' } };
  const files: Record<string, string> = { 'package.json': JSON.stringify(manifest), ...permitted };
  for (const name of [...Object.keys(packages), 'tap']) {
    files[`node_modules/${name}/package.json`] = JSON.stringify({ name, main: 'index.js' });
    files[`node_modules/${name}/index.js`] = 'export {}';
  }
  for (const { file, imports } of planted) files[file] = imports;

  const reported = violations(await cruiseTree(t.testdir(tree(files))));
  const expected = planted.flatMap(({ file, broken }) => broken.map(([rule, to]) => `${rule}: ${file} -> ${to}`));
  t.same(reported, expected.sort());
});

t.test('every rule has a violation planted', async (t) => {
  const rules = options.ruleSet?.forbidden?.map(({ name }) => name) ?? [];
  const covered = new Set(planted.flatMap(({ broken }) => broken.map(([rule]) => rule)));
  t.same([...covered].sort(), rules.sort());
});
