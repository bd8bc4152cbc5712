/** Data of every earlier schema version is upgraded and works. */

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { migrations } from '../src/adapters/sql/schema/migrations.ts';
import { deployment } from './support/deployment.ts';
import { fixtures, unpack, upgrade } from './support/fixtures.ts';
import { newFolder } from './support/storage.ts';

t.test('there is a fixture of the current schema version', async (t) => {
  const version = migrations.data.length + migrations.keys.length - 1;
  t.ok(fixtures.includes(`schema-${version}`), 'npm run generate:fixture makes it');
});

for (const fixture of fixtures) {
  t.test(`${fixture} is upgraded at start`, async (t) => {
    const dataDir = newFolder(t);
    unpack(fixture, dataDir);
    await upgrade(t, fixture, dataDir);
  });
}

t.test('an API key that was revoked stays so when a backup from before the upgrade is restored', async (t) => {
  const dataDir = newFolder(t);
  unpack('schema-1', dataDir);
  const { command, beside } = deployment(t, dataDir);
  const backup = beside('before.backup');
  copyFileSync(join(dataDir, 'customers.db'), backup);
  for (const { id } of (await command('key', 'list')).value) await command('key', 'revoke', id);
  const { value: added } = await command('key', 'issue', 'acme');
  t.match(await command('restore', backup), { code: 0, value: { keptKeys: true } });
  const keys = (await command('key', 'list')).value as { id: string; revokedAt?: string }[];
  t.ok(keys.length > 1);
  for (const { id, revokedAt } of keys) t.equal(revokedAt !== undefined, id !== added.id, id);
});
