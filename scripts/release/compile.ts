/**
 * Runs the program's code until it serves, and writes down what V8 has compiled of it: a start from that takes a third less.
 * Whatever runs it: the same code gives the same bytes.
 *
 *     node <flags> compile.ts <folder of what is embedded> <data folder to make>
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { constants, Script } from 'node:vm';

/**
 * How V8 is to run here: with hashes that do not differ from run to run, and without collecting garbage, which throws away
 * compiled functions and wakes up those who count that.
 */
const flags = {
  'random-seed': 1,
  'hash-seed': 1,
  'min-semi-space-size': 64,
  'max-semi-space-size': 64,
};
export const compileFlags: readonly string[] = [
  ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
  // What was run often, and optimised, is noted in what is written down: how often and how soon depends on the machine.
  '--no-sparkplug',
  '--no-concurrent-recompilation',
];

if (process.argv[1] === import.meta.filename) compile(process.argv[2] as string, process.argv[3] as string);

function compile(folder: string, dataDir: string): void {
  // What is made under other flags than those that V8 is run with later is not taken. These have had their effect.
  for (const name of Object.keys(flags)) setFlagsFromString(`--${name}=0`);

  // A machine that is busy must not compile what waits for time to pass.
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
    // As V8 is run with later; see above.
    setFlagsFromString('--sparkplug');
    writeFileSync(join(folder, 'compiled.bin'), program.createCachedData());
    process.exit(0);
  }) as typeof process.stdout.write;

  const require = createRequire(import.meta.url);
  const sea = { isSea: () => true, getRawAsset: (name: string) => readFileSync(join(folder, name)) };
  const module = { exports: {} };
  // Without a log, which is written in the background: whether that has ended by then depends on the machine.
  const words = ['serve', '--port', '0', '--data-dir', dataDir, '--json', '--log-level', 'error'];
  process.argv.splice(2, Number.POSITIVE_INFINITY, ...words);
  program.runInThisContext()(module.exports, (name: string) => (name === 'node:sea' ? sea : require(name)), module);
}
