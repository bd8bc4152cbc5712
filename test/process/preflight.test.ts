/** Checks of a configuration against this machine. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readConfig } from '../../src/config.ts';
import { preflight } from '../../src/process/preflight.ts';

t.test('all problems of this machine are reported at once, and nothing is created', async (t) => {
  const folder = t.testdir({ file: '' });
  const config = readConfig(
    { dataDir: join(folder, 'file', 'data'), host: 'host.invalid', masterKeyFile: join(folder, 'no', 'key') },
    {},
  );
  const problems = await preflight(config);
  t.equal(problems.length, 3);
  for (const [index, variable] of ['C2A_HOST', 'C2A_DATA_DIR', 'C2A_MASTER_KEY_FILE'].entries()) {
    t.match(problems[index], variable);
  }
  t.same(await preflight(readConfig({ dataDir: join(folder, 'new', 'data') }, {})), []);
  t.same(readdirSync(folder), ['file']);
  writeFileSync(join(folder, 'no-key'), 'x'.repeat(100));
  t.match(await preflight(readConfig({ masterKeyFile: join(folder, 'no-key') }, {})), [/64 hexadecimal digits/]);
});
