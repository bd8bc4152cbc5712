/** Maps of any size for dry runs. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { createSealedEntries } from '../../../src/adapters/memory/sealed-entries.ts';

t.test('they behave as a Map', async (t) => {
  const entries = createSealedEntries();
  t.teardown(() => entries.close());
  let maps = 0;
  const names = fc.constantFrom('a', 'b', 'acme cu.00.1', 'ß');
  const steps = fc.array(fc.tuple(fc.constantFrom('set', 'get', 'delete'), names, fc.jsonValue()));
  fc.assert(
    fc.property(steps, (all) => {
      maps += 1;
      const [map, model] = [entries.open<unknown>(`map${'x'.repeat(maps)}`), new Map<string, unknown>()];
      for (const [step, name, value] of all) {
        if (step === 'set') {
          map.set(name, value);
          model.set(name, JSON.parse(JSON.stringify(value)));
        } else t.strictSame(map[step as 'get'](name), model[step as 'get'](name));
      }
      t.strictSame(new Map(map.entries()), model);
    }),
    { numRuns: 50 },
  );
});

t.test('the file has no name, and nothing in it is readable', { skip: process.platform !== 'linux' }, async (t) => {
  const entries = createSealedEntries();
  t.teardown(() => entries.close());
  const map = entries.open<object>('records');
  // More than the cache holds.
  for (let index = 0; index < 40_000; index += 1) {
    map.set(`acme secret-mark-${index}`, { email: `secret-mark-${index}@example.com`, filler: 'x'.repeat(600) });
  }
  t.match(map.get('acme secret-mark-7'), { email: 'secret-mark-7@example.com' });
  const list = spawnSync('ls', [`/proc/${process.pid}/fd`], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter(Boolean);
  const files = list.flatMap((descriptor) => {
    try {
      const path = `/proc/${process.pid}/fd/${descriptor}`;
      return readlinkSync(path).endsWith(' (deleted)') && statSync(path).size > 10_000_000 ? [path] : [];
    } catch {
      // Closed since.
      return [];
    }
  });
  t.equal(files.length, 1);
  const bytes = readFileSync(files[0] as string);
  t.notOk(bytes.includes('secret-mark'));
  t.notOk(bytes.includes('xxxxxxxx'));
});
