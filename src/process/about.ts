/** What this program is, for `--version`. */
import { fileURLToPath } from 'node:url';
import type { About } from '../adapters/cli/run.ts';
import { embeddedText, isBinary } from '../binary/embedded.ts';
import { commitOf } from './checkout.ts';
import { version } from './version.ts';

/** What is known when the program is built, or looked up where it runs from its source. */
export interface Build {
  readonly commit: string;
  readonly sqlite: string;
}

export async function about(): Promise<About> {
  const { migrations } = await import('../adapters/sql/schema/migrations.ts');
  const { commit, sqlite } = isBinary ? (JSON.parse(embeddedText('build')) as Build) : await buildOfSource();
  return {
    version,
    commit,
    runtime: `Node.js ${process.versions.node}, ${process.platform}-${process.arch}`,
    sqlite,
    schema: { data: migrations.data.length, keys: migrations.keys.length },
  };
}

/** Of the checkout that this file is in. */
export async function buildOfSource(): Promise<Build> {
  const { default: Database } = await import('better-sqlite3');
  const database = new Database(':memory:');
  try {
    const sqlite = database.prepare<[], string>('SELECT sqlite_version()').pluck().get() as string;
    return { commit: commitOf(fileURLToPath(new URL('..', import.meta.url))) ?? 'unknown', sqlite };
  } finally {
    database.close();
  }
}
