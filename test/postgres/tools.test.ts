/** Commands that work on SQLite files only name the command of PostgreSQL that has their effect. */
import t from 'tap';
import { newDatabase } from '../support/postgres.ts';
import { c2a } from '../support/process.ts';
import { newFolder } from '../support/storage.ts';

t.test('each command names its own tool', async (t) => {
  const dataDir = newFolder(t);
  const at = ['--data-dir', dataDir, '--database-url', await newDatabase(t)];
  t.equal((await c2a(['tenant', 'add', 'acme', ...at])).code, 0);
  const cases: [words: string[], tool: string][] = [
    [['backup', 'new.db'], 'pg_dump --format=custom --schema=c2a;'],
    [['backup-keys', 'new.db'], 'pg_dump --format=custom --schema=c2a_keys;'],
    [['restore', 'package.json'], 'pg_restore --clean --if-exists, with the dump of the schema c2a;'],
    [['restore-keys', 'package.json'], 'pg_restore --clean --if-exists, with the dump of the schema c2a_keys;'],
    [['compact'], 'vacuumdb --full;'],
  ];
  for (const [words, tool] of cases) {
    const { code, stderr } = await c2a([...words, ...at]);
    t.equal(code, 1);
    t.match(stderr, `c2a: ${words[0]} is for SQLite; on PostgreSQL use ${tool} see docs/operations.md`);
  }
});
