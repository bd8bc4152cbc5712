/**
 * `npm run build:binary`: builds the program as one file, dist/c2a, with its licences, bill of materials and checksums. The
 * pinned runtime in node_modules runs the build and is embedded. Builds are reproducible: the same source gives the same bytes.
 *
 *     npm run build:binary -- [output folder] [--commit <commit for --version, if the source is not a checkout>]
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { constants, zstdCompressSync } from 'node:zlib';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { inject } from 'postject';
import manifest from '../../package.json' with { type: 'json' };
import type { EmbeddedName } from '../../src/binary/embedded.ts';
import { loadDocuments } from '../../src/http/routes/documentation.ts';
import { buildOfSource } from '../../src/process/about.ts';
import { compileFlags } from './compile.ts';
import { stripped } from './elf.ts';
import { billOfMaterials, licences, packagesInside } from './inside.ts';
import { writeSums } from './sums.ts';

const root = resolve(import.meta.dirname, '../..');
const { values: given, positionals } = parseArgs({ options: { commit: { type: 'string' } }, allowPositionals: true });
const out = resolve(positionals[0] ?? join(root, 'dist'));
const platform = `${process.platform}-${process.arch}`;

const pinned = Object.values(manifest.optionalDependencies);
if (!process.execPath.startsWith(join(root, 'node_modules')) || !pinned.includes(process.versions.node)) {
  throw new Error('build with the runtime that package.json pins: npm run build:binary');
}

/** Packages that the binary never loads: they load documents, compile schemas or inject requests. */
const leftOut = [
  '@fastify/ajv-compiler',
  '@fastify/fast-json-stringify-compiler',
  '@fastify/swagger',
  '@fastify/swagger-ui',
  'light-my-request',
  'pg-native',
];

/** Native addons are embedded, and loaded by src/binary/addons.ts. */
const embeddedAddons: Plugin = {
  name: 'embedded addons',
  setup({ onLoad }) {
    const loader = JSON.stringify(join(root, 'src/binary/addons.ts'));
    onLoad({ filter: /\/better-sqlite3\/lib\/binding\.js$/ }, () => ({
      contents: `exports.getBinding = () => require(${loader}).addon('better-sqlite3');`,
    }));
    onLoad({ filter: /\/sodium-native\/binding\.js$/ }, () => ({
      contents: `module.exports = require(${loader}).addon('sodium-native');`,
    }));
  },
};

/** Modules that libraries load and this program rarely or never uses: they cost start time and memory. */
const unused: Plugin = {
  name: 'unused',
  setup({ onLoad, onResolve }) {
    // Fastify imports them for HTTPS and HTTP/2 servers. Here they are loaded only when used: for https webhooks.
    onResolve({ filter: /^node:(https|http2)$/ }, ({ path, namespace }) =>
      namespace === 'lazy' ? { path, external: true } : { path, namespace: 'lazy' },
    );
    onLoad({ filter: /./, namespace: 'lazy' }, ({ path }) => ({
      contents: `module.exports = new Proxy({}, { get: (_, name) => require('${path}')[name] });`,
    }));
    // This module pushes metrics, but the metrics of this program are scraped.
    onLoad({ filter: /\/prom-client\/lib\/pushgateway\.js$/ }, () => ({ contents: '' }));
  },
};

/** Identifiers are not minified, because logs contain stack traces and error names. */
const bundling = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'cjs',
  charset: 'ascii',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  external: [...leftOut, '*/openapi.json'],
  plugins: [embeddedAddons, unused],
  logLevel: 'warning',
  // Only code that runs from source uses `import.meta`.
  logOverride: { 'empty-import-meta': 'silent' },
  metafile: true,
  write: false,
} satisfies BuildOptions;

async function bundle(entry: string) {
  const { outputFiles, metafile } = await build({ ...bundling, entryPoints: [entry] });
  return { code: (outputFiles[0] as { text: string }).text, metafile };
}

const work = mkdtempSync(join(tmpdir(), 'c2a-build-'));
const at = (name: string) => join(work, name);
try {
  const { code, metafile } = await bundle('src/main.ts');
  // The embedded documents contain files of swagger-ui, which the bundle does not.
  const packages = packagesInside(root, metafile, ['@fastify/swagger-ui']);
  const source = { ...(await buildOfSource()), ...given };
  const texts = { licences: licences(root, packages), bill: billOfMaterials(root, packages, source.commit) };
  const wrapped = `(function(exports,require,module){${code}})`;

  const addon = (path: string) => readFileSync(join(root, 'node_modules', path));
  const contents: Record<Exclude<EmbeddedName, 'compiled'>, string | Buffer> = {
    code: wrapped,
    build: JSON.stringify(source),
    documents: JSON.stringify(await loadDocuments()),
    licenses: texts.licences,
    'better-sqlite3': addon(`better-sqlite3/prebuilds/${platform}.node`),
    'sodium-native': addon(`sodium-native/prebuilds/${platform}/sodium-native.node`),
  };
  const pack = (name: string, content: string | Buffer) =>
    writeFileSync(at(name), zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: 19 } }));
  for (const [name, content] of Object.entries(contents)) pack(name, content);

  // Runs the program, so that the code cache contains the functions of a start.
  writeFileSync(at('code.js'), wrapped);
  const compile = [...compileFlags, join(import.meta.dirname, 'compile.ts'), work, at('data')];
  execFileSync(process.execPath, compile, { stdio: ['ignore', 'ignore', 'pipe'] });
  pack('compiled', readFileSync(at('compiled.bin')));

  writeFileSync(at('start.js'), (await bundle('scripts/release/start.ts')).code);
  const sea = {
    main: 'start.js',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    // SIGUSR1 must not open the debugger, which can read all memory.
    execArgv: ['--disable-sigusr1'],
    // NODE_OPTIONS of the environment must not change the program.
    execArgvExtension: 'none',
    assets: Object.fromEntries([...Object.keys(contents), 'compiled'].map((name) => [name, name])),
  };
  writeFileSync(at('sea.json'), JSON.stringify(sea));
  execFileSync(process.execPath, ['--experimental-sea-config', 'sea.json'], { cwd: work, stdio: 'ignore' });

  await makeExecutable(readFileSync(at('blob')));
  mkdirSync(out, { recursive: true });
  copyFileSync(at('c2a'), join(out, 'c2a'));
  writeFileSync(join(out, 'c2a.cdx.json'), texts.bill);
  writeFileSync(join(out, 'c2a.licenses.txt'), texts.licences);
  writeSums(out);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** Injects the blob into a copy of the runtime. */
async function makeExecutable(blob: Buffer): Promise<void> {
  const isMac = process.platform === 'darwin';
  const runtime = readFileSync(process.execPath);
  writeFileSync(at('c2a'), isMac ? runtime : stripped(runtime), { mode: 0o755 });
  if (isMac) execFileSync('codesign', ['--remove-signature', at('c2a')]);
  await inject(at('c2a'), 'NODE_SEA_BLOB', blob, {
    sentinelFuse: 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2',
    ...(isMac && { machoSegmentName: 'NODE_SEA' }),
  });
  if (isMac) execFileSync('codesign', ['--sign', '-', at('c2a')]);
}
