/** argv → command → exit code. */
import { commands } from './adapters/cli/commands.ts';
import { runCommand } from './adapters/cli/run.ts';
import { composition } from './composition.ts';
import { readConfig } from './config.ts';
import { serve } from './serve.ts';

runCommand(process.argv.slice(2), [serve, ...commands], {
  async open(options, mayCreate) {
    const config = readConfig(options);
    const { openServices } = await composition(config, mayCreate);
    return openServices(config, { mayCreate });
  },
  async restore(options, ...what) {
    const config = readConfig(options);
    const { restoreFile } = await composition(config, false);
    return restoreFile(config, ...what);
  },
  about: async () => (await import('./about.ts')).about(),
}).then((code) => {
  process.exitCode = code;
});
