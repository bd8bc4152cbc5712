/** argv → command → exit code. */
import cluster from 'node:cluster';
import { commands } from './adapters/cli/commands.ts';
import { runCommand } from './adapters/cli/run.ts';
import { moveDeployment, openServices, restoreFile } from './compose.ts';
import { readConfig } from './config.ts';
import { serve } from './serve.ts';

process.exitCode = await runCommand(process.argv.slice(2), [serve, ...commands], {
  open: (options, mayCreate) => openServices(readConfig(options), { mayCreate }),
  restore: (options, ...what) => restoreFile(readConfig(options), ...what),
  move: (options, ...sides) => moveDeployment(readConfig(options), ...sides),
});
// The channel to the process that watches over it would keep a worker alive.
if (cluster.isWorker) process.exit();
