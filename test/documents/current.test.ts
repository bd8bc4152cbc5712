/** The generated files of the repository are up to date with the source. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import t from 'tap';
import { documents } from '../../scripts/documents.ts';

const generated = Object.entries(await documents());
t.equal(generated.length, 4);
for (const [path, text] of generated) {
  const committed = readFileSync(resolve(import.meta.dirname, '../..', path), 'utf8');
  t.ok(committed === text, `${path} is up to date (else: npm run generate)`);
}

t.test('generating twice gives the same files', async (t) => t.same(await documents(), await documents()));
