import type { Command } from 'commander';
import { embeddedText, isBinary } from '../../binary/embedded.ts';
import { readConfig } from '../../config.ts';
import { systemProblem } from '../system-errors.ts';
import { CommandError, type Context, UsageError } from './context.ts';
import { withSettings } from './options.ts';

/** Time limit for the server's response. */
const healthTimeoutMs = 3_000;

/** `health`, `licenses` and `version`, which do not open the storage. */
export function addServerCommands(program: Command, { about, print }: Context): void {
  withSettings(program.command('health'), ['C2A_HOST', 'C2A_PORT'])
    .description('Check that the configured server is alive. Exit code 0 if it is, else 1.')
    .option('--ready', 'also check that it accepts writes')
    .action(async (options) => {
      const { host, port } = readConfig(options);
      if (port === 0) throw new UsageError('--port is required: a server with port 0 listens on any free port');
      const url = `http://${reachable(host)}:${port}/${options.ready ? 'readyz' : 'healthz'}`;
      const { status } = await fetch(url, { signal: AbortSignal.timeout(healthTimeoutMs) }).catch((error) => {
        throw new CommandError(
          `${url} does not answer: ${systemProblem(error) ?? error.cause?.message ?? error.message}`,
        );
      });
      if (status !== 200) throw new CommandError(`${url} answers ${status}`);
      print({ url, status }, `${url} answers ${status}`);
    });

  program
    .command('licenses')
    .description('Print the licences of everything in the binary.')
    .action(() => {
      if (!isBinary) throw new CommandError('only the binary embeds licences; see each package in node_modules');
      const licenses = embeddedText('licenses');
      print({ licenses }, licenses);
    });

  program
    .command('version')
    .description('Print the versions of the program, its runtime, SQLite and the schema. Same as --version.')
    .action(async () => {
      const facts = await about();
      const { version, commit, runtime, sqlite, schema } = facts;
      const lines = [
        `c2a-customers ${version}`,
        `commit ${commit}`,
        `runtime ${runtime}`,
        `SQLite ${sqlite}`,
        `schema ${schema.data} (records), ${schema.keys} (keys)`,
      ];
      print(facts, lines.join('\n'));
    });
}

/** The host to connect to: the loopback address for a server that listens on all addresses. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
