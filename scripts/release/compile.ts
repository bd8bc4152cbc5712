/**
 * Runs the program until it serves, and writes V8's code cache, which shortens every start of the binary
 * (docs/decisions/0007-one-file.md). The cache is reproducible: the same code gives the same bytes.
 *
 *     node <flags> compile.ts <folder of the embedded files> <data folder to create>
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { constants, Script } from 'node:vm';

/**
 * V8 flags for a reproducible cache: fixed hash seeds, and semi-spaces so large that no garbage is collected. A
 * collection would discard compiled functions and call the observers of the metrics.
 */
const flags = {
  'random-seed': 1,
  'hash-seed': 1,
  'min-semi-space-size': 64,
  'max-semi-space-size': 64,
};
export const compileFlags: readonly string[] = [
  ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
  // The cache records optimised functions, and which functions V8 optimises depends on the machine's speed.
  '--no-sparkplug',
  '--no-concurrent-recompilation',
];

if (process.argv[1] === import.meta.filename) compile(process.argv[2] as string, process.argv[3] as string);

function compile(folder: string, dataDir: string): void {
  // V8 rejects a cache written under other flags than the binary's. Reset the flags: they have taken effect by now.
  for (const name of Object.keys(flags)) setFlagsFromString(`--${name}=0`);

  // Whether a longer timer fires before the end depends on the machine's speed, so longer timers never fire.
  for (const name of ['setTimeout', 'setInterval'] as const) {
    const original = globalThis[name] as (run: () => void, ms: number) => NodeJS.Timeout;
    const lasting = (run: () => void, ms: number) => (ms < 100 ? original(run, ms) : original(() => {}, 1e9).unref());
    Object.assign(globalThis, { [name]: lasting });
  }

  const program = new Script(readFileSync(join(folder, 'code.js'), 'latin1'), {
    filename: 'c2a.cjs',
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = ((text: string) => {
    if (!text.startsWith('{"url":')) return write(text);
    // Also reset to the binary's value.
    setFlagsFromString('--sparkplug');
    writeFileSync(join(folder, 'compiled.bin'), program.createCachedData());
    process.exit(0);
  }) as typeof process.stdout.write;

  const require = createRequire(import.meta.url);
  const sea = { isSea: () => true, getRawAsset: (name: string) => readFileSync(join(folder, name)) };
  const module = { exports: {} };
  // The level `error` avoids log lines: whether they are written before the end depends on the machine's speed.
  const words = ['serve', '--port', '0', '--data-dir', dataDir, '--json', '--log-level', 'error'];
  process.argv.splice(2, Number.POSITIVE_INFINITY, ...words);
  program.runInThisContext()(module.exports, (name: string) => (name === 'node:sea' ? sea : require(name)), module);
}
