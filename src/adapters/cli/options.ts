import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { optionOf, settings, type Variable } from '../../config.ts';
import { parseTenantId, type TenantId } from '../../domain/identity.ts';
import { maxAsciiIdentifierLength } from '../../domain/text-formats.ts';
import { systemProblem } from '../system-errors.ts';
import { CommandError, UsageError } from './context.ts';

/** Adds an option for each setting to a command. */
export function withSettings(command: Command, variables: readonly Variable[]): Command {
  for (const variable of variables) {
    const { description, default: fallback, allowed } = settings.properties[variable];
    const parts = [description, `Allowed: ${allowed}.`, fallback !== '' && `Default: ${fallback}.`, `(${variable})`];
    command.addOption(new Option(`--${optionOf(variable)} <value>`, parts.filter(Boolean).join(' ')));
  }
  return command;
}

/** Adds the options that locate the storage. Every command that opens it has them. */
export const withStorage = (command: Command): Command =>
  withSettings(command, [
    'C2A_DATA_DIR',
    'C2A_DATABASE_URL',
    'C2A_KEYS_DATABASE_URL',
    'C2A_MASTER_KEY_FILE',
    'C2A_ENVIRONMENT',
  ]);

/** @throws UsageError if the text is not a tenant id */
export function toTenantId(text: string): TenantId {
  const id = parseTenantId(text);
  if (id === undefined) throw new UsageError('a tenant id must be 1 to 63 of a-z, 0-9, "-" and "_"');
  return id;
}

/** @throws UsageError if the text is not a case number, as `delete` takes it */
export function toCaseNumber(text: string): string {
  if (text.length <= maxAsciiIdentifierLength && /^[!-~]+$/.test(text)) return text;
  throw new UsageError(
    `--reference must be at most ${maxAsciiIdentifierLength} visible ASCII characters, without spaces`,
  );
}

export const checkName = (name: string | undefined): void => checkText('--name', name);

/** Checks a text that is shown in terminals, where a control character could move the cursor. */
export function checkText(option: string, text: string | undefined): void {
  if (text !== undefined && !/^[^\p{Cc}\p{Cf}]{0,100}$/u.test(text)) {
    throw new UsageError(`${option} must be at most 100 characters, without control characters`);
  }
}

/** The text of a file. @param name the argument or option that names the file */
export function readText(file: string, name: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandError(`${name}: ${systemProblem(error, file) ?? (error as Error).message}`);
  }
}

/** Throws if a path does not lead to a file that can be read. */
export function checkIsFile(file: string): void {
  accessSync(file, constants.R_OK);
  if (!statSync(file).isFile()) throw new CommandError(`${file} is not a file`);
}

/** Formats rows as text with aligned columns. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** A text in which a terminal sees no control sequence: tenants may send any character. */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
