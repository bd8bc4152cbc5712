import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { type ExportPage, exportText, readSelection } from '../../application/export.ts';
import type { CustomerUrn } from '../../domain/identity.ts';
import { writeWholeFile } from '../files.ts';
import { createReferenceData } from '../reference-data.ts';
import { CommandError, type Context, UsageError } from './context.ts';
import { openTenant } from './customers.ts';
import { withStorage } from './options.ts';

/** `export`, which may run beside a server. */
export function addExportCommand(program: Command, { open, print }: Context): void {
  const command = program
    .command('export')
    .description(
      'Write the customers of a tenant as NDJSON, as GET /export does: a line for each customer, and a last line {"next":…}. ' +
        'To standard output, or with --output to a new file. With --json it prints a summary, so it then needs --output.',
    )
    .option('--tenant <tenant>', 'whose customers; required')
    .option('--output <file>', 'a new file, which appears when it is complete; readable by this user only')
    .option('--force', 'replace the file if it exists')
    .option('--include-anonymized', 'also the customers that were erased')
    .option('--after <cursor>', 'continue an earlier export, of which this is the value of next')
    .option('--limit <number>', 'how many customers at most, 1 to 10000 (default: all)');
  withStorage(command).action(async (options) => {
    const { output, force, json } = options;
    if (json && output === undefined) {
      throw new UsageError('--json prints a summary of the export: add --output, or omit --json to get the customers');
    }
    if (force && output === undefined) throw new UsageError('--force needs --output');
    const selection = selectionOf(options);
    const { tenant, services } = await openTenant(open, options);
    const pages = services.customerExport.pages(tenant.id, selection);
    if (output === undefined) return writeToStandardOutput(pages);
    const { customers, next } = await writeToFile(pages, output, force === true);
    const end = next === null ? '' : `; continue with --after ${next}`;
    print({ file: output, customers, next }, `exported ${customers} customers to ${output}${end}`);
  });
}

function selectionOf({ after, limit, includeAnonymized }: Record<string, unknown>) {
  const query = { after, limit, includeAnonymized: includeAnonymized ? 'true' : undefined };
  const selection = readSelection(query, createReferenceData());
  if (selection.ok) return selection.value;
  throw new UsageError(selection.violations.map(({ field, message }) => `--${field}: ${message}`).join(' '));
}

async function writeToStandardOutput(pages: AsyncIterable<ExportPage>): Promise<void> {
  try {
    await pipeline(textOf(pages), process.stdout, { end: false });
  } catch (error) {
    // A reader such as `head` may close the pipe early.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
}

/** Writes the pages to a file. After SIGINT or SIGTERM no file is left. */
async function writeToFile(pages: AsyncIterable<ExportPage>, file: string, mayReplace: boolean) {
  const written: { customers: number; next: CustomerUrn | null } = { customers: 0, next: null };
  async function* counted(): AsyncGenerator<ExportPage, void> {
    for await (const page of pages) {
      written.customers += page.customers.length;
      written.next = page.next ?? null;
      yield page;
    }
  }
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  for (const signal of signals) process.once(signal, interrupt);
  try {
    await writeWholeFile(file, textOf(counted()), { mayReplace, signal: interruption.signal });
  } catch (error) {
    if (interruption.signal.aborted) throw new CommandError(`interrupted: ${file} was not written`);
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new CommandError(`${file} already exists; choose another name, or add --force`);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
  return written;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

async function* textOf(pages: AsyncIterable<ExportPage>): AsyncGenerator<string, void> {
  for await (const page of pages) yield exportText(page);
}
