/**
 * `npm start` and `npm run c2a`: runs the program from its source, as one file that is made of it whenever it has changed.
 * To load a thousand modules one by one takes three times as long as all the rest of a start. Where that file cannot be made
 * (installed without the tools of development, or a folder that may not be written to), the source is run as it is.
 */
const { hash } = require('node:crypto');
const {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} = require('node:fs');
const { enableCompileCache } = require('node:module');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

const root = join(__dirname, '..');
const entry = pathToFileURL(join(root, 'src/main.ts')).href;
const all = join(root, 'dist/start');
const program = 'c2a.cjs';

/** Of the source, of what is installed, of how the file is made, and of where: it knows its checkout. */
function fingerprint() {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join('src', name));
  const others = ['package.json', 'tsconfig.json', 'scripts/start.cjs', 'node_modules/.package-lock.json'];
  // When each was last touched, in any way: to read them all would take as long as to load what is made of them.
  const files = [...others, ...sources.sort()].map((name) => {
    const { ctimeMs, size } = statSync(join(root, name));
    return [name, ctimeMs, size];
  });
  return hash('sha256', JSON.stringify([root, files])).slice(0, 16);
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
 * How libsodium's addon is looked for loads a dozen modules at each start. Here it is looked for once. (SQLite's library stays
 * as it is: of two in one process, as there are when the file has just been made, one would not know the other's errors.)
 *
 * @type {import('esbuild').Plugin}
 */
const foundAddon = {
  name: 'found addon',
  setup({ onLoad }) {
    require('sodium-native');
    const addon = Object.keys(require.cache).find((name) => name.includes('sodium-native') && name.endsWith('.node'));
    onLoad({ filter: /\/sodium-native\/binding\.js$/ }, () => ({
      contents: `module.exports = require(${JSON.stringify(addon)});`,
    }));
  },
};

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
      outfile: join(unfinished, program),
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'cjs',
      // What is not read need not be loaded. Names stay: logs show them.
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: 'none',
      // Addons, what looks for files of its own, and what is not installed.
      external: ['*.node', 'better-sqlite3', '@fastify/swagger-ui', 'pg-native'],
      plugins: [foundAddon],
      define: { 'import.meta.url': JSON.stringify(entry) },
      logLevel: 'silent',
    });
    const written = openSync(join(unfinished, program), 'r');
    fsyncSync(written);
    closeSync(written);
    try {
      renameSync(unfinished, folder);
    } catch (error) {
      if (isThere(join(folder, program))) throw error;
      // One that has lost its file stands in the way. It is moved at once, not removed bit by bit while others look.
      renameSync(folder, `${unfinished}-damaged`);
      renameSync(unfinished, folder);
    }
    const old = readdirSync(all).filter((name) => join(all, name) !== folder && !name.startsWith('unfinished-'));
    for (const name of old) rmSync(join(all, name), { recursive: true, force: true });
  } finally {
    for (const left of [unfinished, `${unfinished}-damaged`]) rmSync(left, { recursive: true, force: true });
    // Its process would stay as long as ours.
    await stop();
  }
}

/** Where it is, or will be; undefined where that cannot be found out. */
function place() {
  try {
    return join(all, fingerprint());
  } catch {
    return undefined;
  }
}

/** @param {string} folder */
function run(folder) {
  // What V8 makes of it is kept too, when the process ends; once, so for each command, as each uses other parts of it.
  const [command = ''] = process.argv.slice(2);
  enableCompileCache(join(folder, 'compiled', /^[a-z-]+$/.test(command) ? command : 'other'));
  require(join(folder, program));
}

const folder = place();
if (folder === undefined) {
  import(entry);
} else if (isThere(join(folder, program))) {
  run(folder);
} else {
  // Another process may have made it first; what is there says so.
  make(folder)
    .catch(() => undefined)
    .then(() => (isThere(join(folder, program)) ? run(folder) : import(entry)));
}
