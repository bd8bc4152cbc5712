/** The only reader of the environment: every setting with its meaning, what is allowed, and its default. */

import { lookup } from 'node:dns/promises';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { environments } from './application/ports/tenant-directory.ts';

const storages = ['sqlite', 'memory'] as const;
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const oneOf = <const Values extends readonly string[]>(
  values: Values,
  options: { default: Values[number]; description: string },
) =>
  Type.Union(
    values.map((value) => Type.Literal(value as Values[number])),
    { ...options, allowed: values.join(', ') },
  );

interface Bounds {
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly description: string;
}
/** A whole number. (`Integer` would cut off a fraction instead of refusing it.) */
const whole = (bounds: Bounds, allowed = `a whole number from ${bounds.minimum} to ${bounds.maximum}`) =>
  Type.Number({ ...bounds, multipleOf: 1, allowed });

/** What of a setting is not said by its schema. */
const rules: Partial<Record<string, (text: string) => boolean>> = {
  // A name is only known when it is asked for; what looks like an address must be one.
  C2A_HOST: (text) => isIP(text) > 0 || (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(text) && !/^[\d.]+$/.test(text)),
  C2A_TRUST_PROXY: (text) => text === 'off' || text === 'loopback' || text.split(',').every(isNetwork),
  C2A_DATABASE_URL: isDatabaseUrl,
  C2A_KEYS_DATABASE_URL: isDatabaseUrl,
  C2A_DATABASE_REPLICA_URL: isDatabaseUrl,
};

function isNetwork(text: string): boolean {
  const [address = '', prefix = '', ...more] = text.split('/');
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] as number;
  return bits > 0 && more.length === 0 && (!text.includes('/') || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits));
}

/** Several hosts, as libpq has them, are more than `URL` can read. */
function isDatabaseUrl(text: string): boolean {
  const [, head, hosts = '', tail = ''] = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(text) ?? [];
  return text === '' || (head !== undefined && hosts.split(',').every((host) => URL.canParse(head + host + tail)));
}

/** By variable. `allowed` is what an operator reads who got it wrong. */
export const settings = Type.Object({
  C2A_HOST: Type.String({
    default: '127.0.0.1',
    minLength: 1,
    allowed: 'an IP address or host name of this machine',
    description: 'Address to listen on.',
  }),
  C2A_PORT: whole(
    { default: 3000, minimum: 0, maximum: 65_535, description: 'Port to listen on.' },
    '0 to 65535; 0 takes a free one',
  ),
  C2A_WORKERS: whole(
    {
      default: 1,
      minimum: 1,
      maximum: 256,
      description: 'Processes that share the port and the database; one for each core is enough.',
    },
    'a whole number from 1 to 256, and 1 where customers are kept in memory',
  ),
  C2A_STORAGE: oneOf(storages, {
    default: 'sqlite',
    description: 'Where customers are kept; `memory` forgets them at exit.',
  }),
  C2A_DATA_DIR: Type.String({
    default: './data',
    minLength: 1,
    allowed: 'a folder that this user may write to; it is made where it is missing',
    description: 'Folder of the SQLite files.',
  }),
  C2A_DATABASE_URL: Type.String({
    default: '',
    allowed: 'postgres://user:password@host:5432/database, or empty for SQLite and memory',
    description: 'A PostgreSQL database in place of SQLite.',
  }),
  C2A_KEYS_DATABASE_URL: Type.String({
    default: '',
    allowed: 'as C2A_DATABASE_URL, which must be set as well',
    description: 'A PostgreSQL database for the keys alone, so that no copy of the records or of its log holds one.',
  }),
  C2A_DATABASE_REPLICA_URL: Type.String({
    default: '',
    allowed: 'as C2A_DATABASE_URL, which must be set as well',
    description: 'A replica of the database to read customers from, while every commit waits for it.',
  }),
  C2A_DATABASE_POOL_SIZE: whole({
    default: 10,
    minimum: 1,
    maximum: 1000,
    description: 'Connections of this process to PostgreSQL, at most.',
  }),
  C2A_DATABASE_TIMEOUT_MS: whole({
    default: 5_000,
    minimum: 100,
    maximum: 600_000,
    description: 'Time that PostgreSQL has for a statement, a lock or a connection.',
  }),
  C2A_MASTER_KEY_FILE: Type.String({
    default: '',
    allowed: 'the path of a file with 64 hexadecimal digits; it is made where there is no data yet',
    description: 'File of the master key; `master.key` in the data folder unless given.',
  }),
  C2A_ENVIRONMENT: oneOf(environments, {
    default: 'sandbox',
    description: 'Which API keys count: `sk_dev_…` or `sk_live_…`.',
  }),
  C2A_PARTITION: Type.String({
    default: '00',
    pattern: '^\\d{2}$',
    allowed: 'two digits',
    description: 'The second part of every CustomerUrn.',
  }),
  C2A_LOG_LEVEL: oneOf(logLevels, { default: 'info', description: 'The least severe line to log.' }),
  C2A_TRUST_PROXY: Type.String({
    default: 'off',
    allowed: 'off, loopback, or a list of addresses and networks such as 10.0.0.0/8,192.168.1.7',
    description: 'Proxies whose `X-Forwarded-For` is believed (for the address in the log).',
  }),
  C2A_RATE_LIMIT: Type.String({
    default: '60000',
    pattern: '^(off|[1-9]\\d{0,8})$',
    allowed: 'off, or a whole number from 1',
    description: 'Requests a minute for each API key, in each process.',
  }),
  C2A_BODY_LIMIT: whole({
    default: 65_536,
    minimum: 1024,
    maximum: 1_048_576,
    description: 'Bytes of a body.',
  }),
  C2A_HEADER_LIMIT: whole({
    default: 16_384,
    minimum: 2048,
    maximum: 131_072,
    description: 'Bytes of request line and headers together.',
  }),
  C2A_MAX_CONNECTIONS: whole({
    default: 4096,
    minimum: 1,
    maximum: 1_000_000,
    description: 'Open connections; more are closed at once.',
  }),
  C2A_HEADERS_TIMEOUT_MS: whole({
    default: 10_000,
    minimum: 1000,
    maximum: 600_000,
    description: 'Time for the headers of a request to arrive.',
  }),
  C2A_REQUEST_TIMEOUT_MS: whole({
    default: 30_000,
    minimum: 1000,
    maximum: 600_000,
    description: 'Time for a whole request to arrive.',
  }),
  C2A_KEEP_ALIVE_TIMEOUT_MS: whole({
    default: 65_000,
    minimum: 1,
    maximum: 600_000,
    description: 'Time that an idle connection is kept open.',
  }),
  C2A_MAX_EVENT_LOOP_DELAY_MS: whole({
    default: 250,
    minimum: 0,
    maximum: 60_000,
    description: 'Mean delay of the event loop beyond which requests are refused with 503; 0 for never.',
  }),
  C2A_SHUTDOWN_TIMEOUT_MS: whole({
    default: 10_000,
    minimum: 100,
    maximum: 600_000,
    description: 'Time for requests to end after SIGTERM.',
  }),
});

type Variable = keyof Static<typeof settings>;
type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Tail>>}`
  : Lowercase<Name>;

/** The settings by their name in the code: `C2A_DATA_DIR` is `dataDir`. */
export type Config = {
  readonly [V in Variable as V extends `C2A_${infer Name}` ? CamelCase<Name> : never]: Static<typeof settings>[V];
};

const withoutPrefix = (variable: string): string => variable.slice('C2A_'.length).toLowerCase();

/** Command-line option of a variable: `C2A_DATA_DIR` is `--data-dir`. */
export const optionOf = (variable: string): string => withoutPrefix(variable).replaceAll('_', '-');

/** All that is wrong with the configuration, one line each, with the variable and what is allowed. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * Reads the configuration: an option given on the command line wins over the environment; a variable that is set but
 * empty counts as unset. Throws `ConfigError` with every mistake at once.
 */
export function readConfig(
  options: Readonly<Record<string, unknown>> = {},
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const variables = Object.keys(settings.properties) as Variable[];
  const given = Object.fromEntries(
    variables.map((variable) => [variable, options[optionOf(variable)] ?? (environment[variable] || undefined)]),
  );
  const values = Value.Convert(settings, Value.Default(settings, { ...given })) as Static<typeof settings>;
  const wrong = new Set([...Value.Errors(settings, values)].map(({ path }) => path.slice(1)));
  for (const variable of variables) {
    const text = String(given[variable] ?? '');
    const { type } = settings.properties[variable];
    // A number is written in digits: `true` and `0x10` would be taken for one.
    if (type === 'number' && text !== '' && !/^\d{1,10}$/.test(text)) wrong.add(variable);
    if (text !== '' && rules[variable]?.(text) === false) wrong.add(variable);
  }
  for (const also of ['C2A_KEYS_DATABASE_URL', 'C2A_DATABASE_REPLICA_URL'] as const) {
    if (values.C2A_DATABASE_URL === '' && values[also] !== '') wrong.add(also);
  }
  // One of the two is a mistake, and what is in memory is lost.
  if (values.C2A_STORAGE === 'memory' && values.C2A_DATABASE_URL !== '') wrong.add('C2A_DATABASE_URL');
  // Each would have a memory of its own.
  if (values.C2A_STORAGE === 'memory' && values.C2A_WORKERS > 1) wrong.add('C2A_WORKERS');
  const unknown = Object.keys(environment).filter((name) => /^C2A_/.test(name) && !(name in settings.properties));
  const problems = [
    ...variables.filter((variable) => wrong.has(variable)).map(explain),
    ...unknown.map((name) => `${name} is no setting; they are ${variables.join(', ')}`),
  ];
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(
    Object.fromEntries(variables.map((variable) => [camelCase(withoutPrefix(variable)), values[variable]])),
  ) as Config;
}

/**
 * What of a configuration can only be seen on this machine: one line for each problem. Nothing is made or changed. What
 * others may change meanwhile is checked again when it is used.
 */
export async function checkSurroundings({ host, storage, dataDir, masterKeyFile }: Config): Promise<string[]> {
  const problems: string[] = [];
  const say = (variable: Variable, what: string) => problems.push(`${explain(variable)}: ${what}`);
  if (isIP(host) === 0) await lookup(host).catch(() => say('C2A_HOST', `${host} is not known`));
  if (storage === 'memory') return problems;
  const inTheWay = writableFolder(resolve(dataDir));
  if (inTheWay !== undefined) say('C2A_DATA_DIR', inTheWay);
  if (masterKeyFile !== '') {
    const path = resolve(masterKeyFile);
    const trouble = existsSync(path) ? keyFile(path) : writableFolder(dirname(path), 'there');
    if (trouble !== undefined) say('C2A_MASTER_KEY_FILE', trouble);
  }
  return problems;
}

/** Why a folder cannot be used, or made; undefined where it can. @param must whether it has to be there */
function writableFolder(path: string, must?: 'there'): string | undefined {
  if (!existsSync(path)) return must || dirname(path) === path ? `${path} is not there` : writableFolder(dirname(path));
  if (!statSync(path).isDirectory()) return `${path} is no folder`;
  return may(path, constants.W_OK | constants.X_OK) ? undefined : `${path} cannot be written to`;
}

/** 64 digits and the end of a line. */
const maxKeyFileBytes = 66;

/** Why a file cannot be that of a master key, by what can be said without reading it; an empty one gets its key at the first start. */
function keyFile(path: string): string | undefined {
  const stat = statSync(path);
  if (!stat.isFile()) return `${path} is no file`;
  if (stat.size > maxKeyFileBytes) return `${path} holds more than one line of 64 hexadecimal digits`;
  return may(path, constants.R_OK) ? undefined : `${path} cannot be read`;
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** A configuration as it may be shown. */
export const withoutSecrets = (config: Config): Config => ({
  ...config,
  databaseUrl: withoutPassword(config.databaseUrl),
  keysDatabaseUrl: withoutPassword(config.keysDatabaseUrl),
  databaseReplicaUrl: withoutPassword(config.databaseReplicaUrl),
});

/** Of a password that is not encoded, as it must be, whatever may be part of it goes too. */
const withoutPassword = (url: string): string =>
  url.replace(/(\/\/[^:@/]*:).*@/s, '$1***@').replace(/([?&](?:ssl)?password=)[^&]*/gi, '$1***');

const camelCase = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

function explain(variable: string): string {
  const { allowed } = settings.properties[variable as Variable] as unknown as { allowed: string };
  return `${variable} (--${optionOf(variable)}) must be ${allowed}`;
}
