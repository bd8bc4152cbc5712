/** argv → command → exit code. */
import cluster from 'node:cluster';
import { commands } from './adapters/cli/commands.ts';
import { type Options, runCommand } from './adapters/cli/run.ts';
import { readConfig } from './config.ts';
import { composition } from './process/composition.ts';
import { serve } from './process/serve.ts';

async function composed(options: Options, mayCreate: boolean) {
  const config = readConfig(options);
  return { config, ...(await composition(config, mayCreate)) };
}

runCommand(process.argv.slice(2), [serve, ...commands], {
  async open(options, mayCreate) {
    const { config, openServices } = await composed(options, mayCreate);
    if (config.storage === 'memory')
      throw new Error('what is kept in memory ends with its process: no command can see it');
    return openServices(config, { mayCreate });
  },
  async restore(options, ...what) {
    const { config, restorePart } = await composed(options, false);
    return restorePart(config, ...what);
  },
  async move(options, ...sides) {
    const { config, transfer } = await composed(options, false);
    return transfer(config, ...sides);
  },
  about: async () => (await import('./process/about.ts')).about(),
}).then((code) => {
  process.exitCode = code;
  // The channel to the process that watches over it would keep a worker alive.
  if (cluster.isWorker) process.exit();
});
