/**
 * `npm start` and `npm run c2a`: runs the program from its source, as one file that is made of it whenever it has changed.
 * To load a thousand modules one by one takes three times as long as all the rest of a start. Where that file cannot be made
 * (installed without the tools of development, or a folder that may not be written to), the source is run as it is.
 */
import { hash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire, enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..');
const entry = pathToFileURL(join(root, 'src/main.ts')).href;
const all = join(root, 'dist/start');
const program = 'c2a.cjs';

/** Of the source, and of what it uses. */
function fingerprint() {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.ts$/.test(name),
  );
  const files = [
    'package.json',
    'package-lock.json',
    'scripts/start.mjs',
    ...sources.sort().map((name) => join('src', name)),
  ];
  const texts = files.map((name) => [name, readFileSync(join(root, name), 'utf8')]);
  return hash('sha256', JSON.stringify(texts)).slice(0, 16);
}

const folder = join(all, fingerprint());

/** Makes it in a folder that has it whole or not at all: processes may start together. */
async function make() {
  const unfinished = join(all, `unfinished-${process.pid}`);
  try {
    const { build } = await import('esbuild');
    await build({
      absWorkingDir: root,
      entryPoints: ['src/main.ts'],
      outfile: join(unfinished, program),
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'cjs',
      // Addons, and what looks for files of its own.
      external: ['better-sqlite3', 'sodium-native', '@fastify/swagger-ui', 'pg-native'],
      define: { 'import.meta.url': JSON.stringify(entry) },
      logLevel: 'silent',
    });
    renameSync(unfinished, folder);
    const old = readdirSync(all).filter((name) => join(all, name) !== folder && !name.startsWith('unfinished-'));
    for (const name of old) rmSync(join(all, name), { recursive: true, force: true });
  } catch {
    // It cannot be made, or another process was faster: what is there says which.
    rmSync(unfinished, { recursive: true, force: true });
  }
}

if (!existsSync(folder)) await make();
if (existsSync(folder)) {
  // What V8 makes of it is kept too, when the process ends.
  enableCompileCache(join(folder, 'compiled'));
  createRequire(folder)(join(folder, program));
} else {
  await import(entry);
}
