import { Command, CommanderError } from 'commander';
import { ConfigError } from '../../config.ts';
import { systemProblem } from '../system-errors.ts';
import { addApiKeyCommands } from './api-keys.ts';
import { addAuditCommand } from './audit.ts';
import { CommandError, type Context, type Deployment, type OpenServices, UsageError } from './context.ts';
import { addCustomerCommands } from './customers.ts';
import { addExportCommand } from './export.ts';
import { addImportCommand } from './import/command.ts';
import { addMaintenanceCommands } from './maintenance.ts';
import { addPrivacyCommands } from './privacy-reports.ts';
import { addServerCommands } from './server.ts';
import { addTenantCommands } from './tenants.ts';
import { addWebhookCommands } from './webhooks.ts';

/**
 * Runs the command given by the words. With `--json` it prints one JSON value, `{"error": …}` for a failure.
 *
 * @param addServe adds the `serve` command, which this layer must not import
 * @returns the exit code: 0 success, 1 the command failed, 2 the command line or the configuration is wrong
 */
export async function runProgram(
  words: readonly string[],
  deployment: Deployment,
  addServe: (program: Command, context: Context) => void,
): Promise<number> {
  const isJson = words.includes('--json');
  // A reader such as `head` may close the pipe early.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  let opened: OpenServices | undefined;
  let exitCode = 0;
  const context: Context = {
    ...deployment,
    async open(options, mayCreate) {
      opened = await deployment.open(options, mayCreate);
      for (const change of opened.recovered) process.stderr.write(`c2a: ${change}\n`);
      return opened;
    },
    print(value, text, code = 0) {
      process.stdout.write(`${isJson ? JSON.stringify(value) : text}\n`);
      exitCode = code;
    },
  };
  const program = createProgram(context, addServe);
  try {
    refuseMissingValues(words, program);
    const [first, ...others] = words;
    await program.parseAsync(first === '--version' ? ['version', ...others] : words, { from: 'user' });
    return exitCode;
  } catch (error) {
    return report(error, isJson);
  } finally {
    await opened?.close();
  }
}

/** Creates all commands, to run or to list them. */
export function createProgram(context: Context, addServe: (program: Command, context: Context) => void): Command {
  const program = new Command('c2a').usage('<command> [options]').exitOverride();
  // Help is written to standard output. Commander's errors are printed by `report`.
  program.configureOutput({ writeErr: (text) => process.stdout.write(text), outputError: () => {} });
  program.configureHelp({
    visibleCommands: leaves,
    subcommandTerm: (command) => `${nameOf(command)} ${command.usage().replace('[options]', '').trim()}`.trim(),
  });
  addServe(program, context);
  addTenantCommands(program, context);
  addApiKeyCommands(program, context);
  addWebhookCommands(program, context);
  addCustomerCommands(program, context);
  addPrivacyCommands(program, context);
  addAuditCommand(program, context);
  addImportCommand(program, context);
  addExportCommand(program, context);
  addMaintenanceCommands(program, context);
  addServerCommands(program, context);
  for (const group of program.commands.filter(({ commands }) => commands.length > 0)) {
    group.helpInformation = () => program.helpInformation();
  }
  for (const command of leaves(program)) {
    command.option('--json', 'print one JSON value on standard output').allowExcessArguments(false);
  }
  return program;
}

/** The commands that have no subcommands, such as `tenant add` but not `tenant`, in their order. */
export const leaves = ({ commands }: Command): Command[] =>
  commands.flatMap((command) => (command.commands.length > 0 ? leaves(command) : [command]));

/** The words that select a command, e.g. `key issue`. */
export const nameOf = (command: Command): string =>
  command.parent?.parent ? `${command.parent.name()} ${command.name()}` : command.name();

/** Rejects an option as the value of another, which commander accepts: `--name --json` must not name a key "--json". */
function refuseMissingValues(words: readonly string[], program: Command): void {
  const options = leaves(program).flatMap((command) => command.options);
  const missing = words.find((word, index) => {
    const next = words[index + 1];
    const isOption = next === '-h' || next === '--help' || options.some(({ long }) => long === next);
    return isOption && options.some(({ long, required }) => long === word && required);
  });
  if (missing !== undefined) throw new UsageError(`option '${missing}' needs a value`);
}

/** Prints an error. @returns the exit code */
function report(error: unknown, isJson: boolean): number {
  if (!(error instanceof Error)) throw error;
  if (error instanceof CommanderError && error.code.startsWith('commander.help')) return 0;
  const problems = error instanceof ConfigError ? error.problems : [describe(error)];
  if (isJson) process.stdout.write(`${JSON.stringify({ error: problems.join('; ') })}\n`);
  for (const problem of problems) process.stderr.write(`c2a: ${problem}\n`);
  return error instanceof UsageError || error instanceof ConfigError || error instanceof CommanderError ? 2 : 1;
}

/** The message of an error; for an unexpected one, also its cause. */
function describe(error: Error): string {
  if (error instanceof CommanderError) {
    return `${error.message.replace(/^error: /, '').replaceAll('\n', ' ')}; see 'c2a --help'`;
  }
  if (error instanceof CommandError) return error.message;
  return systemProblem(error) ?? [error.message, ...causeOf(error)].join(': ');
}

const causeOf = ({ cause }: Error): string[] => (cause instanceof Error ? [cause.message] : []);
