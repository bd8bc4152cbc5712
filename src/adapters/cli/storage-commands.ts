import {
  type Command,
  type Context,
  exactly,
  type Options,
  settingOptions,
  storageOptions,
  UsageError,
} from './run.ts';

const options = storageOptions;
const restoreOptions = {
  force: { type: 'boolean', about: 'also where some records could not be read with the keys that there are' },
  ...options,
} as const;

function placeOf(side: 'from' | 'to', options: Options) {
  const { [side]: url, [`${side}-keys`]: keysUrl } = options;
  if (typeof url !== 'string' || !/^(sqlite:.|postgres(ql)?:\/\/)/.test(url)) {
    throw new UsageError(`--${side} must be sqlite:<data folder> or postgres://…`);
  }
  return { url, keysUrl: keysUrl as string | undefined };
}

/** A bar, where somebody is watching. */
function showProgress({ table, done, total }: { table: string; done: number; total: number }): void {
  if (!process.stderr.isTTY) return;
  const share = total === 0 ? 1 : done / total;
  const bar = '#'.repeat(Math.round(share * 30)).padEnd(30, '.');
  const end = done === total ? '\n' : '';
  process.stderr.write(`\r[${bar}] ${Math.floor(share * 100)} %  ${done} of ${total} rows  ${table}\x1b[K${end}`);
}

async function restore(part: 'data' | 'keys', context: Context) {
  const [file] = exactly(1, context, 'the file of a copy') as [string];
  const restored = await context.restore(part, file, context.options.force === true);
  const { erasedAgain, unreadable, replaced } = restored;
  const lines = [
    `restored; ${erasedAgain} erased again`,
    ...(unreadable > 0 ? [`${unreadable} records cannot be read with these keys`] : []),
    ...(replaced === undefined ? [] : [`what was there is in ${replaced}: remove it when all is well`]),
  ];
  return { ...restored, file, said: lines.join('\n') };
}

/** Copies of the files, and their keys. */
export const storageCommands: readonly Command[] = [
  {
    name: 'backup',
    usage: '<file>',
    about: 'Write a consistent copy of the records to a new file, while the server runs. It holds no key.',
    options,
    async run(context) {
      const [file] = exactly(1, context, 'a file to write');
      const { maintenance } = await context.open();
      await maintenance.backup(file as string);
      context.print({ file }, `the records are in ${file}; they can be read with the keys of this deployment alone`);
    },
  },
  {
    name: 'backup-keys',
    usage: '<file>',
    about: 'Write a copy of the keys and the ledger of erasures, in place of the previous copy, which is overwritten.',
    options,
    async run(context) {
      const [file] = exactly(1, context, 'a file to write');
      const { maintenance } = await context.open();
      await maintenance.backupKeys(file as string);
      context.print({ file }, `the keys are in ${file}; keep no older copy, or who was erased can be read again`);
    },
  },
  {
    name: 'compact',
    usage: '',
    about:
      'Rewrite the file of the records, so that nothing is left in its gaps. Writers wait meanwhile, and fail after five seconds.',
    options,
    async run(context) {
      const { maintenance } = await context.open();
      await maintenance.compact();
      context.print({ compacted: true }, 'the file of the records was written anew');
    },
  },
  {
    name: 'restore',
    usage: '<file>',
    about: 'Put a backup in place of the records, with the server stopped, and erase again who was erased since.',
    options: restoreOptions,
    async run(context) {
      const { file, erasedAgain, unreadable, keptKeys, replaced, said } = await restore('data', context);
      context.print(
        { file, erasedAgain, unreadable, keptKeys, replaced },
        `${said}\ntenants and API keys are ${
          keptKeys ? 'those of now' : 'those of the backup: revoke again what was revoked since'
        }`,
      );
    },
  },
  {
    name: 'restore-keys',
    usage: '<file>',
    about: 'Put a copy of the keys and the ledger of erasures in place of the present ones, with the server stopped.',
    options: restoreOptions,
    async run(context) {
      const { file, erasedAgain, unreadable, replaced, said } = await restore('keys', context);
      context.print(
        { file, erasedAgain, unreadable, replaced },
        `${said}\nwho was erased after this copy was made, and whose record is older than that, can be read again: erase ` +
          'them again',
      );
    },
  },
  {
    name: 'move',
    usage: '--from <place> --to <place>',
    about:
      'Copy a deployment to another database, with all servers stopped. One that was interrupted goes on where it was.',
    options: {
      from: { type: 'string', about: 'sqlite:<data folder> or postgres://…' },
      to: { type: 'string', about: 'the same; empty, or what an interrupted move has left' },
      'from-keys': { type: 'string', about: 'postgres://… of the keys, where they have a database of their own' },
      'to-keys': { type: 'string', about: 'the same for where they are to go' },
      ...settingOptions(['C2A_DATA_DIR', 'C2A_MASTER_KEY_FILE']),
    },
    async run({ options, move, print }) {
      const [from, to] = [placeOf('from', options), placeOf('to', options)];
      const counts = await move(from, to, showProgress);
      const lines = Object.entries(counts).map(([table, rows]) => `  ${table.padEnd(18)}${rows}`);
      print(
        { moved: counts, verified: true },
        `the same on both sides:\n${lines.join('\n')}\nRemove the old place when the new one works: keys that are destroyed from now on are still in it.`,
      );
    },
  },
  {
    name: 'keys rotate-master',
    usage: '',
    about: 'Wrap the keys by a new master key, which takes the place of the old one in its file. Servers go on.',
    options,
    async run(context) {
      const { maintenance } = await context.open();
      await maintenance.rotateMasterKey();
      context.print(
        { rotated: true },
        'the master key is a new one: copy its file to where you keep it, and run backup-keys again (an older copy of the ' +
          'keys opens under the old master key alone)',
      );
    },
  },
];
