import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { withSettings, withStorage } from '../options.ts';
import { type Default, readDefault } from './fields.ts';

/** `import`, which may run beside a server. */
export function addImportCommand(program: Command, { open, print }: Context): void {
  const command = program
    .command('import <file>')
    .description(
      'Bring customers into line with a file, as POST /import does: NDJSON, or CSV whose first row names the columns. ' +
        'With - it reads standard input. The exit code is 1 if rows were refused.',
    )
    .option('--tenant <tenant>', 'whose customers; required')
    .option('--format <format>', 'ndjson or csv (default: csv for names that end in .csv or .tsv)')
    .option('--delimiter <character>', 'of CSV: "," or ";" or tab (default: the one in the first row)')
    .option('--map <file>', 'of CSV: a JSON object from the name of a column to a field, or to null to ignore it')
    .option(
      '--default <field=value>',
      'a value for rows without one, such as claimedRegion.countryCode=DE; repeatable',
      (text: string, others: readonly Default[] = []) => [...others, readDefault(text)],
    )
    .option('--dry-run', 'store nothing')
    .option('--complete', 'the file has all customers: report others as extra (nobody is deleted)')
    .option(
      '--report <file>',
      'a new file for refused rows and extra customers, of a dry run for every difference, a JSON line each',
    );
  withSettings(withStorage(command), ['C2A_PARTITION', 'C2A_TOMBSTONE_DAYS']).action(async (file: string, options) => {
    // Imported on demand: no other command, and no server, needs the libraries for CSV and the progress bar.
    const { importFile } = await import('./run.ts');
    await importFile(file, options, { open, print });
  });
}
