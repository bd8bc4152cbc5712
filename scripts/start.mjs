/**
 * `npm start` and `npm run c2a`: runs the program from its source, as one file that is made of it whenever it has changed.
 * To load a thousand modules one by one takes three times as long as all the rest of a start. Where that file cannot be made
 * (installed without the tools of development, or a folder that may not be written to), the source is run as it is.
 */
import { hash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { createRequire, enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..');
const entry = pathToFileURL(join(root, 'src/main.ts')).href;
const all = join(root, 'dist/start');

/** Of the source, of what is installed, of how the file is made, and of where: it knows its checkout. */
function fingerprint() {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join('src', name));
  const others = ['package.json', 'tsconfig.json', 'scripts/start.mjs', 'node_modules/.package-lock.json'];
  const texts = [...others, ...sources.sort()].map((name) => [name, readFileSync(join(root, name), 'utf8')]);
  return hash('sha256', JSON.stringify([root, texts])).slice(0, 16);
}

/** @param {string} file */
function isThere(file) {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes it in a folder that has it whole or not at all: processes may start together, or be killed.
 *
 * @param {string} folder
 */
async function make(folder) {
  const unfinished = join(all, `unfinished-${process.pid}`);
  const { build, stop } = await import('esbuild');
  try {
    await build({
      absWorkingDir: root,
      entryPoints: ['src/main.ts'],
      outfile: join(unfinished, 'c2a.cjs'),
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'cjs',
      // Addons, and what looks for files of its own.
      external: ['better-sqlite3', 'sodium-native', '@fastify/swagger-ui', 'pg-native'],
      define: { 'import.meta.url': JSON.stringify(entry) },
      logLevel: 'silent',
    });
    const written = openSync(join(unfinished, 'c2a.cjs'), 'r');
    fsyncSync(written);
    closeSync(written);
    // One that has lost its file would stand in the way.
    if (!isThere(join(folder, 'c2a.cjs'))) rmSync(folder, { recursive: true, force: true });
    renameSync(unfinished, folder);
    const old = readdirSync(all).filter((name) => join(all, name) !== folder && !name.startsWith('unfinished-'));
    for (const name of old) rmSync(join(all, name), { recursive: true, force: true });
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
    // Its process would stay as long as ours.
    await stop();
  }
}

/** Where the file is; undefined where it cannot be made. */
async function made() {
  try {
    const folder = join(all, fingerprint());
    const file = join(folder, 'c2a.cjs');
    // Another process may have made it first; what is there says so.
    if (!isThere(file)) await make(folder).catch(() => undefined);
    return isThere(file) ? folder : undefined;
  } catch {
    return undefined;
  }
}

const folder = await made();
if (folder === undefined) {
  await import(entry);
} else {
  // What V8 makes of it is kept too, when the process ends.
  enableCompileCache(join(folder, 'compiled'));
  createRequire(entry)(join(folder, 'c2a.cjs'));
}
