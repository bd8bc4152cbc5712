import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { Maintenance, Restored } from '../../application/ports/maintenance.ts';
import type { PrivacyReports } from '../../application/privacy-reports.ts';
import type { Tenants } from '../../application/tenants.ts';
import { ConfigError, optionOf, settings } from '../../config.ts';
import { parseTenantId, type TenantId } from '../../domain/identity.ts';

/** Options as they were given, by their long name. */
export type Options = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

interface Option {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  readonly short?: string;
  readonly about: string;
}

/** What a command may use. */
export interface Context {
  readonly arguments_: readonly string[];
  readonly options: Options;
  /** Opens the storage on first use; it is closed when the command ends. There must be one, unless it may be made. */
  open(may?: 'create'): Promise<OpenServices>;
  /** Puts a backup in place of the records, or of the keys; see `restoreFile`. */
  restore(...what: Parameters<Restore>): ReturnType<Restore>;
  /** What this program is. */
  about(): Promise<About>;
  /** Copies a deployment to another place; see `moveDeployment`. */
  move(...sides: Parameters<Move>): ReturnType<Move>;
  /** Prints the command's result: `value` as JSON with `--json`, else `text`. Called once at most. */
  print(value: unknown, text: string): void;
}

interface OpenServices {
  readonly tenants: Tenants;
  readonly erasures: PrivacyReports;
  readonly maintenance: Maintenance;
  /** What was found and mended when it was opened, which nobody who opens it later will hear of. */
  readonly recovered: readonly string[];
  close(): Promise<void>;
}
type Restore = (part: 'data' | 'keys', file: string, evenUnreadable: boolean) => Promise<Restored>;

/** What a program is: its versions, and those of what it consists of. */
export interface About {
  readonly version: string;
  readonly commit: string;
  readonly runtime: string;
  readonly sqlite: string;
  /** How many steps of the schema it knows, for each part. */
  readonly schema: { readonly data: number; readonly keys: number };
}
interface Place {
  readonly url: string;
  readonly keysUrl?: string | undefined;
}
type Move = (
  from: Place,
  to: Place,
  onProgress: (progress: { readonly table: string; readonly done: number; readonly total: number }) => void,
) => Promise<Readonly<Record<string, number>>>;

/** What commands work on, as the program's composition makes it of the options. */
interface Deployment {
  open(options: Options, mayCreate: boolean): Promise<OpenServices>;
  restore(options: Options, ...what: Parameters<Restore>): ReturnType<Restore>;
  about(): Promise<About>;
  move(options: Options, ...sides: Parameters<Move>): ReturnType<Move>;
}

export interface Command {
  /** Words that select it, e.g. `key issue`. */
  readonly name: string;
  /** Its positional arguments, as shown by `--help`. */
  readonly usage: string;
  readonly about: string;
  readonly options: Readonly<Record<string, Option>>;
  run(context: Context): Promise<void>;
}

/** A mistake of the person at the keyboard, or an answer they will not like: one line, exit code 1. */
export class CommandError extends Error {}
/** A command line that makes no sense: exit code 2. */
export class UsageError extends CommandError {}

const common: Record<string, Option> = {
  json: { type: 'boolean', about: 'one JSON value on standard output' },
  help: { type: 'boolean', short: 'h', about: 'this text' },
};
/** Where the data is: every command that opens it takes these. */
export const storageOptions: Record<string, Option> = settingOptions([
  'C2A_DATA_DIR',
  'C2A_DATABASE_URL',
  'C2A_KEYS_DATABASE_URL',
  'C2A_MASTER_KEY_FILE',
  'C2A_ENVIRONMENT',
]);

export function settingOptions(variables: readonly (keyof typeof settings.properties)[]): Record<string, Option> {
  return Object.fromEntries(
    variables.map((variable) => {
      const { description, default: value } = settings.properties[variable];
      const { allowed } = settings.properties[variable] as unknown as { allowed?: string };
      const says = [
        description,
        allowed && `Allowed: ${allowed}.`,
        value !== '' && `Default: ${value}.`,
        `(${variable})`,
      ];
      return [optionOf(variable), { type: 'string', about: says.filter(Boolean).join(' ') }];
    }),
  );
}

/** Runs the command that the words name. Exit code: 0 done, 1 refused or failed, 2 no sense. */
export async function runCommand(
  words: readonly string[],
  commands: readonly Command[],
  deployment: Deployment,
): Promise<number> {
  const wantsJson = words.includes('--json');
  let opened: Promise<OpenServices> | undefined;
  // Whoever has read enough (`… | head`) is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  try {
    const command = select(words, commands);
    if (command === undefined) {
      process.stdout.write(overview(commands));
      return 0;
    }
    const { values, positionals } = parse(words.slice(command.name.split(' ').length), command);
    if (values.help) {
      process.stdout.write(manual(command));
      return 0;
    }
    await command.run({
      arguments_: positionals,
      options: values,
      open(may) {
        opened ??= deployment.open(values, may === 'create').then((services) => {
          for (const what of services.recovered) process.stderr.write(`c2a: ${what}\n`);
          return services;
        });
        return opened;
      },
      restore: (...what) => deployment.restore(values, ...what),
      about: deployment.about,
      move: (...sides) => deployment.move(values, ...sides),
      print: (value, text) => process.stdout.write(`${values.json ? JSON.stringify(value) : text}\n`),
    });
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const problems = error instanceof ConfigError ? error.problems : [describe(error)];
    if (wantsJson) process.stdout.write(`${JSON.stringify({ error: problems.join('; ') })}\n`);
    for (const problem of problems) process.stderr.write(`c2a: ${problem}\n`);
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
  } finally {
    await (await opened?.catch(() => undefined))?.close();
  }
}

/** Expected refusals speak for themselves; a failure shows its cause too. */
function describe(error: Error): string {
  if (error instanceof CommandError) return error.message;
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function select(words: readonly string[], commands: readonly Command[]): Command | undefined {
  const command = commands.find(({ name }) => name.split(' ').every((word, index) => word === words[index]));
  if (command !== undefined) return command;
  const [first, second] = words;
  const asksForHelp = (word: string | undefined) => word === undefined || /^(-h|--help|help)$/.test(word);
  const isGroup = commands.some(({ name }) => name.startsWith(`${first} `));
  if (asksForHelp(first) || (isGroup && asksForHelp(second))) return undefined;
  throw new UsageError(`no such command; see 'c2a --help'`);
}

function parse(words: readonly string[], command: Command) {
  const options = Object.fromEntries(
    Object.entries({ ...command.options, ...common }).map(([name, { type, multiple = false, short }]) => [
      name,
      { type, multiple, ...(short && { short }) },
    ]),
  ) satisfies ParseArgsConfig['options'];
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: joinValues(words, options), options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}; see 'c2a ${command.name} --help'`);
  }
  const known = (command.usage.split('--')[0]?.match(/</g) ?? []).length;
  if (parsed.positionals.length > known) throw new UsageError(`too many arguments; see 'c2a ${command.name} --help'`);
  return parsed;
}

/** `--option -value` as `--option=-value`: a value may begin with a dash, as a public key in base64url may. */
function joinValues(words: readonly string[], options: NonNullable<ParseArgsConfig['options']>): string[] {
  const joined: string[] = [];
  for (const word of words) {
    const last = joined.at(-1) ?? '';
    const wantsValue = last.startsWith('--') && options[last.slice(2)]?.type === 'string';
    if (wantsValue && /^-[^-h]|^-h./.test(word)) joined[joined.length - 1] = `${last}=${word}`;
    else joined.push(word);
  }
  return joined;
}

function overview(commands: readonly Command[]): string {
  const lines = commands.map(({ name, usage, about }) => `  ${`${name} ${usage}`.padEnd(28)} ${about}`);
  return `usage: c2a <command> [options]\n\n${lines.join('\n')}\n\n'c2a <command> --help' says more.\n`;
}

function manual({ name, usage, about, options }: Command): string {
  const lines = Object.entries({ ...options, ...common }).map(([option, { type, about }]) => {
    const shown = type === 'string' ? `--${option} <value>` : `--${option}`;
    return `  ${shown.padEnd(38)} ${about}`;
  });
  return `usage: c2a ${name} ${usage} [options]\n\n${about}\n\n${lines.join('\n')}\n`;
}

/** The positional arguments, of which there must be so many. */
export function exactly(count: number, { arguments_ }: Context, what: string): readonly string[] {
  if (arguments_.length !== count) throw new UsageError(`expected ${what}`);
  return arguments_;
}

/** `--tenant`, where it is given. */
export function tenantOption({ options: { tenant } }: Context): TenantId | undefined {
  return typeof tenant === 'string' ? toTenantId(tenant) : undefined;
}

export function toTenantId(text: string): TenantId {
  const id = parseTenantId(text);
  if (id === undefined) throw new UsageError('a tenant is named by 1 to 63 of a-z, 0-9, "-" and "_"');
  return id;
}
