/** The documents in the repository are those that the source makes. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import t from 'tap';
import { documents } from '../../scripts/documents.ts';

for (const [path, text] of Object.entries(await documents())) {
  const kept = readFileSync(resolve(import.meta.dirname, '../..', path), 'utf8');
  t.ok(kept === text, `${path} is current (if not: npm run generate)`);
}

t.test('they are the same every time', async (t) => t.same(await documents(), await documents()));
