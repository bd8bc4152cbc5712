/** Data of every earlier schema version is upgraded and works. */
import t from 'tap';
import { migrations } from '../src/adapters/sql/schema/migrations.ts';
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
