/**
 * `npm run build:binary`: the whole program in one file, dist/c2a, and what goes with it. The pinned runtime of node_modules
 * is what builds, and what is built upon. The same source gives the same bytes, wherever it lies.
 *
 *     npm run build:binary -- [folder to write to] [--commit <what --version says, where the source is no checkout>]
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
import { packDocuments } from '../../src/http/routes/documentation.ts';
import { createService } from '../../src/index.ts';
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
  throw new Error('the binary is built by the runtime that package.json pins: npm run build:binary');
}

/** What makes documents, compiles schemas or injects requests, and is never loaded in the binary. */
const leftOut = [
  '@fastify/ajv-compiler',
  '@fastify/fast-json-stringify-compiler',
  '@fastify/swagger',
  '@fastify/swagger-ui',
  'light-my-request',
  'pg-native',
];

/** The addons are embedded, and found by a loader of ours. */
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

/** What libraries load at once and use in ways of theirs that are not ours: it takes its time and its memory. */
const unused: Plugin = {
  name: 'unused',
  setup({ onLoad, onResolve }) {
    // Loaded when it is used after all, which is never: Fastify has servers of these protocols.
    onResolve({ filter: /^node:(https|http2)$/ }, ({ path, namespace }) =>
      namespace === 'lazy' ? { path, external: true } : { path, namespace: 'lazy' },
    );
    onLoad({ filter: /./, namespace: 'lazy' }, ({ path }) => ({
      contents: `module.exports = new Proxy({}, { get: (_, name) => require('${path}')[name] });`,
    }));
    // To push what was counted.
    onLoad({ filter: /\/prom-client\/lib\/pushgateway\.js$/ }, () => ({ contents: '' }));
  },
};

/** Names stay as they are: logs show stacks and the names of errors. */
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
  external: leftOut,
  plugins: [embeddedAddons, unused],
  logLevel: 'warning',
  // Where the source looks for its own folder, the binary does not.
  logOverride: { 'empty-import-meta': 'silent' },
  metafile: true,
  write: false,
} satisfies BuildOptions;

async function bundle(entry: string) {
  const { outputFiles, metafile } = await build({ ...bundling, entryPoints: [entry] });
  return { code: (outputFiles[0] as { text: string }).text, metafile };
}

/** `/openapi.json` and all that `/docs` needs. */
async function documents(): Promise<string> {
  const service = await createService();
  try {
    const { headers, rawPayload: bytes } = await service.inject('/openapi.json');
    return await packDocuments({ headers: { 'content-type': String(headers['content-type']) }, bytes });
  } finally {
    await service.close();
  }
}

const work = mkdtempSync(join(tmpdir(), 'c2a-build-'));
const at = (name: string) => join(work, name);
try {
  const { code, metafile } = await bundle('src/main.ts');
  // Of the page, files of its packages are inside; see `documents`.
  const packages = packagesInside(root, metafile, ['@fastify/swagger-ui']);
  const source = { ...(await buildOfSource()), ...given };
  const texts = { licences: licences(root, packages), bill: billOfMaterials(root, packages, source.commit) };
  const wrapped = `(function(exports,require,module){${code}})`;

  const addon = (path: string) => readFileSync(join(root, 'node_modules', path));
  const contents: Record<Exclude<EmbeddedName, 'compiled'>, string | Buffer> = {
    code: wrapped,
    build: JSON.stringify(source),
    documents: await documents(),
    licenses: texts.licences,
    'better-sqlite3': addon(`better-sqlite3/prebuilds/${platform}.node`),
    'sodium-native': addon(`sodium-native/prebuilds/${platform}/sodium-native.node`),
  };
  const pack = (name: string, content: string | Buffer) =>
    writeFileSync(at(name), zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: 19 } }));
  for (const [name, content] of Object.entries(contents)) pack(name, content);

  // V8 compiles the program by running it.
  writeFileSync(at('code.js'), wrapped);
  const compile = [...compileFlags, join(import.meta.dirname, 'compile.ts'), work, at('data')];
  execFileSync(process.execPath, compile, { stdio: ['ignore', 'ignore', 'pipe'] });
  pack('compiled', readFileSync(at('compiled.bin')));

  writeFileSync(at('start.js'), (await bundle('scripts/release/start.ts')).code);
  const sea = {
    main: 'start.js',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    // A signal must not open the debugger, through which all of the memory can be read.
    execArgv: ['--disable-sigusr1'],
    // Nor does NODE_OPTIONS of whoever starts it change what it is.
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

/** Puts the blob into a copy of the runtime. */
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
