import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { About } from '../adapters/cli/context.ts';
import { embeddedText, isBinary } from '../binary/embedded.ts';

type Build = Pick<About, 'commit' | 'sqlite'>;

/** The version of this program. A test compares it with package.json. */
export const version = '0.1.0';

/** The output of `--version`. */
export async function about(): Promise<About> {
  const { migrations } = await import('../adapters/sql/schema/migrations.ts');
  const build: Build = isBinary ? JSON.parse(embeddedText('build')) : await buildOfSource();
  return {
    version,
    commit: build.commit,
    runtime: `Node.js ${process.versions.node}, ${process.platform}-${process.arch}`,
    sqlite: build.sqlite,
    schema: { data: migrations.data.length, keys: migrations.keys.length },
  };
}

/** The commit and the SQLite version of this checkout. In the binary, both are embedded. */
export async function buildOfSource(): Promise<Build> {
  const { default: Database } = await import('better-sqlite3');
  const database = new Database(':memory:');
  try {
    const sqlite = database.prepare<[], string>('SELECT sqlite_version()').pluck().get() as string;
    return { commit: commitOf(resolve(import.meta.dirname, '../..')) ?? 'unknown', sqlite };
  } finally {
    database.close();
  }
}

/** The commit of a git checkout, with `-dirty` if files differ from it. Undefined if the folder is not a checkout. */
export function commitOf(folder: string): string | undefined {
  const repository = join(folder, '.git');
  if (!existsSync(repository)) return undefined;
  const describe = ['describe', '--always', '--abbrev=40', '--exclude=*', '--dirty'];
  try {
    return execFileSync('git', [`--git-dir=${repository}`, `--work-tree=${folder}`, ...describe], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    // git is not installed, or does not trust the folder.
    return undefined;
  }
}
