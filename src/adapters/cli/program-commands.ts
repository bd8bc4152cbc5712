import { embeddedText, isBinary } from '../../binary/embedded.ts';
import { readConfig } from '../../config.ts';
import { type Command, CommandError, settingOptions, UsageError } from './run.ts';

/** How long a server may take to say that it is alive. */
const healthTimeoutMs = 3_000;

/** What is asked of the program itself, or of a server that runs; none needs the data. */
export const programCommands: readonly Command[] = [
  {
    name: 'health',
    usage: '',
    about: 'Ask the server of this configuration whether it is alive. Exit code 0 where it is, else 1.',
    options: {
      ...settingOptions(['C2A_HOST', 'C2A_PORT']),
      ready: { type: 'boolean', about: 'ask whether it takes writes, too' },
    },
    async run({ options, print }) {
      const { host, port } = readConfig(options);
      if (port === 0) throw new UsageError('--port is needed: a server whose port is 0 has taken a free one');
      const url = `http://${reachable(host)}:${port}/${options.ready ? 'readyz' : 'healthz'}`;
      const { status } = await fetch(url, { signal: AbortSignal.timeout(healthTimeoutMs) }).catch((error) => {
        throw new CommandError(`${url} does not answer: ${error.cause?.message ?? error.message}`);
      });
      if (status !== 200) throw new CommandError(`${url} answers ${status}`);
      print({ url, status }, `${url} answers ${status}`);
    },
  },
  {
    name: 'licenses',
    usage: '',
    about: 'Print the licences of everything that is inside the binary.',
    options: {},
    async run({ print }) {
      if (!isBinary) throw new CommandError('this is no binary: each package in node_modules has its licence with it');
      const licenses = embeddedText('licenses');
      print({ licenses }, licenses);
    },
  },
  {
    name: '--version',
    usage: '',
    about: 'Print the versions of the program, of what it runs on, and of the schema that it writes.',
    options: {},
    async run({ about, print }) {
      const all = await about();
      const { version, commit, runtime, sqlite, schema } = all;
      print(
        all,
        [
          `c2a-customers ${version}`,
          `commit ${commit}`,
          `runtime ${runtime}`,
          `SQLite ${sqlite}`,
          `schema ${schema.data} (records), ${schema.keys} (keys)`,
        ].join('\n'),
      );
    },
  },
];

/** Where a server that listens on all addresses can be asked. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
