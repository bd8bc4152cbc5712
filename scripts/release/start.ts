/**
 * The binary's entry: runs the program's code with the code cache of `compile.ts`. If V8 rejects the cache, it compiles the
 * code, and a warning is printed.
 */
import { constants, Script } from 'node:vm';
import { embedded } from '../../src/binary/embedded.ts';

const source = embedded('code', (bytes) => bytes.toString('latin1'));
const program = embedded(
  'compiled',
  (cachedData) =>
    new Script(source, {
      filename: 'c2a.cjs',
      cachedData,
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    }),
);
if (program.cachedDataRejected) process.emitWarning('V8 rejected the embedded code cache; this start is slow');
const module = { exports: {} };
program.runInThisContext()(module.exports, require, module);
