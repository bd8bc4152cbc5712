import type { Command } from 'commander';
import type { TransferProgress, TransferSide } from '../../application/ports/maintenance.ts';
import { type Context, UsageError } from './context.ts';
import { checkIsFile, withSettings, withStorage } from './options.ts';

/** `backup`, `backup-keys`, `compact`, `restore`, `restore-keys`, `move`, `schema citus` and `keys rotate-master`. */
export function addMaintenanceCommands(program: Command, context: Context): void {
  addBackups(program, context);
  addRestores(program, context);
  addMove(program, context);
  addSchema(program.command('schema'), context);
  addRotateMaster(program.command('keys'), context);
}

function addBackups(program: Command, { open, print }: Context): void {
  withStorage(program.command('backup <file>'))
    .description('Write a consistent backup of the records to a new file, while the server runs. It contains no key.')
    .action(async (file: string, options) => {
      const { maintenance } = await open(options);
      await maintenance.backup(file);
      print({ file }, `the records are in ${file}; only the keys of this deployment decrypt them`);
    });

  withStorage(program.command('backup-keys <file>'))
    .description('Write a backup of the keys and the erasure log. A previous backup in the file is overwritten.')
    .action(async (file: string, options) => {
      const { maintenance } = await open(options);
      await maintenance.backupKeys(file);
      print({ file }, `the keys are in ${file}; delete older backups of them: they can decrypt customers erased since`);
    });

  withStorage(program.command('compact'))
    .description(
      "Rewrite the records' file, so that no deleted data remains in it. Writes wait meanwhile, and fail after 5 s.",
    )
    .action(async (options) => {
      const { maintenance } = await open(options);
      await maintenance.compact();
      print({ compacted: true }, "the records' file was rewritten");
    });
}

function addRestores(program: Command, context: Context): void {
  const data = program
    .command('restore <file>')
    .description('Replace the records with a backup, while the server is stopped. Later erasures stay in effect.');
  addRestore(data, 'data', context);

  const keys = program
    .command('restore-keys <file>')
    .description('Replace the keys and the erasure log with a backup of them, while the server is stopped.');
  addRestore(keys, 'keys', context);
}

/** What a backup of the keys cannot have. */
const lostWithKeys = [
  'a customer erased after this backup is readable again if the records too are from before the erasure: ' +
    'erase that customer again',
  'tombstones left after this backup are gone: send the deletes since then again, with their source revisions',
];

function addRestore(command: Command, part: 'data' | 'keys', { restore, print }: Context): void {
  withStorage(command.option('--force', 'restore even if some records cannot be decrypted with the keys')).action(
    async (file: string, options) => {
      checkIsFile(file);
      const restored = await restore(options, part, file, options.force === true);
      const { erasedAgain, findings, unreadable, keptKeys, replaced } = restored;
      const tenants = keptKeys
        ? 'those from before the restore'
        : 'those of the backup: revoke again every API key that was revoked after the backup';
      const lines = [
        `restored; erased ${erasedAgain} customers again`,
        ...findings,
        ...(unreadable > 0 ? [`${unreadable} records cannot be decrypted with these keys`] : []),
        ...(replaced === undefined ? [] : [`the previous file is ${replaced}; remove it after checking the restore`]),
        ...(part === 'data' ? [`tenants and API keys are ${tenants}`] : lostWithKeys),
      ];
      print(
        { file, erasedAgain, findings, unreadable, ...(part === 'data' && { keptKeys }), replaced },
        lines.join('\n'),
      );
    },
  );
}

function addMove(program: Command, { transfer, print }: Context): void {
  const command = program
    .command('move')
    .description('Copy a deployment to another database, while all servers are stopped. If interrupted, run it again.')
    .option('--from <place>', 'sqlite:<data folder> or postgres://…; required')
    .option('--to <place>', 'the target, in the same form; empty, or with an interrupted move; required')
    .option('--from-keys <url>', 'postgres://… of the keys, if they are in a separate database')
    .option('--to-keys <url>', 'the same for the target');
  withSettings(command, ['C2A_DATA_DIR', 'C2A_MASTER_KEY_FILE']).action(async (options) => {
    const from = sideOf('from', options.from, options.fromKeys);
    const to = sideOf('to', options.to, options.toKeys);
    const counts = await transfer(options, from, to, showProgress);
    const lines = Object.entries(counts).map(([table, rows]) => `  ${table.padEnd(22)}${rows}`);
    print(
      { moved: counts, verified: true },
      `both sides are identical:\n${lines.join('\n')}\nRemove the old data once the new database works, but keep the ` +
        'master key: the old data still contains the keys of customers that are erased from now on.',
    );
  });
}

function sideOf(side: 'from' | 'to', url: string | undefined, keysUrl: string | undefined): TransferSide {
  if (url === undefined || !/^(sqlite:.|postgres(ql)?:\/\/)/.test(url)) {
    throw new UsageError(`--${side} must be sqlite:<data folder> or postgres://…`);
  }
  return { url, keysUrl };
}

/** Draws a progress bar on a terminal. */
function showProgress({ table, done, total }: TransferProgress): void {
  if (!process.stderr.isTTY) return;
  const share = total === 0 ? 1 : done / total;
  const bar = '#'.repeat(Math.round(share * 30)).padEnd(30, '.');
  const end = done === total ? '\n' : '';
  process.stderr.write(`\r[${bar}] ${Math.floor(share * 100)} %  ${done} of ${total} rows  ${table}\x1b[K${end}`);
}

function addSchema(group: Command, { citusStatements, print }: Context): void {
  const command = group
    .command('citus')
    .description('Print the SQL that distributes the tables over a Citus cluster. Run it again after each upgrade.')
    .option('--keys', 'for the database of the keys, if that is a separate one');
  withStorage(command).action(async (options) => {
    const statements = await citusStatements(options, options.keys === true);
    print({ statements }, statements.join('\n'));
  });
}

function addRotateMaster(group: Command, { open, print }: Context): void {
  withStorage(group.command('rotate-master'))
    .description('Wrap the keys with a new master key, which replaces the old one in its file. Servers keep running.')
    .action(async (options) => {
      const { maintenance } = await open(options);
      await maintenance.rotateMasterKey();
      print(
        { rotated: true },
        'the master key was replaced: keep a copy of its file, and run backup-keys again (older backups of the keys ' +
          'open only with the old master key)',
      );
    });
}
