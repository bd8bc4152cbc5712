/**
 * What the runtime starts in the binary: the program's code, with what V8 has made of it at build time (`compile.ts`). Where
 * V8 does not take that, it compiles anew, the start takes longer, and a warning says so.
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
if (program.cachedDataRejected)
  process.emitWarning('what was compiled at build time was not taken: this start is slow');
const module = { exports: {} };
program.runInThisContext()(module.exports, require, module);
