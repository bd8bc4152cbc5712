/** The only reader of the environment: every setting with its meaning, what is allowed, and its default. */
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { environments } from './application/ports.ts';

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
    pattern: '^$|^postgres(ql)?://',
    allowed: 'postgres://user:password@host:5432/database, or empty for SQLite',
    description: 'A PostgreSQL database in place of SQLite.',
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
    pattern: '^(off|loopback|[0-9a-fA-F.:/]+(,[0-9a-fA-F.:/]+)*)$',
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
    minimum: 0,
    maximum: 600_000,
    description: 'Time that an idle connection is kept open.',
  }),
  C2A_MAX_EVENT_LOOP_DELAY_MS: whole({
    default: 500,
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
  const values = Value.Convert(settings, Value.Default(settings, given)) as Static<typeof settings>;
  const wrong = new Set([...Value.Errors(settings, values)].map(({ path }) => path.slice(1)));
  if (wrong.size > 0) throw new ConfigError([...wrong].map(explain));
  return Object.freeze(
    Object.fromEntries(variables.map((variable) => [camelCase(withoutPrefix(variable)), values[variable]])),
  ) as Config;
}

const camelCase = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

function explain(variable: string): string {
  const { allowed } = settings.properties[variable as Variable] as unknown as { allowed: string };
  return `${variable} (--${optionOf(variable)}) must be ${allowed}`;
}
