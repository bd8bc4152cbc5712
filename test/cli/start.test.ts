/** How the program is started from its source: as one file that is made of it, and is never older than the source. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { run } from '../support/process.ts';

const root = join(import.meta.dirname, '../..');

/** A copy of the checkout, with what is installed beside the original. */
function copyOfCheckout(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'c2a-start-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const name of ['src', 'scripts/start.cjs', 'package.json', 'tsconfig.json']) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return {
    folder,
    made: () => readdirSync(join(folder, 'dist/start')),
    /** What the program says that it can do. */
    about: async () => {
      const { code, stdout, stderr } = await run(process.execPath, ['scripts/start.cjs', '--help'], {}, folder);
      t.equal(code, 0, stderr);
      return stdout;
    },
    change(file: string, from: string, to: string) {
      const path = join(folder, file);
      const text = readFileSync(path, 'utf8');
      t.ok(text.includes(from), `${file} has what is changed`);
      writeFileSync(path, text.replace(from, to));
    },
  };
}

const said = 'Serve the API until SIGTERM or SIGINT.';

t.test('one file is made, used again, and made anew when the source has changed', async (t) => {
  const { about, made, change } = copyOfCheckout(t);
  t.match(await about(), said);
  const first = made();
  t.equal(first.length, 1);
  t.match(await about(), said);
  t.strictSame(made(), first);
  change('src/serve.ts', said, 'Serve what was changed.');
  t.match(await about(), 'Serve what was changed.');
  t.equal(made().length, 1, 'what was made before is gone');
  t.not(made()[0], first[0]);
});

t.test('the first start, which makes the file, knows SQLite’s errors as the next one does', async (t) => {
  const { folder, made } = copyOfCheckout(t);
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  for (const name of ['keys.db', 'customers.db']) writeFileSync(join(dataDir, name), 'no database'.repeat(100));
  const words = ['scripts/start.cjs', 'tenant', 'list', '--data-dir', dataDir];
  for (const start of ['first', 'second']) {
    const { code, stderr } = await run(process.execPath, words, {}, folder);
    t.equal(code, 1, start);
    t.match(stderr, /\(SQLITE_NOTADB\)/, start);
  }
  t.equal(made().length, 1);
});

t.test('programs that start together all start, and leave nothing unfinished', async (t) => {
  const { about, made } = copyOfCheckout(t);
  for (const text of await Promise.all(Array.from({ length: 4 }, about))) t.match(text, said);
  t.equal(made().length, 1);
});

t.test('what is left of one that was damaged is made anew', async (t) => {
  const { about, folder, made } = copyOfCheckout(t);
  await about();
  rmSync(join(folder, 'dist/start', made()[0] as string, 'c2a.cjs'));
  t.match(await about(), said);
  t.strictSame(readdirSync(join(folder, 'dist/start', made()[0] as string)).sort(), ['c2a.cjs', 'compiled']);
});

t.test('where it cannot be made, the source is run as it is', async (t) => {
  const { about, folder, change } = copyOfCheckout(t);
  writeFileSync(join(folder, 'dist'), 'no folder');
  t.match(await about(), said);
  change('src/serve.ts', said, 'Serve what was changed.');
  t.match(await about(), 'Serve what was changed.');
});
