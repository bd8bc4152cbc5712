/** Runs a command of the command line, and exits with its code. */
import cluster from 'node:cluster';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import type { Deployment } from './adapters/cli/context.ts';
import { runProgram } from './adapters/cli/program.ts';
import { isBinary } from './binary/embedded.ts';
import { readConfig } from './config.ts';
import { loadCompose } from './process/load-compose.ts';
import { addServeCommand } from './process/serve.ts';

// Caches compiled modules. The binary needs no cache, because it embeds compiled code.
if (!isBinary) enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/compiled'));

const deployment: Deployment = {
  async open(options, mayCreate = false) {
    const config = readConfig(options);
    if (config.storage === 'memory') throw new Error('memory storage is per process; commands cannot open it');
    return (await loadCompose(config, mayCreate)).openServices(config, { mayCreate });
  },
  async restore(options, ...args) {
    const config = readConfig(options);
    return (await loadCompose(config, false)).restorePart(config, ...args);
  },
  async transfer(options, ...args) {
    const config = readConfig(options);
    return (await loadCompose(config, false)).transfer(config, ...args);
  },
  async citusStatements(options, isForKeys) {
    const config = readConfig(options);
    return (await loadCompose(config, false)).citusStatements(config, isForKeys);
  },
  about: async () => (await import('./process/about.ts')).about(),
};

runProgram(process.argv.slice(2), deployment, addServeCommand).then((code) => {
  process.exitCode = code;
  // The IPC channel to the supervisor would keep a worker alive.
  if (cluster.isWorker) process.exit();
});
