/** The settings of the service. No other file reads the environment. */
import { isIP } from 'node:net';
import { FormatRegistry, type Static, type StringOptions, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { environments } from './application/ports/tenant-directory.ts';

/** Schemas of single settings. Error messages quote the allowed values. */
const text = (description: string, fallback: string, allowed: string, rule: StringOptions = { minLength: 1 }) =>
  Type.String({ ...rule, description, default: fallback, allowed });

const integer = (description: string, fallback: number, minimum: number, maximum: number, note = '') =>
  Type.Integer({ description, default: fallback, minimum, maximum, allowed: `${minimum} to ${maximum}${note}` });

const choice = <const Values extends readonly string[]>(
  description: string,
  fallback: Values[number],
  values: Values,
) =>
  Type.Union(
    values.map((value) => Type.Literal(value as Values[number])),
    { description, default: fallback, allowed: `one of ${values.join(', ')}` },
  );

const databaseUrl = (description: string, allowed = 'a URL like C2A_DATABASE_URL, which must be set too') =>
  text(description, '', allowed, { format: 'c2a-database-url' });

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** All settings, by the name of their environment variable. */
export const settings = Type.Object({
  C2A_HOST: text('Address to listen on.', '127.0.0.1', 'an IP address or host name of this machine', {
    format: 'c2a-host',
  }),
  C2A_PORT: integer('Port to listen on.', 3000, 0, 65_535, ' (0: any free port)'),
  C2A_WORKERS: integer(
    'Processes that share the port and the database. One per core is enough.',
    1,
    1,
    256,
    ', and 1 with memory storage',
  ),
  C2A_STORAGE: choice('Where customers are stored. `memory` loses them at exit.', 'sqlite', ['sqlite', 'memory']),
  C2A_DATA_DIR: text(
    'Folder of the SQLite files.',
    './data',
    'a folder that this user may write to; it is created if missing',
  ),
  C2A_DATABASE_URL: databaseUrl(
    'A PostgreSQL database, used instead of SQLite.',
    'postgres://user:password@host:5432/database, or empty for SQLite or memory storage',
  ),
  C2A_KEYS_DATABASE_URL: databaseUrl(
    'A second PostgreSQL database for the keys alone, so that no backup or log of the records contains a key.',
  ),
  C2A_DATABASE_REPLICA_URL: databaseUrl(
    'A replica of the database, used for reads. Every commit then waits for the replica.',
  ),
  C2A_DATABASE_POOL_SIZE: integer('Maximum PostgreSQL connections of each process, per database.', 10, 1, 1000),
  C2A_DATABASE_TIMEOUT_MS: integer(
    'Timeout of a PostgreSQL statement, lock or connection attempt.',
    5_000,
    100,
    600_000,
  ),
  C2A_MASTER_KEY_FILE: text(
    'File of the master key. Default: `master.key` in the data folder.',
    '',
    'the path of a file with 64 hexadecimal digits; it is created with a new deployment',
    {},
  ),
  C2A_ENVIRONMENT: choice('Which API keys are accepted: `sk_dev_…` or `sk_live_…`.', 'sandbox', environments),
  C2A_PARTITION: text('The second part of every CustomerUrn.', '00', 'two digits', { pattern: '^\\d{2}$' }),
  C2A_LOG_LEVEL: choice('The least severe level to log.', 'info', logLevels),
  C2A_TRUST_PROXY: text(
    'Proxies whose `X-Forwarded-For` sets the address in the log.',
    'off',
    'off, loopback, or a list of addresses and networks such as 10.0.0.0/8,192.168.1.7',
    { format: 'c2a-proxies' },
  ),
  C2A_RATE_LIMIT: text('Requests per minute, for each API key in each process.', '60000', 'off, or 1 to 999999999', {
    pattern: '^(off|[1-9]\\d{0,8})$',
  }),
  C2A_TOMBSTONE_DAYS: integer(
    'How long a delete with a sourceRevision keeps late requests from bringing the customer back, in days.',
    30,
    1,
    3650,
  ),
  C2A_IMPORTS: integer('How many imports of one tenant may run at once, in each process.', 2, 1, 100),
  C2A_WEBHOOK_NETWORKS: text(
    'Networks outside the internet to which webhooks may be delivered.',
    'off',
    'off, or a list of addresses and networks such as 10.0.0.0/8,192.168.1.7',
    { format: 'c2a-networks' },
  ),
  C2A_BODY_LIMIT: integer('Maximum size of a request body in bytes.', 65_536, 1024, 1_048_576),
  C2A_HEADER_LIMIT: integer('Maximum size of the request line and headers together in bytes.', 16_384, 2048, 131_072),
  C2A_MAX_CONNECTIONS: integer('Maximum open connections. Further connections are closed at once.', 4096, 1, 1_000_000),
  C2A_HEADERS_TIMEOUT_MS: integer("Time limit for receiving a request's headers.", 10_000, 1000, 600_000),
  C2A_REQUEST_TIMEOUT_MS: integer('Time limit for receiving a whole request.', 30_000, 1000, 600_000),
  C2A_KEEP_ALIVE_TIMEOUT_MS: integer('How long an idle connection stays open.', 65_000, 1, 600_000),
  C2A_MAX_EVENT_LOOP_DELAY_MS: integer(
    'Mean delay of the event loop above which requests are refused with 503.',
    250,
    0,
    60_000,
    ' (0: never)',
  ),
  C2A_SHUTDOWN_TIMEOUT_MS: integer('Time limit for requests in flight after SIGTERM.', 10_000, 100, 600_000),
});

FormatRegistry.Set('c2a-host', isHost);
FormatRegistry.Set('c2a-proxies', isProxies);
FormatRegistry.Set('c2a-networks', (value) => value === 'off' || value.split(',').every(isNetwork));
FormatRegistry.Set('c2a-database-url', isDatabaseUrl);

/** Host names are not resolved here. A value of digits and dots must be an IP address. */
function isHost(value: string): boolean {
  return isIP(value) > 0 || (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(value) && !/^[\d.]+$/.test(value));
}

function isProxies(value: string): boolean {
  return value === 'off' || value === 'loopback' || value.split(',').every(isNetwork);
}

/** An address, or a network in CIDR notation (RFC 4632). */
function isNetwork(value: string): boolean {
  const [, address = '', prefix] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? [];
  const version = isIP(address);
  return version > 0 && Number(prefix ?? 0) <= (version === 4 ? 32 : 128);
}

/** libpq allows several hosts, which `URL` cannot parse, so the URL is checked with each host separately. */
function isDatabaseUrl(value: string): boolean {
  const [, head, hosts = '', tail = ''] = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(value) ?? [];
  return value === '' || (head !== undefined && hosts.split(',').every((host) => URL.canParse(head + host + tail)));
}

export type Variable = keyof Static<typeof settings>;
type Values = Readonly<Static<typeof settings>>;
type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Tail>>}`
  : Lowercase<Name>;

/** The settings by their name in code: `C2A_DATA_DIR` is `dataDir`. */
export type Config = {
  readonly [V in Variable as V extends `C2A_${infer Name}` ? CamelCase<Name> : never]: Values[V];
};

export const variables = Object.keys(settings.properties) as readonly Variable[];

/** The command-line option of a variable: `C2A_DATA_DIR` is `--data-dir`. */
export const optionOf = (variable: Variable): string =>
  variable.slice('C2A_'.length).toLowerCase().replaceAll('_', '-');

/** The name in {@link Config}, which is also commander's name for the option. */
const nameOf = (variable: Variable): string =>
  optionOf(variable).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());

/** All errors of a configuration, one line each, with the variable and its allowed values. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * Reads the configuration. A command-line option takes precedence over its variable; an empty variable counts as unset.
 *
 * @param options values of command-line options, by their name in {@link Config}; other members are ignored
 * @throws ConfigError with all errors
 */
export function readConfig(
  options: Readonly<Record<string, unknown>> = {},
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const given = variables.map((variable) => {
    const value = options[nameOf(variable)] ?? (environment[variable] || undefined);
    return [variable, settings.properties[variable].type === 'integer' ? parseDigits(value) : value];
  });
  const values = Value.Default(settings, Object.fromEntries(given)) as Values;
  const invalid = new Set<string>(contradictions(values));
  for (const { path } of Value.Errors(settings, values)) invalid.add(path.slice('/'.length));
  const unknown = Object.keys(environment).filter((name) => /^C2A_/.test(name) && !(name in settings.properties));
  const problems = [
    ...variables.filter((variable) => invalid.has(variable)).map(requirement),
    ...unknown.map((name) => `${name} is not a setting; the settings are ${variables.join(', ')}`),
  ];
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(Object.fromEntries(variables.map((variable) => [nameOf(variable), values[variable]]))) as Config;
}

/** Converts plain digits to a number. Other text is returned as is, and then rejected. (`Number` would accept `0x10`.) */
const parseDigits = (value: unknown): unknown =>
  typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;

/** Settings that are valid alone but contradict each other. */
function contradictions(values: Values): Variable[] {
  const isMemory = values.C2A_STORAGE === 'memory';
  const isPostgres = values.C2A_DATABASE_URL !== '';
  const wrong: Partial<Record<Variable, boolean>> = {
    C2A_KEYS_DATABASE_URL: !isPostgres && values.C2A_KEYS_DATABASE_URL !== '',
    C2A_DATABASE_REPLICA_URL: !isPostgres && values.C2A_DATABASE_REPLICA_URL !== '',
    // Memory storage would ignore the URL, and its data is lost at exit.
    C2A_DATABASE_URL: isMemory && isPostgres,
    // Memory is not shared between processes.
    C2A_WORKERS: isMemory && values.C2A_WORKERS > 1,
  };
  return variables.filter((variable) => wrong[variable]);
}

/** The message for a wrong value, e.g. `C2A_PORT (--port) must be 0 to 65535`. */
export const requirement = (variable: Variable): string =>
  `${variable} (--${optionOf(variable)}) must be ${settings.properties[variable].allowed}`;

/** The configuration without passwords, for printing. */
export const withoutSecrets = (config: Config): Config => ({
  ...config,
  databaseUrl: withoutPassword(config.databaseUrl),
  keysDatabaseUrl: withoutPassword(config.keysDatabaseUrl),
  databaseReplicaUrl: withoutPassword(config.databaseReplicaUrl),
});

/** Masks up to the last `@`, because a password that is not percent-encoded may contain `@`. */
const withoutPassword = (url: string): string =>
  url.replace(/(\/\/[^:@/]*:).*@/s, '$1***@').replace(/([?&](?:ssl)?password=)[^&]*/gi, '$1***');
